"""Where a store stands: the numbers that only ever rise, so that an older copy of it shows."""

from collections.abc import Callable, Iterator, Mapping

import attrs
from sqlalchemy import bindparam, func, select

from scepd.observe.audit import Head
from scepd.store import statements as sql
from scepd.store.audit_tables import AUDIT
from scepd.store.engines import StoreConnection
from scepd.store.schema import CERTIFICATE, CHALLENGE, TRANSACTION
from scepd.store.status_tables import CRL

_LAST = {
    "certificates": select(func.max(CERTIFICATE.c.id)),
    "transactions": select(func.max(TRANSACTION.c.id)),
    "challenges": select(func.max(CHALLENGE.c.id)),
}
_CRLS = select(CRL.c.issuer, func.max(CRL.c.number)).group_by(CRL.c.issuer)
_HASH = select(AUDIT.c.hash).where(AUDIT.c.owner == bindparam("chain"), AUDIT.c.sequence == bindparam("at"))

# (chain, sequence) -> the hash of that audit row, None where the store has no such row
HashAt = Callable[[str, int], bytes | None]


@attrs.frozen
class Position:
    """The greatest CRL number of each issuer, the end of each audit chain, the last row numbers, the generation."""

    crls: Mapping[str, int] = attrs.field(factory=dict)
    audit: Mapping[str, Head] = attrs.field(factory=dict)
    certificates: int = 0
    transactions: int = 0
    challenges: int = 0
    generation: int = 0

    def above(self, other: "Position") -> "Position":
        """Return what is the greater of both in each part."""
        heads = {**self.audit}
        for owner, head in other.audit.items():
            if owner not in heads or heads[owner].sequence < head.sequence:
                heads[owner] = head
        names = self.crls.keys() | other.crls.keys()
        return Position(
            crls={name: max(self.crls.get(name, 0), other.crls.get(name, 0)) for name in sorted(names)},
            audit=heads,
            certificates=max(self.certificates, other.certificates),
            transactions=max(self.transactions, other.transactions),
            challenges=max(self.challenges, other.challenges),
            generation=max(self.generation, other.generation),
        )


def read_position(connection: StoreConnection) -> Position:
    """Return where a store stands now; call it inside a snapshot where others write."""
    numbers = {name: _number(connection.first(query)) for name, query in _LAST.items()}
    return Position(
        crls={name: int(number) for name, number in connection.rows(_CRLS)},
        audit={owner: Head(sequence, digest) for owner, sequence, digest in connection.rows(sql.HEADS)},
        generation=_number(connection.first(sql.GENERATION)),
        **numbers,
    )


def hash_at(connection: StoreConnection) -> HashAt:
    """Return the function that finds the hash of an audit row."""

    def find(chain: str, sequence: int) -> bytes | None:
        row = connection.first(_HASH, {"chain": chain, "at": sequence})
        return None if row is None else bytes(row[0])

    return find


def losses(store: Position, marks: Position, find_hash: HashAt) -> list[str]:
    """Return what a store lacks that the marks have seen, one text each; nothing for one that is not behind them."""
    return [*_lost_rows(store, marks), *_lost_crls(store, marks), *_lost_audit(store, marks, find_hash)]


def _lost_rows(store: Position, marks: Position) -> Iterator[str]:
    for what in ("certificates", "transactions", "challenges"):
        lost = getattr(marks, what) - getattr(store, what)
        if lost > 0:
            yield f"{lost} {what} (after number {getattr(store, what)})"
    if marks.generation > store.generation:
        yield f"{marks.generation - store.generation} decisions, revocations and CRLs (generation {store.generation})"


def _lost_crls(store: Position, marks: Position) -> Iterator[str]:
    for name, number in sorted(marks.crls.items()):
        if store.crls.get(name, 0) < number:
            yield f"CRLs of {name}: the store has number {store.crls.get(name, 0)}, {number} was published"


def _lost_audit(store: Position, marks: Position, find_hash: HashAt) -> Iterator[str]:
    for owner, mark in sorted(marks.audit.items()):
        end = store.audit.get(owner)
        sequence = 0 if end is None else end.sequence
        if sequence < mark.sequence:
            yield f"{mark.sequence - sequence} audit rows of {owner} (after row {sequence})"
        elif find_hash(owner, mark.sequence) not in (None, mark.hash):
            yield f"audit row {mark.sequence} of {owner}: the store has another in its place"


def _number(row: object) -> int:
    return int(row[0] or 0) if row is not None else 0  # type: ignore[index]
