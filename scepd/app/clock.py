"""The machine's clock, for what takes its time as an argument."""

from datetime import UTC, datetime


class UtcClock:
    """`ports.Clock` over the system's time."""

    def now(self) -> datetime:
        """Return the present."""
        return datetime.now(UTC)
