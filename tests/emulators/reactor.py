"""The reactor, run for one coroutine at a time, under the eye of the stall detector.

It is the process's own: Twisted's TLS takes its clock from no other.
"""

import gc
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scepd.observe.stall import StallDetector

LIMIT = 0.05  # seconds
_WAITED = 0.5  # seconds: so long no busy machine keeps a thread from running, so that something waited


class Stage:
    """Runs coroutines on the reactor, one after the other.

    `stalls` are those for which the reactor's own thread is to blame: it worked for longer than `LIMIT` in one turn,
    or waited in a callback. A machine that is busy with other things stalls every reactor.
    """

    def __init__(self):
        self.reactor = reactor
        self._reported = []
        self._longest = 0.0

    @property
    def stalls(self):
        return [stall for stall in self._reported if self._longest > LIMIT or stall.seconds > _WAITED]

    def run(self, coroutine_function, *arguments, longest=20.0):
        """Return what the coroutine returns, or raise what it raises."""
        results = []
        detector = StallDetector(self.reactor, self._reported.append, limit=LIMIT)
        self.reactor.callWhenRunning(detector.start)

        def finish(result):
            results.append(result)
            detector.stop()
            # A reactor that crashed can be run again, one that stopped cannot.
            self.reactor.callLater(0, self.reactor.crash)

        def begin():
            Deferred.fromCoroutine(coroutine_function(*arguments)).addTimeout(longest, self.reactor).addBoth(finish)

        self.reactor.callWhenRunning(begin)
        self._turn(longest + 5)
        if self.reactor.threadpool is not None:  # its threads would keep the process alive
            self.reactor._stopThreadPool()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def _turn(self, longest):
        """Do what `reactor.run` does, and measure what each turn costs its thread."""
        end = time.monotonic() + longest
        gc.disable()  # a whole test run's heap is no worker's
        self.reactor.startRunning(installSignalHandlers=False)
        while self.reactor._started and time.monotonic() < end:
            begun = time.thread_time()
            self.reactor.iterate(self.reactor.timeout())
            self._longest = max(self._longest, time.thread_time() - begun)
        gc.enable()
        self.reactor.crash()
