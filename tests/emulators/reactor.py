"""The reactor, run for one coroutine at a time, under the eye of the stall detector.

It is the process's own: Twisted's TLS takes its clock from no other.
"""

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scepd.observe.stall import StallDetector

LIMIT = 0.05  # seconds


class Stage:
    """Runs coroutines on a reactor, one after the other, until `close`; counts stalls."""

    def __init__(self):
        self.reactor = reactor
        self.stalls = []

    def run(self, coroutine_function, *arguments, longest=20.0):
        """Return what the coroutine returns; raise what it raises, and AssertionError for a stalled reactor."""
        results = []
        detector = StallDetector(self.reactor, self.stalls.append, limit=LIMIT)
        self.reactor.callWhenRunning(detector.start)

        def finish(result):
            results.append(result)
            detector.stop()
            # A reactor that crashed can be run again, one that stopped cannot.
            self.reactor.callLater(0, self.reactor.crash)

        def begin():
            Deferred.fromCoroutine(coroutine_function(*arguments)).addTimeout(longest, self.reactor).addBoth(finish)

        self.reactor.callWhenRunning(begin)
        self.reactor.run(installSignalHandlers=False)
        if self.reactor.threadpool is not None:  # its threads would keep the process alive
            self.reactor._stopThreadPool()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]
