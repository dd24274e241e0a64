"""Finding reactor callbacks that block: a beat on the reactor, and a thread that looks at its stack when the beat is late."""

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import attrs

_FRAMES = 12

# The functions in which a reactor waits for events: a late beat there is the machine's doing, not a callback's.
_WAITING = frozenset({"doPoll", "doSelect", "doKEvent"})


@attrs.frozen
class Stall:
    """A callback that kept the reactor: seconds, and the reactor thread's stack (innermost first) while it did.

    `cpu` are the seconds of them in which the thread had a processor. Where that is little, the thread waited: in a call
    that blocks, or because the machine was busy with others.
    """

    seconds: float
    stack: tuple[str, ...]
    cpu: float


class StallDetector:
    """Calls `report` on the reactor thread after each callback that took longer than `limit` seconds.

    It costs one timer and one thread, each waking every `limit`/2. Callbacks between `limit` and twice that may be missed.
    """

    def __init__(self, reactor: Any, report: Callable[[Stall], object], *, limit: float = 0.05) -> None:
        """Prepare; nothing runs before `start`."""
        self._reactor = reactor
        self._report = report
        self._limit = limit
        self._period = limit / 2
        self._beat = self._cpu = 0.0
        self._identity = 0
        self._seen: tuple[float, tuple[str, ...]] = (0.0, ())  # the beat that was late, and the stack then
        self._call: Any = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; to be called on the reactor's thread."""
        self._identity = threading.get_ident()
        self._beat, self._cpu = time.monotonic(), time.thread_time()
        self._call = self._reactor.callLater(self._period, self._tick)
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, name="stall-detector", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; to be called on the reactor's thread."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _tick(self) -> None:
        self._call = None
        late = time.monotonic() - self._beat - self._period
        beat, stack = self._seen
        if beat == self._beat and stack and late > self._limit:
            self._report(Stall(late, stack, time.thread_time() - self._cpu))
        if not self._stop.is_set():
            self._beat, self._cpu = time.monotonic(), time.thread_time()
            self._call = self._reactor.callLater(self._period, self._tick)

    def _watch(self) -> None:
        """Look at the reactor's stack while its beat is late."""
        while not self._stop.wait(self._period):
            beat = self._beat
            if time.monotonic() - beat - self._period <= self._limit or self._seen[0] == beat:
                continue
            frame = sys._current_frames().get(self._identity)  # noqa: SLF001 - the documented way to see another thread
            stack = _describe(frame)
            if stack and not any(line.rpartition(":")[2] in _WAITING for line in stack[:2]):
                self._seen = (beat, stack)


def _describe(frame: FrameType | None) -> tuple[str, ...]:
    lines: list[str] = []
    while frame is not None and len(lines) < _FRAMES:
        lines.append(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}:{frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(lines)
