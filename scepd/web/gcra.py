"""How often somebody may do something: the generic cell rate algorithm (ITU-T I.371), in memory, of bounded size."""

from collections import OrderedDict
from collections.abc import Callable

NETWORKS = 16_384  # kept at most: some 3 MB
_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND


class RateLimit:
    """Lets each network make `per_minute` requests a minute: that many at once, then one per interval.

    What it keeps of a network is one time, when the network will have used up nothing. Networks that came least lately
    are forgotten first: at once where that time is past, otherwise only when there are more than `capacity`.
    """

    def __init__(
        self, per_minute: float, *, clock: Callable[[], int], capacity: int = NETWORKS, burst: float | None = None
    ) -> None:
        """Take the rate, which may be a fraction, and a clock that never goes back, in nanoseconds.

        `burst` is how many may come at once, by default those of a whole minute.
        """
        self._interval = int(_MINUTE / per_minute)
        self._tolerance = max(0, (_MINUTE if burst is None else int(self._interval * burst)) - self._interval)
        self._clock = clock
        self._capacity = capacity
        self._due: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def take(self, network: str) -> float:
        """Count a request: return 0.0 when it may pass, else the seconds until one may; a refused one costs nothing."""
        now = self._clock()
        due = max(self._due.get(network, now), now)
        wait = due - self._tolerance - now
        if wait <= 0:
            self._due[network] = due + self._interval
        self._due.move_to_end(network)  # a refused one too: who keeps knocking is not forgotten for it
        self._forget(now)
        return max(0, wait) / _SECOND

    def wait(self, network: str) -> float:
        """Return the seconds until a request may pass, 0.0 when it may now; nothing is counted."""
        now = self._clock()
        return max(0, self._due.get(network, now) - self._tolerance - now) / _SECOND

    def _forget(self, now: int) -> None:
        """Drop up to two quiet networks for the one that came, and the oldest where there are too many."""
        for _ in range(2):
            oldest = next(iter(self._due))
            if self._due[oldest] > now and len(self._due) <= self._capacity:
                return
            del self._due[oldest]
