"""The admin actions without a running service: over the store itself."""

import os
import pwd
from collections.abc import Mapping
from typing import Any

from scepd.admin.actions import Actions
from scepd.admin.api import handle
from scepd.app.clock import UtcClock
from scepd.app.mark_file import mark_file
from scepd.challenge.digest import load_store_key
from scepd.config.settings import Settings
from scepd.store.engines import open_engine
from scepd.store.repository import Repository


def ask_store(settings: Settings, method: str, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    """Return what the admin API answers over the store, here and now: HTTP status and value."""
    clock = UtcClock()
    engine = open_engine(settings.store.url, settings.appliance.state)
    repository = Repository(engine, owner=f"{settings.appliance.node}/cli", clock=clock)
    try:
        if method != "GET":  # an older store that was restored is not written before it is recovered (threats S-105)
            repository.settle(mark_file(settings), settings.appliance.node)
        actions = Actions(
            repository=repository,
            profiles={profile.name: profile for profile in settings.profiles},
            store_key=load_store_key(settings.store.key_file),
            clock=clock,
            random=os.urandom,
        )
        return handle(actions, method, path, body, who=this_user())
    finally:
        repository.close()
        engine.dispose()


def this_user() -> str:
    """Return the name of the user who runs this command, for the audit rows."""
    try:
        return f"user {pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"uid {os.getuid()}"
