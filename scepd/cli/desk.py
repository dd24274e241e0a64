"""How a command reaches the actions: through the running service's desk, or the store itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from scepd.app import service
from scepd.app.service import NotRunning, ask_desk
from scepd.cli.configured import load_settings
from scepd.cli.output import Failure
from scepd.config.load import load_appliance


def listing(path: str, limit: int, **filters: str | None) -> str:
    """Return the path of a list with its query; a filter that is None is left out."""
    chosen = {"limit": str(limit), **{name: value for name, value in filters.items() if value}}
    return f"{path}?{urlencode(chosen, quote_via=quote, safe='')}"


def ask(config: Path, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Return what the admin API answers: the running service's desk, or, without a service, the store here and now.

    Beside a service the configuration is read only as far as it says where the service is. Raises `Failure` with the
    API's problem and hint, `ConfigurationError`.
    """
    runtime = load_appliance(config).runtime
    try:
        status, value = ask_desk(runtime, method, path, dict(body or {}))
    except NotRunning:
        _refuse_beside_service(runtime)
        # Read now: the store's libraries take longer to load than a running service to answer.
        from scepd.cli.offline import ask_store  # noqa: PLC0415 - see above

        status, value = ask_store(load_settings(config), method, path, body or {})
    except (OSError, ValueError) as error:
        raise Failure(f"the desk does not answer: {error}", hint="scepd status; nothing may have been done") from error
    if status != 200:
        raise Failure(str(value.get("problem", f"HTTP {status}")), hint=str(value.get("hint", "")))
    return value


def _refuse_beside_service(runtime: Path) -> None:
    # A desk that broke off in the middle may have done what was asked: it is not asked of the store again.
    try:
        service.status(runtime)
    except NotRunning:
        return
    raise Failure("the service runs, but its desk does not answer", hint="scepd status; then look before asking again")
