"""What the self-check asks of single columns, in every table: times, lists and words as they are written here."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Table, select

from scepd.refusal import Reason
from scepd.store.access_tables import DISABLED_PROFILE, ENTITY, TOKEN
from scepd.store.check_rows import Findings, judged, pages
from scepd.store.engines import StoreConnection
from scepd.store.outside_tables import OUTBOX, TICKET, TOLD
from scepd.store.rows import time_text
from scepd.store.schema import CERTIFICATE, CHALLENGE, CHALLENGE_USE, LEASE, REFUSAL, TRANSACTION
from scepd.store.status_tables import CRL, RESPONDER

# The audit trail has its own check, which names the chain.
TABLES: tuple[Table, ...] = (
    CHALLENGE, TRANSACTION, CERTIFICATE, CHALLENGE_USE, REFUSAL, CRL, RESPONDER, LEASE, ENTITY, DISABLED_PROFILE, TOKEN, TICKET, OUTBOX,
    TOLD,
)  # fmt: skip

_TIMES = frozenset({
    "at", "created", "updated", "expires", "decided", "first_issued", "not_before", "not_after", "issued", "revoked",
    "invalid_since", "this_update", "next_update", "until", "since",
})  # fmt: skip
_LISTS = frozenset({"names", "trail", "attributes", "profiles", "identity_names"})
_RESTORE = "compare with a backup; docs/operation.md, The self-check"


def _time_fault(value: Any) -> str:
    try:
        written = time_text(datetime.fromisoformat(value))
    except (ValueError, TypeError):
        return f"is {value!r}, no time"
    return "" if written == value else f"is {value!r}, a time that is written otherwise"


def _list_fault(value: Any) -> str:
    try:
        found = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        return f"is {str(value)[:40]!r}, no JSON"
    return "" if isinstance(found, list) else f"is {str(value)[:40]!r}, no list"


def _reason_fault(value: Any) -> str:
    return "" if value in _REASONS else f"is {value!r}, no reason that is known"


_REASONS = frozenset(reason.value for reason in Reason)
_JUDGES: MappingProxyType[str, Callable[[Any], str]] = MappingProxyType(
    {
        **dict.fromkeys(_TIMES, _time_fault),
        **dict.fromkeys(_LISTS, _list_fault),
        "reason": _reason_fault,
    }
)


def check_columns(connection: StoreConnection) -> Iterator[Findings]:
    """Yield what is wrong with the columns of each row of each table."""
    for table in TABLES:
        (key,) = list(table.primary_key.columns)[:1]
        judges = {column.name: _JUDGES[column.name] for column in table.c if column.name in _JUDGES}
        query = select(*{key.name: key, **{name: table.c[name] for name in judges}}.values())
        for row in pages(connection, query, key):
            yield _judge(table, row, judges)


def _judge(table: Table, row: Any, judges: Mapping[str, Callable[[Any], str]]) -> Findings:
    return judged(f"{table.name} row {_shown(row[0])}", _faults(row, judges), _RESTORE)


def _faults(row: Any, judges: Mapping[str, Callable[[Any], str]]) -> Iterator[str]:
    for name, judge in judges.items():
        value = getattr(row, name)
        if value is not None and (fault := judge(value)):
            yield f"{name} {fault}"


def _shown(key: Any) -> str:
    return key.hex() if isinstance(key, bytes) else str(key)
