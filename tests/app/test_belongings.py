"""The timed probe of a lane: signatures each time, the attributes of the keys once a day (S-119)."""

from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from scepd.app import belongings
from scepd.app.belongings import Belongings
from scepd.app.keys import key_checks
from scepd.app.selftest import exit_status
from scepd.config.issuer_settings import IssuerSettings, RaSettings
from scepd.config.settings import AuditSettings
from scepd.hsm.faults import TokenFault
from scepd.hsm.probe import Report
from scepd.refusal import OperatorError

DAY = 24 * 3600


class Lane:
    """Belongings with a clock to wind and attributes that a test changes."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.readings = []
        self.fault = None
        monkeypatch.setattr(belongings, "check_keys", self._check)
        self.belongings = Belongings(
            store=None, owner="n1/0.0", issuers={}, registrations={}, challenges={}, clock=None, random=bytes,
            monotonic=lambda: self.now, crls=None, session="session", repository=None, keys=("key",), keys_read=self.now,
        )  # fmt: skip

    def _check(self, session, keys):
        self.readings.append((session, keys, self.now))
        if self.fault is not None:
            raise self.fault

    def probe_for(self, seconds):
        end = self.now + seconds
        while self.now < end:
            self.now += 10
            self.belongings.probe()


@pytest.fixture
def lane(monkeypatch):
    return Lane(monkeypatch)


def test_S119_attributes_are_read_once_a_day(lane):
    lane.probe_for(3 * DAY + 100)
    assert [(session, keys) for session, keys, _at in lane.readings] == [("session", ("key",))] * 3
    assert [at for _session, _keys, at in lane.readings] == [1000.0 + DAY * day for day in (1, 2, 3)]


def test_S119_a_key_that_may_not_be_used_any_more_takes_the_token_out_of_service(lane):
    lane.now += DAY
    lane.fault = OperatorError("key devices-ca is extractable", "scepd hsm list")
    with pytest.raises(TokenFault) as caught:
        lane.belongings.probe()
    assert (caught.value.kind, caught.value.cause) == ("device", "key devices-ca is extractable")
    lane.fault = None
    lane.belongings.probe()  # read again at once, not after another day
    assert len(lane.readings) == 2


def ra(name):
    return RaSettings(f"pkcs11:object={name}", name.encode())


def issuer(name="devices", sign=None, decrypt="decrypt", **changes):
    sign, decrypt = sign or ra("sign"), decrypt and ra(decrypt)
    return IssuerSettings(name, f"pkcs11:object={name}", name.encode(), (), sign, decrypt, **changes)


def named(checks):
    return [(check.uri.partition("=")[2], check.role, check.rules.both_roles) for check in checks]


def test_S16_every_key_of_every_issuer_is_checked_once_in_its_one_role():
    assert named(key_checks([issuer("a"), issuer("b")])) == [
        ("a", "sign", False), ("sign", "sign", False), ("decrypt", "decrypt", False), ("b", "sign", False),
    ]  # fmt: skip


def test_C055_S119_previous_decryption_keys_are_checked_too():
    changing = issuer(ra_decrypt_previous=(ra("old"), ra("older")))
    assert named(key_checks([changing]))[-2:] == [("old", "decrypt", False), ("older", "decrypt", False)]


def test_C055_S119_previous_signing_keys_are_checked_too():
    former = attrs.evolve(ra("old"), sign=ra("old-sign"))
    changing = issuer(ra_decrypt_previous=(former, attrs.evolve(ra("older"), sign=ra("old-sign"))))
    assert named(key_checks([changing]))[2:] == [
        ("old-sign", "sign", False), ("decrypt", "decrypt", False), ("old", "decrypt", False), ("older", "decrypt", False),
    ]  # fmt: skip


def test_S16_a_single_ra_key_may_do_both_and_the_ca_key_still_only_signs():
    assert named(key_checks([issuer(sign=ra("one"), decrypt="one")])) == [
        ("devices", "sign", False), ("one", "sign", True), ("one", "decrypt", True),
    ]  # fmt: skip


def test_S16_E12_where_the_ca_is_its_own_ra_its_key_may_do_both():
    assert named(key_checks([issuer(sign=ra("devices"), decrypt="devices", ca_is_ra=True)])) == [
        ("devices", "sign", True), ("devices", "decrypt", True),
    ]  # fmt: skip


def test_S119_the_audit_key_is_checked_and_may_only_sign():
    audit = AuditSettings("pkcs11:object=scepd-audit", b"spki", timedelta(hours=1), Path("seals.jsonl"))
    assert named(key_checks([issuer()], audit))[-1] == ("scepd-audit", "sign", False)


@pytest.mark.parametrize("ca_is_ra", [False, True])
def test_S16_without_a_decryption_key_no_key_may_decrypt(ca_is_ra):
    sign = ra("devices") if ca_is_ra else ra("sign")
    checks = key_checks([issuer(sign=sign, decrypt=None, ca_is_ra=ca_is_ra)])
    assert {(role, both) for _name, role, both in named(checks)} == {("sign", False)}


def test_S117_a_restart_is_worth_it_for_a_token_that_failed_and_for_nothing_else():
    report = Report()
    assert exit_status(report) == 0
    report.problem(TokenFault("device", "DeviceRemoved"))
    assert exit_status(report) == 1
    report.problem(OperatorError("wrong PIN", "correct it"))
    assert exit_status(report) == 78
