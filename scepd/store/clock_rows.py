"""What the store keeps about clocks: what each node's is believed by, and the acts of a clock that ran ahead."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, insert, select

from scepd.records import Belief, to_json
from scepd.store import statements as sql
from scepd.store.engines import StoreConnection
from scepd.store.schema import META

_VALUE = select(META.c.value).where(META.c.name == bindparam("row"))
_DROP = delete(META).where(META.c.name == bindparam("row"))
_ADD = insert(META)
_EXCUSED = "clock_excused"


def read_belief(connection: StoreConnection, node: str) -> Belief | None:
    """Return what a node's clock is held against; None where nothing is known."""
    row = connection.first(_VALUE, {"row": f"clock:{node}"})
    if row is None:
        return None
    fields = json.loads(row[0])
    return Belief(timedelta(seconds=fields["uptime"]), datetime.fromisoformat(fields["at"]))


def write_belief(connection: StoreConnection, node: str, belief: Belief) -> None:
    """Hold a node's clock against that from now on, inside a write transaction."""
    value = {
        "uptime": int(belief.uptime.total_seconds() * 1000) / 1000,
        "at": belief.at.isoformat(),
    }
    _write(connection, f"clock:{node}", json.dumps(value))


def drop_belief(connection: StoreConnection, node: str) -> None:
    """Hold nothing against a node's clock, inside a write transaction."""
    connection.change(_DROP, {"row": f"clock:{node}"})


def last_acts(connection: StoreConnection) -> dict[str, tuple[int, datetime]]:
    """Return the end of each audit chain, number and time, but for those that were excused."""
    excused = read_excused(connection)
    return {
        owner: (sequence, datetime.fromisoformat(at))
        for owner, sequence, at in connection.rows(sql.LAST_ACTS)
        if sequence > excused.get(owner, 0)
    }


def read_excused(connection: StoreConnection) -> Mapping[str, int]:
    """Return up to which row each chain may be later than the clock."""
    row = connection.first(_VALUE, {"row": _EXCUSED})
    return {} if row is None else json.loads(row[0])


def excuse(connection: StoreConnection, ends: Mapping[str, int]) -> None:
    """Let chains be later than the clock up to those rows, inside a write transaction."""
    _write(connection, _EXCUSED, to_json({**read_excused(connection), **ends}))


def _write(connection: StoreConnection, row: str, value: str) -> None:
    connection.change(_DROP, {"row": row})
    connection.change(_ADD, {"name": row, "value": value})
