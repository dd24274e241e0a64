"""Store and marks side by side: at each start, and every few seconds, an older store is found and made read-only."""

import secrets
from datetime import datetime

import attrs

from scepd.refusal import Unavailable
from scepd.store import meta_rows
from scepd.store import statements as sql
from scepd.store.engines import NO_VALUES, StoreConnection
from scepd.store.marks import MarkFile, Marks
from scepd.store.position import Position, hash_at, losses, read_position
from scepd.store.read_only import Standstill, stand_still, standstill
from scepd.store.writer import Writer

_MOST_WORDS = 3  # losses named in the cause; `scepd recover` lists all


@attrs.frozen
class Finding:
    """What comparing said: the words for a store that is behind, and what it lacks; `marks` None where there are none."""

    cause: str = ""
    lost: tuple[str, ...] = ()
    marks: Marks | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the store must not be written."""
        return bool(self.cause)


def compare(connection: StoreConnection, file: MarkFile, node: str) -> Finding:
    """Compare a store with the marks of this node; nothing is changed."""
    try:
        # Both before the store, which is never behind what is written meanwhile.
        marks, sealed = file.read(), Position(audit=file.sealed())
    except Unavailable as trouble:
        return Finding(trouble.cause)
    with connection.snapshot():
        pair, position = read_pair(connection, node), read_position(connection)
        if marks is None and pair is not None:
            return Finding(f"the high-water marks {file.path} are missing")
        if marks is not None and pair is not None and marks.pair not in ("", pair):
            return Finding(f"the high-water marks {file.path} are those of another store", marks=marks)
        # A store that never had marks is new, or of a program that knew none.
        known = sealed if marks is None else marks.position.above(sealed)
        lost = losses(position, known, hash_at(connection))
    if not lost:
        return Finding(marks=marks)
    words = "; ".join(lost[:_MOST_WORDS]) + ("; ..." if len(lost) > _MOST_WORDS else "")
    return Finding(f"an older store was restored: it lacks {words}", tuple(lost), marks)


def settle(connection: StoreConnection, file: MarkFile, node: str, now: datetime) -> Standstill | None:
    """Return why a store is read-only, after making it so where it is behind; None: its marks are as high as it is.

    Raises `Unavailable`.
    """
    found = standstill(connection)
    if found is not None:
        return found
    finding = compare(connection, file, node)
    if finding.is_behind:
        with connection.write():
            stand_still(connection, finding.cause, now)
            connection.change(sql.NEXT_GENERATION, NO_VALUES)
        return standstill(connection)
    _pair_up(connection, file, node, finding.marks)
    return None


def _pair_up(connection: StoreConnection, file: MarkFile, node: str, marks: Marks | None) -> None:
    """Give store and file their common word where they have none, and raise the marks to where the store is."""
    pair = read_pair(connection, node)
    if marks is None or not marks.pair:
        # The file first: where this process dies in between, the next one finds it and takes its word.
        file.replace(attrs.evolve(marks or Marks(), pair=pair or secrets.token_hex(8)))
    with connection.snapshot():
        position = read_position(connection)
    file.raise_to(position)
    written = file.read()
    if pair is None and written is not None:
        with connection.write():
            write_pair(connection, node, written.pair)


def read_pair(connection: StoreConnection, node: str) -> str | None:
    """Return the word that the store shares with that node's marks."""
    return meta_rows.read(connection, _row(node))


def write_pair(connection: StoreConnection, node: str, pair: str) -> None:
    """Change that word, inside a write transaction."""
    meta_rows.write(connection, _row(node), pair)


def _row(node: str) -> str:
    return f"marks:{node}"


class Standings(Writer):
    """What the duties ask about marks."""

    def position(self) -> Position:
        """Return where the store stands now."""
        with self._connection.snapshot():
            return read_position(self._connection)

    def standstill(self) -> Standstill | None:
        """Return why the store is read-only; None for one that may be written."""
        return standstill(self._connection)

    def compare(self, file: MarkFile, node: str) -> Finding:
        """Compare the store with a node's marks; nothing is changed."""
        return compare(self._connection, file, node)

    def now(self) -> datetime:
        """Return the time by the store's clock."""
        return self._clock.now()

    def settle(self, file: MarkFile, node: str) -> Standstill | None:
        """Raise the marks to where the store is; return why it is read-only, after making it so where it is behind."""
        return settle(self._connection, file, node, self._clock.now())
