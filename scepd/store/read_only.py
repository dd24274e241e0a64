"""A store that may only be read, since it is behind its marks: nothing is written until a person has had it recovered."""

import json
from datetime import datetime

import attrs

from scepd.refusal import Unavailable
from scepd.store import meta_rows
from scepd.store.engines import StoreConnection

_RETRY = 300  # seconds: a person has to act first
_ROW = "read_only"

# What changes nothing that could go backwards: who does a duty, and how far the clock is believed.
HARMLESS = frozenset({"take_lease", "drop_lease", "follow_clock"})


@attrs.frozen
class Standstill:
    """Why a store is read-only, and since when."""

    cause: str
    since: str  # ISO 8601


class ReadOnly(Unavailable):
    """The store is read-only until `scepd recover`."""

    def __init__(self, cause: str) -> None:
        """Keep why."""
        super().__init__(f"read-only until scepd recover: {cause}", retry_after=_RETRY)


def standstill(connection: StoreConnection) -> Standstill | None:
    """Return why a store is read-only; None for one that may be written."""
    value = meta_rows.read(connection, _ROW)
    if value is None:
        return None
    fields = json.loads(value)
    return Standstill(str(fields["cause"]), str(fields["since"]))


def require_writable(connection: StoreConnection) -> None:
    """Raise `ReadOnly` where the store is."""
    found = standstill(connection)
    if found is not None:
        raise ReadOnly(found.cause)


def stand_still(connection: StoreConnection, cause: str, now: datetime) -> None:
    """Make a store read-only, inside a write transaction; the first cause stays."""
    if standstill(connection) is None:
        value = json.dumps({"cause": cause, "since": now.isoformat(timespec="seconds")})
        meta_rows.write(connection, _ROW, value)


def go_on(connection: StoreConnection) -> None:
    """Let a store be written again, inside a write transaction."""
    meta_rows.drop(connection, _ROW)
