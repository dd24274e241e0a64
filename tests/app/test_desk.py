"""Whom the desk admits, and to what."""

import os
import pwd
import stat
from types import SimpleNamespace

from scepd.app.desk import Desk, administered, open_to_others
from scepd.config.settings import TenantSettings

TENANTS = (
    TenantSettings("acme", ("phones", "routers"), administrators=("alice", "nobody")),
    TenantSettings("globex", ("robots",), administrators=("alice",)),
    TenantSettings("plain", ("others",)),
)


def desk(*tenants):
    return Desk(None, SimpleNamespace(tenants=tenants), None)


def test_S09_an_administrator_has_the_profiles_of_all_tenants_that_name_him():
    assert administered(SimpleNamespace(tenants=TENANTS)) == {
        "user alice": frozenset({"phones", "routers", "robots"}),
        "user nobody": frozenset({"phones", "routers"}),
    }


def test_S09_others_than_the_own_user_and_administrators_are_not_admitted():
    nobody, daemon = (pwd.getpwnam(name).pw_uid for name in ("nobody", "daemon"))
    assert [desk(*TENANTS).admits(user) for user in (os.getuid(), 0, nobody, daemon, 4_242_424)] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert not desk().admits(nobody)


def test_the_way_to_the_sockets_is_opened_and_nothing_more(tmp_path):
    tmp_path.chmod(0o700)
    open_to_others(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o711
    tmp_path.chmod(0o755)
    open_to_others(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
