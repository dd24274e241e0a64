"""Verifying the audit trail: every link, every seal, and the seals' copies outside the store; the first bad row is named."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType

import attrs

from scepd.observe.audit import GENESIS, AuditRow, Head, as_record, link
from scepd.observe.damage import Damage
from scepd.observe.rejoin import is_rejoined
from scepd.observe.seal import Seal
from scepd.observe.seal_file import SealLines
from scepd.observe.signature import AuditKeys, is_signed

_START = Head(0, GENESIS)
_COMPARE = "compare with an older copy: scepd audit export, or a backup"
_SEAL_KEYS = "scepd audit verify --key PEM, once for each audit key there was"


@attrs.frozen
class Unreadable:
    """An entry whose columns are not what they must be: where it is, and why; `owner` is its chain, empty for a seal."""

    owner: str
    sequence: object
    why: str


Entry = AuditRow | Seal | Unreadable | Damage


@attrs.define
class Trail:
    """The state of verifying: entries come in the order of `store.trail`, rows before the seal that signs them.

    `keys` are the audit keys by fingerprint, None where signatures are not judged; `copies` are the lines of the seal
    file, opened before the store was looked at, None where there is none to compare. Seals after its last line are
    counted as `uncopied`: they are repeated when the next one is made. Memory does not grow with the rows.
    """

    keys: AuditKeys | None = None
    copies: SealLines | None = None
    rows: int = 0
    seals: int = 0
    uncopied: int = 0
    ends: dict[str, Head] = attrs.field(factory=dict)
    sealed: Mapping[str, Head] = attrs.field(default=MappingProxyType({}))
    newest: Seal | None = None
    first_at: datetime | None = None  # of the oldest row
    last_at: datetime | None = None
    _broken: set[str] = attrs.field(factory=set, init=False)
    _copy: Seal | None = attrs.field(default=None, init=False)

    @property
    def unsealed(self) -> int:
        """How many rows no seal has signed yet."""
        return sum(end.sequence - self.sealed.get(owner, _START).sequence for owner, end in self.ends.items())

    def take(self, entry: Entry) -> Iterator[Damage]:
        """Judge the next row or seal."""
        match entry:
            case AuditRow():
                self.rows += 1
                yield from self._take_row(entry)
            case Seal():
                self.seals += 1
                yield from self._take_seal(entry)
            case Damage():
                yield entry
            case Unreadable(owner="", sequence=number):
                yield Damage(f"seal {number}", f"cannot be read: {entry.why}", _COMPARE)
            case Unreadable(owner=owner):
                self.rows += 1
                yield from self._break(owner, entry.sequence, f"cannot be read: {entry.why}")

    def finish(self, heads: Mapping[str, Head]) -> Iterator[Damage]:
        """Judge what should have come: the noted end of each chain, the seals of the file that the store lacks."""
        for owner in sorted(heads.keys() | self.ends.keys()):
            end, head = self.ends.get(owner, _START), heads.get(owner, _START)
            if end.sequence < head.sequence:
                yield from self._break(owner, end.sequence + 1, f"cut off; the chain was {head.sequence} rows long")
            elif end != head:
                yield from self._break(owner, end.sequence, "the noted end of the chain is another")
        yield from self._rest_of_copies()

    def _take_row(self, row: AuditRow) -> Iterator[Damage]:
        before = self.ends.get(row.owner, _START)
        self.ends[row.owner] = Head(row.sequence, row.hash)
        self.first_at = row.at if self.first_at is None else min(self.first_at, row.at)
        self.last_at = row.at if self.last_at is None else max(self.last_at, row.at)
        if row.owner not in self._broken and (fault := _fault(row, before)):
            yield from self._break(row.owner, row.sequence, fault)

    def _take_seal(self, seal: Seal) -> Iterator[Damage]:
        where = f"seal {seal.number}"
        yield from self._compare(seal)
        number, previous = (0, GENESIS) if self.newest is None else (self.newest.number, self.newest.hash)
        if seal.number != number + 1:
            yield Damage(where, f"follows seal {number}: seals are missing", _COMPARE)
        elif seal.previous != previous:
            yield Damage(where, "does not link to the seal before it", _COMPARE)
        self.newest = seal
        fault = self._signature_fault(seal)
        if fault:
            yield Damage(where, fault, _SEAL_KEYS if "not known" in fault else _COMPARE)
            return
        yield from self._compare_heads(seal)

    def _signature_fault(self, seal: Seal) -> str:
        if self.keys is None:
            return ""
        key = self.keys.get(seal.key)
        if key is None:
            return f"is signed by a key that is not known here: SHA-256 {seal.key}"
        return "" if is_signed(key, seal.signature, seal.octets) else "the audit key did not sign it"

    def _compare_heads(self, seal: Seal) -> Iterator[Damage]:
        for owner, head in seal.heads.items():
            end, sealed = self.ends.get(owner, _START), self.sealed.get(owner, _START)
            if end.sequence < head.sequence:
                words = f"cut off; seal {seal.number} signed {head.sequence} rows"
                yield from self._break(owner, end.sequence + 1, words)
            elif end.sequence == head.sequence and end.hash != head.hash:
                yield from self._break(
                    owner,
                    sealed.sequence + 1,
                    f"this row, or one up to {head.sequence}, is not what seal {seal.number} signed",
                )
        for owner, sealed in self.sealed.items():
            if seal.heads.get(owner, _START).sequence < sealed.sequence:
                yield Damage(f"seal {seal.number}", f"signs fewer rows of {owner} than the seal before it", _COMPARE)
        self.sealed = seal.heads

    def _break(self, owner: str, sequence: object, what: str) -> Iterator[Damage]:
        """Report the first bad row of a chain; what follows it is not judged by it."""
        if owner not in self._broken:
            self._broken.add(owner)
            yield Damage(f"audit {owner} row {sequence}", what, _COMPARE)

    def _compare(self, seal: Seal) -> Iterator[Damage]:
        """Compare a seal of the store with its line of the file."""
        if self.copies is None:
            return
        yield from self._copies_before(seal.number)
        copy = self._copy
        if copy is None:
            self.uncopied += 1
        elif copy.number != seal.number:
            yield Damage(f"seal {seal.number}", "is missing in the file of seals", _COMPARE)
        else:
            self._copy = None
            if copy != seal:
                yield Damage(f"seal {seal.number}", "the store and the file of seals differ", _COMPARE)

    def _copies_before(self, number: int) -> Iterator[Damage]:
        while (copy := self._next_copy()) is not None:
            if isinstance(copy, str):
                yield Damage("file of seals", copy, _COMPARE)
            elif copy.number >= number:
                self._copy = copy
                return
            else:
                yield from self._only_in_file(copy)

    def _next_copy(self) -> Seal | str | None:
        if self._copy is not None:
            kept, self._copy = self._copy, None
            return kept
        assert self.copies is not None  # the callers have looked
        return next(self.copies, None)

    def _rest_of_copies(self) -> Iterator[Damage]:
        while self.copies is not None and (copy := self._next_copy()) is not None:
            if self.copies.late:  # what was sealed meanwhile is of another state of the store
                return
            if isinstance(copy, str):
                yield Damage("file of seals", copy, _COMPARE)
                continue
            yield from self._only_in_file(copy)
            for owner, head in copy.heads.items():
                end = self.ends.get(owner, _START)
                if end.sequence < head.sequence and not self._signature_fault(copy):
                    words = f"cut off; seal {copy.number} of the file signed {head.sequence} rows"
                    yield from self._break(owner, end.sequence + 1, words)

    def _only_in_file(self, copy: Seal) -> Iterator[Damage]:
        hint = "an older store was restored, or seals were cut off; after a restore: docs/audit.md"
        yield Damage(f"seal {copy.number}", "is in the file of seals and not in the store", hint)


def verify(entries: Iterable[Entry], heads: Mapping[str, Head], trail: Trail | None = None) -> Iterator[Damage]:
    """Yield what is wrong with a whole trail, in the order of its entries."""
    trail = trail or Trail()
    for entry in entries:
        yield from trail.take(entry)
    yield from trail.finish(heads)


def _fault(row: AuditRow, before: Head) -> str:
    if row.sequence != before.sequence + 1:
        if is_rejoined(row, before):
            return ""
        return f"follows row {before.sequence}: rows are missing or out of order"
    if row.previous != before.hash:
        return "does not link to the row before it"
    if link(row.previous, as_record(row)) != row.hash:
        return "its content was changed"
    return ""
