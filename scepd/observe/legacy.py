"""The uses of legacy switches: every one counted, the first of each peer in an hour told (C-269)."""

from collections import Counter
from collections.abc import Callable

_HOUR = 3600.0  # seconds
_MOST = 10_000  # peers that are remembered


class LegacyWatch:
    """Counts by profile and switch, and remembers for an hour which peers were told of."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Take a monotonic time."""
        self._seconds = seconds
        self._told: dict[tuple[str, str, str], float] = {}
        self.counts: Counter[tuple[str, str]] = Counter()

    def note(self, profile: str, switch: str, peer: str) -> bool:
        """Count one use; return whether this peer's use is to be told now.

        Beyond the bound the oldest peers are forgotten: they may be told of again.
        """
        self.counts[profile, switch] += 1
        now = self._seconds()
        key = (profile, switch, peer)
        told = self._told.pop(key, None)
        self._told[key] = now if told is None or now - told >= _HOUR else told
        if len(self._told) > _MOST:
            del self._told[next(iter(self._told))]
        return told is None or now - told >= _HOUR
