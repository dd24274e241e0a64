"""Clocks that a person vouches for (threats S-111): against an unexplained jump, and against acts of the future."""

from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select

from scepd.observe.audit import Action
from scepd.records import Belief, ClockDoubts
from scepd.store import clock_rows
from scepd.store.engines import StoreConnection
from scepd.store.ledger import Act
from scepd.store.rows import time_text
from scepd.store.schema import CERTIFICATE
from scepd.store.writer import Writer

_NOT_YET_VALID = select(func.count()).where(CERTIFICATE.c.not_before > bindparam("now"))


def begin_clock(connection: StoreConnection, node: str, present: Belief, tolerance: timedelta) -> None:
    """Believe the clock as it is: a machine that was off or slept for months starts with a later one.

    One that is behind what is on record is not believed, so that nothing is held against it when it is put right.
    """
    with connection.write():
        acts = clock_rows.last_acts(connection).values()
        if any(at > present.at + tolerance for _sequence, at in acts):
            clock_rows.drop_belief(connection, node)
        else:
            clock_rows.write_belief(connection, node, present)


class Clocks(Writer):
    """The acts about clocks."""

    def follow_clock(self, node: str, present: Belief) -> None:
        """Hold the clock against the present from now on; for one that is not in doubt."""
        with self._act("follow_clock"):
            clock_rows.write_belief(self._connection, node, present)

    def clock_doubts(self, node: str, present: Belief, tolerance: timedelta, *, runs: bool = True) -> ClockDoubts:
        """Return what speaks against the present; a belief only where the service `runs`, since a start makes another."""
        belief = clock_rows.read_belief(self._connection, node) if runs else None
        ahead = timedelta() if belief is None else belief.ahead(present)
        acts = clock_rows.last_acts(self._connection)
        row = self._connection.first(_NOT_YET_VALID, {"now": time_text(present.at + tolerance)})
        return ClockDoubts(
            now=present.at,
            ahead=ahead if abs(ahead) > tolerance else timedelta(),
            acts={owner: end for owner, end in sorted(acts.items()) if end[1] > present.at + tolerance},
            not_yet_valid=0 if row is None else int(row[0]),
        )

    def accept_clock(self, node: str, present: Belief, doubts: ClockDoubts, *, who: str) -> None:
        """Believe the present, let the acts pass that are later, and put on record who said so. Raises `ReadOnly`."""
        with self._act("accept_clock") as now:
            clock_rows.write_belief(self._connection, node, present)
            clock_rows.excuse(self._connection, {owner: sequence for owner, (sequence, _at) in doubts.acts.items()})
            details = {
                "now": time_text(doubts.now),
                "ahead_seconds": int(doubts.ahead.total_seconds()),
                "later_acts": {owner: [sequence, time_text(at)] for owner, (sequence, at) in doubts.acts.items()},
            }
            self._note(Act(Action.clock_accepted, who, f"clock {node}", details), now)
            self._announce()


def latest_of(doubts: ClockDoubts) -> datetime | None:
    """Return when the latest act was done that is later than the clock."""
    return max((at for _sequence, at in doubts.acts.values()), default=None)
