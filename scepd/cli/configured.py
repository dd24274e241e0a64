"""How a command finds its configuration, and reaches the actions: through the desk, or the store itself."""

import os
import pwd
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from scepd.admin.actions import Actions
from scepd.admin.api import handle
from scepd.app.service import NotRunning, ask_desk
from scepd.challenge.digest import load_store_key
from scepd.cli.output import Failure
from scepd.config.load import load
from scepd.config.settings import Settings
from scepd.store.engines import open_engine
from scepd.store.repository import Repository

DEFAULT_CONFIG = Path("/etc/scepd/scepd.toml")

Command = TypeVar("Command", bound=Callable[..., Any])


class UtcClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present."""
        return datetime.now(UTC)


def config_option(command: Command) -> Command:
    """Give a command its --config; unset, it is SCEPD_CONFIG's or the default file."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="SCEPD_CONFIG",
        default=DEFAULT_CONFIG,
        show_default=True,
        help="The configuration file; also by SCEPD_CONFIG.",
    )(command)


def json_option(command: Command) -> Command:
    """Give a command its --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def load_settings(config: Path) -> Settings:
    """Return the compiled configuration; what is wrong with it leaves with exit status 78."""
    settings = load(config)
    if settings.hsm.softhsm2_conf is not None:
        # SoftHSM reads nothing but this variable; children inherit it.
        os.environ["SOFTHSM2_CONF"] = str(settings.hsm.softhsm2_conf)
    return settings


def ask(settings: Settings, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Return what the admin API answers: the running service's desk, or, without a service, the store here and now.

    Raises `Failure` with the API's problem and hint.
    """
    try:
        status, value = ask_desk(settings.appliance.runtime, method, path, dict(body or {}))
    except NotRunning:
        status, value = _ask_store(settings, method, path, body or {})
    if status != 200:
        raise Failure(str(value.get("problem", f"HTTP {status}")), hint=str(value.get("hint", "")))
    return value


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
