"""One call of the admin API, and the row of the route table that answers it."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from scepd.admin.actions import PAGE, Actions
from scepd.refusal import OperatorError

MOST_ROWS = 10_000


@attrs.frozen
class Call:
    """One call: who makes it, the named parts of its path, its query and its body."""

    who: str
    parts: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """Return a text of the body, or None; raises `OperatorError` for another type."""
        value = self.body.get(name)
        if value is None or isinstance(value, str):
            return value
        raise OperatorError(f"{name} is no text", f'{{"{name}": "..."}}')

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts of the body, empty where there is none; raises `OperatorError` for another type."""
        value = self.body.get(name, [])
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return tuple(value)
        raise OperatorError(f"{name} is no list of texts", f'{{"{name}": ["..."]}}')

    def number(self, name: str, default: int) -> int:
        """Return a whole number of the body; raises `OperatorError` for another type."""
        value = self.body.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise OperatorError(f"{name} is no whole number", f'{{"{name}": {default}}}')

    def moment(self, name: str) -> datetime | None:
        """Return an ISO 8601 time of the body, or None; without an offset it is UTC. Raises `OperatorError`."""
        text = self.text(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError) as error:  # the latter of an offset that leads out of the years 1 to 9999
            raise OperatorError(f"{name} is no time", f'{{"{name}": "2026-01-31T12:00:00Z"}}') from error

    @property
    def limit(self) -> int:
        """How many rows a list may have."""
        text = self.query.get("limit", "")
        return min(int(text), MOST_ROWS) if text.isascii() and text.isdigit() and len(text) < 9 else PAGE


@attrs.frozen
class Route:
    """One row of the route table; `tenants`: also for who administers a tenant, since its act keeps to the scope."""

    method: str
    pattern: re.Pattern[str]
    answer: Callable[[Actions, Call], Any]
    tenants: bool = False
