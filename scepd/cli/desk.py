"""How a command reaches the actions: through the running service's desk, or the store itself."""

import os
import pwd
from collections.abc import Mapping
from typing import Any

from scepd.admin.actions import Actions
from scepd.admin.api import handle
from scepd.app import service
from scepd.app.clock import UtcClock
from scepd.app.service import NotRunning, ask_desk
from scepd.challenge.digest import load_store_key
from scepd.cli.output import Failure
from scepd.config.settings import Settings
from scepd.store.engines import open_engine
from scepd.store.repository import Repository


def ask(settings: Settings, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Return what the admin API answers: the running service's desk, or, without a service, the store here and now.

    Raises `Failure` with the API's problem and hint.
    """
    try:
        status, value = ask_desk(settings.appliance.runtime, method, path, dict(body or {}))
    except NotRunning:
        _refuse_beside_service(settings)
        status, value = _ask_store(settings, method, path, body or {})
    except (OSError, ValueError) as error:
        raise Failure(f"the desk does not answer: {error}", hint="scepd status; nothing may have been done") from error
    if status != 200:
        raise Failure(str(value.get("problem", f"HTTP {status}")), hint=str(value.get("hint", "")))
    return value


def _refuse_beside_service(settings: Settings) -> None:
    # A desk that broke off in the middle may have done what was asked: it is not asked of the store again.
    try:
        service.status(settings.appliance.runtime)
    except NotRunning:
        return
    raise Failure("the service runs, but its desk does not answer", hint="scepd status; then look before asking again")


def _ask_store(settings: Settings, method: str, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    clock = UtcClock()
    engine = open_engine(settings.store.url, settings.appliance.state)
    repository = Repository(engine, owner=f"{settings.appliance.node}/cli", clock=clock)
    try:
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
