"""Which calls into the module are under way, and since when: a call that does not return cannot be ended, only noticed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs


@attrs.frozen
class Call:
    """One call into the module: the PKCS#11 function, and when it began in monotonic seconds."""

    function: str
    since: float


@attrs.define(eq=False)
class Calls:
    """The calls of one process, by thread; written by the threads that call, read by the one that watches."""

    monotonic: Callable[[], float] = time.monotonic
    _running: dict[int, Call] = attrs.field(factory=dict)

    @contextmanager
    def of(self, function: str) -> Iterator[None]:
        """Note the call for as long as the block runs; within another one the inner counts."""
        thread = threading.get_ident()
        outer = self._running.get(thread)
        self._running[thread] = Call(function, self.monotonic())
        try:
            yield
        finally:
            if outer is None:
                del self._running[thread]
            else:
                self._running[thread] = attrs.evolve(outer, since=self.monotonic())

    def stuck(self, limit: float) -> str | None:
        """Return the function of a call that has not returned for `limit` seconds."""
        now = self.monotonic()
        return next((call.function for call in list(self._running.values()) if now - call.since > limit), None)
