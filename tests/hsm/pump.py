"""A reactor as small as lanes need it: calls from threads and delayed calls, turned by the test's own thread."""

import heapq
import itertools
import time
from queue import Empty, SimpleQueue

from twisted.python.failure import Failure


class Delayed:
    def __init__(self, function):
        self.function = function
        self.cancelled = False

    def active(self) -> bool:
        return self.function is not None and not self.cancelled

    def cancel(self) -> None:
        self.cancelled = True


class Pump:
    def __init__(self):
        self.calls = SimpleQueue()
        self.delayed = []
        self.order = itertools.count()

    def callFromThread(self, function, *arguments):
        self.calls.put((function, arguments))

    def callLater(self, delay, function, *arguments):
        call = Delayed(lambda: function(*arguments))
        heapq.heappush(self.delayed, (time.monotonic() + delay, next(self.order), call))
        return call

    def turn(self, longest: float = 0.02) -> None:
        """Do what is due, or wait a moment for a thread."""
        while self.delayed and self.delayed[0][0] <= time.monotonic():
            call = heapq.heappop(self.delayed)[2]
            if call.active():
                function, call.function = call.function, None
                function()
        try:
            function, arguments = self.calls.get(timeout=longest)
        except Empty:
            return
        function(*arguments)

    def until(self, ready, timeout: float = 20.0) -> None:
        end = time.monotonic() + timeout
        while not ready():
            assert time.monotonic() < end, "it did not happen in time"
            self.turn()

    def result(self, deferred, timeout: float = 20.0):
        """Return what the Deferred fires with; raise what it fails with."""
        results = []
        deferred.addBoth(results.append)
        self.until(lambda: results, timeout)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]
