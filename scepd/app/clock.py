"""The machine's clock, for what takes its time as an argument."""

import time
from datetime import UTC, datetime, timedelta

from scepd.ports import Clock
from scepd.records import Belief


class UtcClock:
    """`ports.Clock` over the system's time."""

    def now(self) -> datetime:
        """Return the present."""
        return datetime.now(UTC)


def uptime() -> timedelta:
    """Return how long the machine has run since its boot, its sleep included: setting the time does not change it."""
    return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))


def present(clock: Clock) -> Belief:
    """Return the clock's time tied to the machine's uptime."""
    return Belief(uptime(), clock.now())
