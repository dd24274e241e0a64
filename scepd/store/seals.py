"""Sealing the audit trail: what the next seal signs, and the act of keeping it."""

from sqlalchemy import bindparam, func, insert, select

from scepd.observe.audit import Head
from scepd.observe.seal import Seal, next_seal
from scepd.refusal import OperatorError
from scepd.store import statements as sql
from scepd.store.audit_tables import AUDIT, AUDIT_SEAL
from scepd.store.engines import Conflict
from scepd.store.rows import time_text
from scepd.store.trail import SELECT_SEAL, seal_of, seals
from scepd.store.writer import Writer

_NEWEST = SELECT_SEAL.where(AUDIT_SEAL.c.number == select(func.max(AUDIT_SEAL.c.number)).scalar_subquery())
_ADD = insert(AUDIT_SEAL)
_HASH = select(AUDIT.c.hash).where(AUDIT.c.owner == bindparam("chain"), AUDIT.c.sequence == bindparam("at"))


class Seals(Writer):
    """The acts and reads about seals; a seal leaves no audit row, since it would have to be sealed in turn."""

    def newest_seal(self) -> Seal | None:
        """Return the newest seal. Raises `OperatorError` where it is none."""
        row = self._connection.first(_NEWEST)
        try:
            return None if row is None else seal_of(row)
        except (ValueError, TypeError) as error:
            raise OperatorError(
                f"the newest seal of the audit trail cannot be read: {error}", "scepd audit verify"
            ) from error

    def seals_after(self, number: int) -> list[Seal]:
        """Return the seals from after that number on."""
        return [seal for seal in seals(self._connection, number) if isinstance(seal, Seal)]

    def draft_seal(self) -> Seal | None:
        """Return the next seal unsigned; None where nothing happened since the newest.

        Raises `OperatorError` where the chains are not those that the newest seal signed: a seal would hide it.
        """
        with self.snapshot():
            newest = self.newest_seal()
            heads = {owner: Head(sequence, digest) for owner, sequence, digest in self._connection.rows(sql.HEADS)}
            before = {} if newest is None else newest.heads
            if heads == before:
                return None
            for owner, sealed in before.items():
                self._require(owner, sealed, f"seal {newest.number if newest else 0} signed another")
            for owner, head in heads.items():
                self._require(owner, head, "it is not the noted end of its chain")
                if head.sequence < before.get(owner, head).sequence:
                    raise _tampered(owner, head.sequence + 1, "the noted end is before what was sealed")
        return next_seal(newest, heads, time_text(self._clock.now()))

    def add_seal(self, seal: Seal) -> bool:
        """Keep a signed seal; return False, and keep nothing, where another was first."""
        values = {
            "number": seal.number,
            "at": seal.at,
            "heads": seal.heads_text(),
            "previous": seal.previous,
            "key": seal.key,
            "signature": seal.signature,
        }
        with self._act("add_seal"):
            newest = self.newest_seal()
            if (0 if newest is None else newest.number) + 1 != seal.number:
                return False
            try:
                self._connection.change(_ADD, values)
            except Conflict:
                return False
        return True

    def _require(self, owner: str, head: Head, words: str) -> None:
        row = self._connection.first(_HASH, {"chain": owner, "at": head.sequence})
        if row is None or row[0] != head.hash:
            raise _tampered(owner, head.sequence, "is gone" if row is None else words)


def _tampered(owner: str, sequence: int, words: str) -> OperatorError:
    return OperatorError(f"the audit trail was changed: {owner} row {sequence}: {words}", "scepd audit verify")
