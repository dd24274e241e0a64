"""How much of a lane's time strangers may cost with what only they decide about."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scepd.refusal import Unavailable

_RETRY = 5  # seconds


class Budget:
    """A part of the time that passes, saved up to a bound; for work that anybody can ask for (C-254, threats S-30)."""

    def __init__(self, monotonic: Callable[[], float], *, part: float = 0.2, most: float = 2.0) -> None:
        """Take the time in seconds, the part of it that may be spent, and the seconds that may be saved up."""
        self._monotonic = monotonic
        self._part = part
        self._most = most
        self._left = most
        self._seen = monotonic()

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Charge the block's time; raises `Unavailable` before it where nothing is left."""
        begun = self._monotonic()
        self._left = min(self._most, self._left + (begun - self._seen) * self._part)
        self._seen = begun
        if self._left <= 0:
            raise Unavailable("too many requests are encrypted with passwords", retry_after=_RETRY)
        try:
            yield
        finally:
            self._left -= self._monotonic() - begun
