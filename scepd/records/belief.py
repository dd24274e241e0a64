"""What is believed of a machine's clock: a moment at which it was right, tied to a clock that nobody sets."""

from datetime import datetime, timedelta

import attrs


@attrs.frozen
class Belief:
    """The wall clock said `at` when the machine had run for `uptime` (CLOCK_BOOTTIME, clock_gettime(2)).

    Between two boots uptimes cannot be compared: each start of the service believes anew.
    """

    uptime: timedelta
    at: datetime

    def ahead(self, later: "Belief") -> timedelta:
        """Return by how much the wall clock has gained on the uptime since; nothing where the machine booted since."""
        if later.uptime < self.uptime:
            return timedelta()
        return (later.at - self.at) - (later.uptime - self.uptime)


@attrs.frozen(kw_only=True)
class ClockDoubts:
    """What speaks against a clock that a person calls right, beyond a tolerance.

    `ahead` is what it gained on the uptime, less than nothing for a clock that was set back; `acts` are ends of audit
    chains that are later than it.
    """

    now: datetime
    ahead: timedelta
    acts: dict[str, tuple[int, datetime]]
    not_yet_valid: int

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.ahead or self.acts)
