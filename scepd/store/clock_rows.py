"""What the store keeps about clocks: what each node's is believed by, and the acts of a clock that ran ahead."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from scepd.records import Belief, to_json
from scepd.store import meta_rows
from scepd.store import statements as sql
from scepd.store.engines import StoreConnection

_EXCUSED = "clock_excused"


def read_belief(connection: StoreConnection, node: str) -> Belief | None:
    """Return what a node's clock is held against; None where nothing is known."""
    value = meta_rows.read(connection, _row(node))
    if value is None:
        return None
    fields = json.loads(value)
    return Belief(timedelta(seconds=fields["uptime"]), datetime.fromisoformat(fields["at"]))


def write_belief(connection: StoreConnection, node: str, belief: Belief) -> None:
    """Hold a node's clock against that from now on, inside a write transaction."""
    value = {
        "uptime": int(belief.uptime.total_seconds() * 1000) / 1000,
        "at": belief.at.isoformat(),
    }
    meta_rows.write(connection, _row(node), to_json(value))


def drop_belief(connection: StoreConnection, node: str) -> None:
    """Hold nothing against a node's clock, inside a write transaction."""
    meta_rows.drop(connection, _row(node))


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
    value = meta_rows.read(connection, _EXCUSED)
    return {} if value is None else json.loads(value)


def excuse(connection: StoreConnection, ends: Mapping[str, int]) -> None:
    """Let chains be later than the clock up to those rows, inside a write transaction."""
    meta_rows.write(connection, _EXCUSED, to_json({**read_excused(connection), **ends}))


def _row(node: str) -> str:
    return f"clock:{node}"
