"""Whether the machine's clock can be believed (threats S-111): never behind what was written by it, nor far ahead of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs

from scepd.app.clock import uptime
from scepd.ports import Clock
from scepd.records import Belief

TOLERANCE = timedelta(minutes=5)  # between nodes, for a clock that is put right, and for what it may jump in a day
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_DAY = timedelta(days=1)


@attrs.define
class ClockWatch:
    """The latest moment that this process has seen or read, and a moment since which the uptime must tell the same.

    A clock that was set back would make certificates, CRLs and OCSP answers of a time that is over: what was revoked
    since would seem good, and what has ended valid. One that jumps ahead makes them for a time that has not come, and
    nothing would be signed any more once it is right again. Steps within the tolerance are followed once a day.
    """

    clock: Clock
    uptime: Callable[[], timedelta] = uptime
    _latest: datetime = attrs.field(default=_LONG_AGO, init=False)
    _told: Belief | None = attrs.field(default=None, init=False)  # by the store
    _belief: Belief | None = attrs.field(default=None, init=False)

    def learn(self, moment: datetime | None, belief: Belief | None = None) -> None:
        """Take a moment of an act that is on record, and what the store says this clock is held against."""
        if belief != self._told:
            # Set at the start, moved on once a day, or a person has said that the time is right.
            self._told, self._belief, self._latest = belief, belief, _LONG_AGO if belief is None else belief.at
        if moment is not None:
            self._latest = max(self._latest, moment)

    def doubt(self) -> str:
        """Return what is wrong with the clock; empty for nothing."""
        present = self.present()
        if present.at + TOLERANCE < self._latest:
            words = f"{_text(present.at)}, and something was done at {_text(self._latest)} already"
            return f"the clock was set back: it says {words}"
        ahead = timedelta() if self._belief is None else self._belief.ahead(present)
        if ahead > TOLERANCE:
            words = f"{_text(present.at)}, and by the time that has passed it is {_text(present.at - ahead)}"
            return f"the clock jumped ahead: it says {words}"
        if self._belief is None or ahead < timedelta() or present.uptime - self._belief.uptime >= _DAY:
            self._belief = present
        self._latest = max(self._latest, present.at)
        return ""

    def step(self, kept: Belief | None) -> Belief | None:
        """Return what the store must be told in place of what it keeps, for a process that begins later.

        None where that still holds, or the clock is in doubt; one look at the clock, which may jump in between.
        """
        present = self.present()
        if self._belief is not None and self._belief.ahead(present) > TOLERANCE:
            return None
        if kept is None or present.uptime < kept.uptime:
            return present
        ahead = kept.ahead(present)
        is_due = ahead < -TOLERANCE or (ahead <= TOLERANCE and present.uptime - kept.uptime >= _DAY)
        return present if is_due else None

    def present(self) -> Belief:
        """Return the clock's time tied to the machine's uptime."""
        return Belief(self.uptime(), self.clock.now())


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
