"""A thread with a store connection of its own, for what must keep no request waiting: duties and news."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scepd.store.repository import Repository

T = TypeVar("T")


class Clerk:
    """Runs functions one after the other in its thread, each with the repository that was opened there.

    Where opening fails, the function's Deferred fails, and the next one tries again. Nobody waits for the thread at
    the end of the process: it may hang in a file system.
    """

    def __init__(self, reactor: Any, name: str, open_repository: Callable[[], Repository]) -> None:
        """Prepare; the thread begins with `start`."""
        self._reactor = reactor
        self._name = name
        self._open = open_repository
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ended: Deferred[None] = Deferred()
        self._repository: Repository | None = None
        self._started = False

    def start(self) -> None:
        """Begin."""
        self._started = True
        threading.Thread(target=self._serve, name=self._name, daemon=True).start()

    def run(self, function: Callable[[Repository], T]) -> Deferred[T]:
        """Run the function in the thread; the Deferred fails with what it or opening the store raises."""
        result: Deferred[T] = Deferred()
        self._queue.put(lambda: self._settle(result, function))
        return result

    def stop(self) -> Deferred[None]:
        """End after what waits already; fires when the thread has ended."""
        if self._started:
            self._queue.put(None)
        else:
            self._ended.callback(None)
        return self._ended

    def _serve(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
        if self._repository is not None:
            self._repository.close()
        self._reactor.callFromThread(self._ended.callback, None)

    def _settle(self, result: Deferred[T], function: Callable[[Repository], T]) -> None:
        try:
            if self._repository is None:
                self._repository = self._open()
            outcome = function(self._repository)
        except Exception:  # noqa: BLE001 - the thread's boundary: whatever it is, the caller gets it
            self._reactor.callFromThread(result.errback, Failure())  # type: ignore[no-untyped-call]
        else:
            self._reactor.callFromThread(result.callback, outcome)
