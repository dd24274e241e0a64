"""Appending to the audit trail, inside the write transaction of the act that it records."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from scepd.observe.audit import GENESIS, Action, AuditRow, as_record, link
from scepd.records import to_json
from scepd.store import statements as sql
from scepd.store.engines import StoreConnection
from scepd.store.rows import time_text


@attrs.frozen
class Act:
    """What happened: the action, who did it, and to what ("transaction 7", "challenge 3")."""

    action: Action
    actor: str
    target: str
    details: Mapping[str, Any]


def append(connection: StoreConnection, owner: str, act: Act, now: datetime) -> None:
    """Append one row to the owner's chain and move the chain's noted end."""
    head = connection.first(sql.READ_HEAD, {"chain": owner})
    sequence, previous = (head[0] + 1, head[1]) if head is not None else (1, GENESIS)
    row = AuditRow(
        owner=owner,
        sequence=sequence,
        at=now,
        action=act.action.value,
        actor=act.actor,
        target=act.target,
        details=to_json(act.details),
        previous=previous,
        hash=b"",
    )
    record = as_record(row)
    digest = link(previous, record)
    connection.change(sql.ADD_AUDIT, {**record, "at": time_text(now), "previous": previous, "hash": digest})
    if head is None:
        connection.change(sql.ADD_HEAD, {"owner": owner, "sequence": sequence, "hash": digest})
    else:
        connection.change(sql.MOVE_HEAD, {"chain": owner, "new_sequence": sequence, "new_hash": digest})
