"""Whether the machine's clock can be believed: it is never behind what was already written by it (threats S-111)."""

from datetime import UTC, datetime, timedelta

import attrs

from scepd.ports import Clock

TOLERANCE = timedelta(minutes=5)  # between nodes, and for a clock that is put right
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@attrs.define
class ClockWatch:
    """The latest moment that this process has seen or read; used on the reactor's thread.

    A clock that was set back would make certificates, CRLs and OCSP answers of a time that is over: what was revoked
    since would seem good, and what has ended valid.
    """

    clock: Clock
    _latest: datetime = attrs.field(default=_LONG_AGO, init=False)

    def learn(self, moment: datetime | None) -> None:
        """Take a moment of an act that is on record."""
        if moment is not None:
            self._latest = max(self._latest, moment)

    def doubt(self) -> str:
        """Return what is wrong with the clock; empty for nothing."""
        now = self.clock.now()
        if now + TOLERANCE < self._latest:
            words = f"{now:%Y-%m-%dT%H:%M:%SZ}, and something was done at {self._latest:%Y-%m-%dT%H:%M:%SZ} already"
            return f"the clock was set back: it says {words}"
        self._latest = max(self._latest, now)
        return ""
