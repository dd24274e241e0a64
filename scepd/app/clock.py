"""The machine's clock, for what takes its time as an argument."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

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


def boot() -> str:
    """Return the name of this boot of the machine (random(4), boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def present(clock: Clock) -> Belief:
    """Return the clock's time tied to the machine's uptime."""
    return Belief(boot(), uptime(), clock.now())
