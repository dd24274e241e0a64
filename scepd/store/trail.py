"""The audit trail in the order in which it is verified: before each seal the rows that it signs, then the rest."""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from scepd.observe.audit import AuditRow, Head
from scepd.observe.seal import Seal, parse_heads
from scepd.observe.trail import Entry, Unreadable
from scepd.store.audit_tables import AUDIT, AUDIT_SEAL
from scepd.store.engines import StoreConnection
from scepd.store.rows import SELECT_AUDIT, audit_of, time_text
from scepd.store.statements import HEADS

_PAGE = 500
_FIRST, _LAST = -(1 << 63), (1 << 63) - 1
_A, _S = AUDIT.c, AUDIT_SEAL.c

SELECT_SEAL: Select[Any] = select(*AUDIT_SEAL.c)
_SEALS = SELECT_SEAL.where(_S.number > bindparam("after")).order_by(_S.number).limit(_PAGE)
# A chain's rows by their numbers, whatever else stands in that column (a text is greater than every number).
_ROWS = (
    SELECT_AUDIT.where(
        _A.owner == bindparam("chain"), _A.sequence > bindparam("after"), _A.sequence <= bindparam("last")
    )
    .order_by(_A.sequence)
    .limit(_PAGE)
)
_REST = (
    SELECT_AUDIT.where(_A.owner == bindparam("chain"), _A.sequence > bindparam("after"))
    .order_by(_A.sequence)
    .limit(_PAGE)
)
_NEXT_CHAIN = select(func.min(_A.owner)).where(_A.owner > bindparam("chain"))
_COUNTS = (select(func.count()).select_from(AUDIT), select(func.count()).select_from(AUDIT_SEAL))


def count_entries(connection: StoreConnection) -> int:
    """Return how many rows and seals there are, for a progress bar."""
    return sum(int(row[0]) for row in map(connection.first, _COUNTS) if row is not None)


def heads(connection: StoreConnection) -> dict[str, Head]:
    """Return the noted end of each chain."""
    return {owner: Head(sequence, digest) for owner, sequence, digest in connection.rows(HEADS)}


def trail(connection: StoreConnection) -> Iterator[Entry]:
    """Yield every row and seal, a page at a time; call it within a snapshot where others write."""
    done: dict[str, Any] = {}
    for seal in seals(connection):
        if isinstance(seal, Seal):
            for owner, head in seal.heads.items():
                yield from _chain(connection, owner, done, head.sequence)
        yield seal
    owner = ""
    while (row := connection.first(_NEXT_CHAIN, {"chain": owner})) is not None and row[0] is not None:
        owner = row[0]
        yield from _chain(connection, owner, done, None)


def seals(connection: StoreConnection, after: int = _FIRST) -> Iterator[Seal | Unreadable]:
    """Yield the seals from after that number on, in their order."""
    while page := connection.rows(_SEALS, {"after": after}):
        yield from map(_seal_or_not, page)
        after = page[-1][0]


def seal_of(row: Any) -> Seal:
    """Return the seal of a SELECT_SEAL row. Raises ValueError."""
    number, at, heads, previous, key, signature = row
    if not all(isinstance(value, bytes) for value in (previous, signature)) or not isinstance(at, str):
        raise ValueError("a column holds another type")
    return Seal(number, at, parse_heads(json.loads(heads)), previous, str(key), signature)


def _chain(connection: StoreConnection, owner: str, done: dict[str, Any], last: int | None) -> Iterator[Entry]:
    while True:
        after = done.get(owner, _FIRST)
        values = {"chain": owner, "after": after}
        rows = connection.rows(_REST, values) if last is None else connection.rows(_ROWS, {**values, "last": last})
        if not rows:
            return
        yield from map(_row_or_not, rows)
        done[owner] = rows[-1][1]


def _row_or_not(row: Any) -> AuditRow | Unreadable:
    owner, sequence, at, action, actor, target, details, previous, digest = row
    texts, octets = (at, action, actor, target, details), (previous, digest)
    if not (
        isinstance(sequence, int)
        and all(isinstance(one, str) for one in texts)
        and all(isinstance(one, bytes) for one in octets)
    ):
        return Unreadable(str(owner), sequence, "a column holds another type")
    try:
        read = audit_of(row)
    except ValueError as error:
        return Unreadable(owner, sequence, str(error))
    # The text is not what is hashed but its moment: another text for the same moment was not written by us.
    return read if time_text(read.at) == at else Unreadable(owner, sequence, f"its time is written as {at}")


def _seal_or_not(row: Any) -> Seal | Unreadable:
    try:
        return seal_of(row)
    except (ValueError, TypeError) as error:
        return Unreadable("", row[0], str(error))
