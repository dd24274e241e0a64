"""How often a network may ask: the generic cell rate algorithm (ITU-T I.371), in memory, of bounded size."""

from collections import OrderedDict
from collections.abc import Callable

NETWORKS = 16_384  # kept at most: some 3 MB
_MINUTE = 60.0
_ROUNDING = 1e-6  # seconds; far below any interval, far above what adding intervals loses


class RateLimit:
    """Lets each network make `per_minute` requests a minute: that many at once, then one per interval.

    What it keeps of a network is one time, when the network will have used up nothing. Networks that came least lately
    are forgotten first: at once where that time is past, otherwise only when there are more than `capacity`.
    """

    def __init__(self, per_minute: float, *, monotonic: Callable[[], float], capacity: int = NETWORKS) -> None:
        """Take the rate, which may be a fraction, and the clock in seconds."""
        self._interval = _MINUTE / per_minute
        self._tolerance = max(0.0, _MINUTE - self._interval)
        self._monotonic = monotonic
        self._capacity = capacity
        self._due: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def take(self, network: str) -> float:
        """Count a request: return 0.0 when it may pass, else the seconds until one may; a refused one costs nothing."""
        now = self._monotonic()
        due = max(self._due.get(network, now), now)
        wait = due - self._tolerance - now
        if wait > _ROUNDING:
            self._due.move_to_end(network)  # who keeps knocking is not forgotten for it
            return wait
        self._due[network] = due + self._interval
        self._due.move_to_end(network)
        self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop up to two quiet networks for the one that came, and the oldest where there are too many."""
        for _ in range(2):
            oldest = next(iter(self._due))
            if self._due[oldest] > now and len(self._due) <= self._capacity:
                return
            del self._due[oldest]
