"""The states of a transaction, as one table: what may follow what."""

from collections.abc import Mapping
from types import MappingProxyType

from scepd.records import TransactionState as State

# None is NEW: nothing is stored yet. ISSUING → ISSUING is crash recovery, which signs the stored draft again.
MOVES: Mapping[State | None, frozenset[State]] = MappingProxyType(
    {
        None: frozenset({State.PENDING, State.ISSUING, State.REJECTED}),
        State.PENDING: frozenset({State.APPROVED, State.REJECTED, State.EXPIRED}),
        State.APPROVED: frozenset({State.ISSUING, State.REJECTED, State.EXPIRED}),
        State.ISSUING: frozenset({State.ISSUED, State.REJECTED, State.ISSUING}),
        State.ISSUED: frozenset(),
        State.REJECTED: frozenset(),
        State.EXPIRED: frozenset(),
    },
)


def may_move(old: State | None, new: State) -> bool:
    """Return whether a transaction in state `old` (None = not stored) may become `new`."""
    return new in MOVES[old]
