"""What is known of each client network by the answers it had: whoever enrols goes before whoever guesses (threats S-30)."""

from collections import OrderedDict
from collections.abc import Callable

from scepd.records import Standing
from scepd.web.gcra import NETWORKS, RateLimit

_SECOND = 1_000_000_000
_GOOD = 3600 * _SECOND
_DOUBTFUL = 60 * _SECOND


class Standings:
    """Keeps the networks that were issued a certificate within the hour, and those whose guess failed within the minute.

    It says who is served first while others wait. Of each kind the latest `capacity` are kept, apart from each other,
    so that no number of guessers makes the devices forgotten. `after_failure` is how many requests a minute all
    doubtful networks have together, 0 for no limit; ten seconds' worth at once.
    """

    def __init__(self, *, clock: Callable[[], int], capacity: int = NETWORKS, after_failure: float = 0) -> None:
        """Take a clock that never goes back, in nanoseconds."""
        self._shared = RateLimit(after_failure, clock=clock, burst=max(after_failure / 6, 1)) if after_failure else None
        self._clock = clock
        self._capacity = capacity
        self._good: OrderedDict[str, int] = OrderedDict()
        self._doubtful: OrderedDict[str, int] = OrderedDict()

    def of(self, network: str) -> Standing:
        """Return how a network stands at this moment."""
        now = self._clock()
        if self._doubtful.get(network, now) > now:
            return Standing.doubtful
        return Standing.good if self._good.get(network, now) > now else Standing.unknown

    def wait(self, standing: Standing) -> float:
        """Count a request of somebody of that standing: return 0.0 when it may pass, else the seconds until one may."""
        return self._shared.take("") if self._shared is not None and standing is Standing.doubtful else 0.0

    def issued(self, network: str) -> None:
        """Note that a certificate was issued to the network."""
        self._doubtful.pop(network, None)
        self._keep(self._good, network, _GOOD)

    def failed(self, network: str) -> None:
        """Note a failed guess."""
        self._keep(self._doubtful, network, _DOUBTFUL)

    def _keep(self, kept: OrderedDict[str, int], network: str, span: int) -> None:
        kept[network] = self._clock() + span
        kept.move_to_end(network)
        if len(kept) > self._capacity:
            kept.popitem(last=False)
