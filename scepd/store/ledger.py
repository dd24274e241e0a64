"""Appending to the audit trail, inside the write transaction of the act that it records."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from scepd.observe.audit import GENESIS, Action, Head, link
from scepd.records import Identity, to_json
from scepd.store import statements as sql
from scepd.store.engines import StoreConnection
from scepd.store.rows import serial_text, time_text


@attrs.frozen
class Act:
    """What happened: the action, who did it, and to what ("transaction 7", "challenge 3")."""

    action: Action
    actor: str
    target: str
    details: Mapping[str, Any]


def actor_of(identity: Identity) -> str:
    """Return who acts for a device, as the audit names it."""
    return f"{identity.method}: {identity.name}"


def transaction_target(number: int) -> str:
    """Return how the audit names a transaction."""
    return f"transaction {number}"


def certificate_target(issuer: str, serial: int) -> str:
    """Return how the audit names a certificate."""
    return f"certificate {issuer} {serial_text(serial)}"


class Ledger:
    """One owner's chain over one connection.

    It remembers the chain's end, so that an act need not read it; moving the noted end by compare-and-set tells when
    the memory is wrong: an act was rolled back, or another process wrote to the chain.
    """

    def __init__(self, connection: StoreConnection, owner: str) -> None:
        """Know nothing yet of the chain's end."""
        self._connection = connection
        self._owner = owner
        self._end: Head | None = None

    def append(self, act: Act, now: datetime) -> None:
        """Append one row and move the chain's noted end."""
        at, details = time_text(now), to_json(act.details)
        row = self._row(self._end, act, at, details) if self._end is not None else None
        if row is None or not self._move(row):
            row = self._row(self._read(), act, at, details)
            if not self._move(row):
                self._connection.change(
                    sql.ADD_HEAD, {"owner": self._owner, "sequence": row["sequence"], "hash": row["hash"]}
                )
        self._connection.change(sql.ADD_AUDIT, row)
        self._end = Head(row["sequence"], row["hash"])

    def _read(self) -> Head:
        row = self._connection.first(sql.READ_HEAD, {"chain": self._owner})
        return Head(*row) if row is not None else Head(0, GENESIS)

    def _row(self, end: Head, act: Act, at: str, details: str) -> dict[str, Any]:
        record: dict[str, str | int] = {
            "owner": self._owner,
            "sequence": end.sequence + 1,
            "at": at,
            "action": act.action.value,
            "actor": act.actor,
            "target": act.target,
            "details": details,
        }
        return {**record, "previous": end.hash, "hash": link(end.hash, record)}

    def _move(self, row: Mapping[str, Any]) -> bool:
        values = {
            "chain": self._owner,
            "old_sequence": row["sequence"] - 1,
            "old_hash": row["previous"],
            "new_sequence": row["sequence"],
            "new_hash": row["hash"],
        }
        return self._connection.change(sql.MOVE_HEAD, values) == 1
