"""Lanes: the bounded way from the reactor into threads that own a session, and the circuit that guards it."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from heapq import heappop, heappush
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepd.hsm.faults import TokenFault, WrongSignature
from scepd.hsm.lane import C, Job, Lane
from scepd.hsm.recovery import Care, Recovery, Thrift
from scepd.records import Standing
from scepd.refusal import Unavailable

__all__ = ["Care", "Lanes", "TokenFault"]

T = TypeVar("T")

# Which part of the queue may be full for somebody of that standing to join it.
_ROOM = {Standing.good: 1.0, Standing.unknown: 0.75, Standing.doubtful: 0.5}
_NEW, _CLOSED, _OPEN, _STOPPED, _DEAD = "new", "up", "away", "stopped", "dead"


def _ignore(_value: Any) -> None:
    return None


@attrs.define(eq=False)
class Lanes(Generic[C]):
    """Threads that each own one context, made and used in that thread alone.

    make_context: PKCS#11 session, keys, store connection, composed by the caller; raises `TokenFault` or
        `OperatorError`. drop_context lets go of it.
    size: threads. depth: jobs that may wait. deadline: how long one may wait before it is refused unstarted.
    probe: called with a context at most `care.probe_interval` apart; a `TokenFault` from it opens the circuit.
    recover: `Token.recover`, called with every lane parked outside the module.
    on_state: told "up" or "away". on_dead: told once why this process should be replaced.

    All methods and hooks run in the reactor's thread, but make_context, drop_context, probe and recover.
    """

    make_context: Callable[[], C]
    size: int = attrs.field(kw_only=True)
    depth: int = attrs.field(kw_only=True)
    deadline: timedelta = attrs.field(kw_only=True)
    reactor: Any = attrs.field(kw_only=True)  # IReactorTime and IReactorFromThreads
    probe: Callable[[C], object] | None = attrs.field(default=None, kw_only=True)
    recover: Callable[[], None] = attrs.field(default=lambda: None, kw_only=True)
    drop_context: Callable[[C], None] = attrs.field(default=_ignore, kw_only=True)
    on_state: Callable[[str], None] = attrs.field(default=_ignore, kw_only=True)
    on_dead: Callable[[str], None] = attrs.field(default=_ignore, kw_only=True)
    care: Care = attrs.field(default=Care(), kw_only=True)
    monotonic: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True)
    recoveries: int = attrs.field(default=0, init=False)
    _state: str = attrs.field(default=_NEW, init=False)
    _queue: "SimpleQueue[Callable[[Lane[C]], None] | None]" = attrs.field(factory=SimpleQueue, init=False)
    _ranked: list[tuple[Standing, int, Job]] = attrs.field(factory=list, init=False)  # a heap; one entry of `_queue` each
    _numbers: Iterator[int] = attrs.field(factory=itertools.count, init=False)
    _waiting: deque[Job] = attrs.field(factory=deque, init=False)
    _lanes: list[Lane[C]] = attrs.field(factory=list, init=False)
    _recovery: Recovery | None = attrs.field(default=None, init=False)
    _stopping: threading.Event = attrs.field(factory=threading.Event, init=False)
    _away: threading.Event = attrs.field(factory=threading.Event, init=False)
    _running: int = attrs.field(default=0, init=False)  # lane threads alive
    _started: "Deferred[None] | None" = attrs.field(default=None, init=False)
    _ended: "Deferred[None] | None" = attrs.field(default=None, init=False)
    _first_error: Exception | None = attrs.field(default=None, init=False)
    _unbuilt: int = attrs.field(default=0, init=False)
    _thrift: Thrift = attrs.field(init=False)
    _probed: float = attrs.field(default=0.0, init=False)
    _probing: bool = attrs.field(default=False, init=False)
    _timer: Any = attrs.field(default=None, init=False)
    _log: Logger = attrs.field(factory=lambda: Logger(namespace="scepd.hsm.lanes"), init=False)

    def __attrs_post_init__(self) -> None:
        """Count logins over all recoveries."""
        self._thrift = Thrift(self.care, self.monotonic)

    def start(self) -> "Deferred[None]":
        """Start the threads; fires when every context is made, fails with the first error where one is not."""
        self._started = Deferred()
        self._running = self._unbuilt = self.size
        self._lanes = [
            Lane(self.make_context, self.drop_context, self._report, self._tell, self.monotonic, self._away)
            for _ in range(self.size)
        ]
        for number, lane in enumerate(self._lanes):
            threading.Thread(target=self._thread, args=(lane,), name=f"lane-{number}", daemon=True).start()
        return self._started

    def run(self, function: Callable[[C], T], standing: Standing = Standing.good) -> "Deferred[T]":
        """Run the function in a lane; the Deferred fails with what it raises, or with `Unavailable`.

        Of several that wait the best `standing` comes first, and the worse may fill a part of the queue only. After a
        lost session it is run once more on a new context, so it must be safe to repeat.
        """
        if self._state != _CLOSED:
            return fail(Unavailable(f"the token is {self._state}"))
        if self._queue.qsize() >= self.depth * _ROOM[standing]:
            return fail(Unavailable("too many requests wait for the token", retry_after=1))
        deferred: Deferred[T] = Deferred()
        now = self.monotonic()

        def settle(succeeded: bool, outcome: Any) -> None:
            self.reactor.callFromThread(_fire, deferred, succeeded, outcome)

        job = Job(function, now, now + self.deadline.total_seconds(), settle, lambda: not deferred.called)
        self._waiting.append(job)
        # Lanes take the best job at the moment when they are free; tuples of plain values need no lock of ours.
        heappush(self._ranked, (standing, next(self._numbers), job))
        self._queue.put(self._perform_best)
        return deferred

    def give_up(self, cause: str) -> None:
        """Take no more work and refuse all there is, also what a lane is stuck in; `on_dead` is told."""
        self._die(cause)

    def stop(self) -> "Deferred[None]":
        """Take no more work, finish what waits, end the threads; fires when the last has ended."""
        if self._ended is None:
            self._ended = Deferred()
            self._end()
            self._fire_ended()
        return self._ended

    @property
    def state(self) -> str:
        """Tell "up" while requests are served, "away" while the circuit is open, else "new", "stopped" or "dead"."""
        return self._state

    @property
    def waiting(self) -> int:
        """Jobs that no lane has begun."""
        return self._queue.qsize()

    @property
    def rebuilt(self) -> int:
        """Contexts made anew after lost sessions."""
        return sum(lane.rebuilt for lane in self._lanes)

    def _perform_best(self, lane: Lane[C]) -> None:
        lane.perform(heappop(self._ranked)[2])

    def _thread(self, lane: Lane[C]) -> None:
        lane.since = self.monotonic()
        error = lane.build()
        lane.since = None
        self.reactor.callFromThread(self._built, error)
        lane.serve(self._queue)
        self.reactor.callFromThread(self._left)

    def _built(self, error: Exception | None) -> None:
        self._first_error = self._first_error or error
        self._unbuilt -= 1
        if self._unbuilt or self._started is None:
            return
        started, self._started = self._started, None
        if self._state == _NEW and self._first_error is None:
            self._state = _CLOSED
            self._probed = self.monotonic()
            self._tick()
            self.on_state(_CLOSED)
            started.callback(None)
            return
        error = self._first_error or Unavailable("stopped while starting")
        # Fails when the threads have ended, so that nobody is in the module when the caller tries again.
        self.stop().addCallback(lambda _nothing: started.errback(error))

    def _left(self) -> None:
        self._running -= 1
        self._fire_ended()

    def _fire_ended(self) -> None:
        if self._running == 0 and self._ended is not None and not self._ended.called:
            self._ended.callback(None)

    def _end(self) -> None:
        if self._state in (_STOPPED, _DEAD):
            return
        self._state = _STOPPED
        self._stopping.set()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for _ in range(self.size):
            self._queue.put(None)

    def _tell(self, fault: TokenFault) -> None:
        if isinstance(fault, WrongSignature):  # a new session may mend it, and yet no token may do it
            self.reactor.callFromThread(self._log_wrong, fault.cause)

    def _log_wrong(self, cause: str) -> None:
        self._log.error(event="signature_wrong", cause=cause, hint="scepd hsm probe; replace this HSM if it comes again")

    def _report(self, fault: TokenFault) -> None:
        self.reactor.callFromThread(self._open_circuit, fault)

    def _open_circuit(self, fault: TokenFault) -> None:
        if self._state != _CLOSED:
            return
        self._state = _OPEN
        self._log.error("The token is away: {cause}", cause=fault.cause)
        while self._waiting:
            self._waiting.popleft().refuse("the token is away")
        self._recovery = Recovery(self._lanes, self.recover, self.care, self.monotonic, self._stopping, self._thrift)
        for _ in self._lanes:
            self._queue.put(self._recovery.park)
        threading.Thread(target=self._mend, args=(self._recovery,), name="recovery", daemon=True).start()
        self.on_state(_OPEN)

    def _mend(self, recovery: Recovery) -> None:
        try:
            cause = recovery.run()
        except Exception as error:  # noqa: BLE001 - the thread's boundary: a recovery that breaks is a dead process
            cause = f"{type(error).__name__}: {error}"
        if cause is not None:
            recovery.release()
        self.reactor.callFromThread(self._mended, cause)

    def _mended(self, cause: str | None) -> None:
        self._recovery = None
        if self._state != _OPEN:
            return
        if cause is not None:
            self._die(cause)
            return
        self._away.clear()
        self._state = _CLOSED
        self.recoveries += 1
        self._probed = self.monotonic()
        self._log.info("The token serves again")
        self.on_state(_CLOSED)

    def _die(self, cause: str) -> None:
        if self._state in (_STOPPED, _DEAD):
            return
        self._end()
        self._state = _DEAD
        while self._waiting:
            self._waiting.popleft().refuse("the token is away")
        for lane in self._lanes:
            lane.abandon()
        self._log.critical("This process cannot use the token any more: {cause}", cause=cause)
        self.on_dead(cause)

    def _tick(self) -> None:
        """Refuse what waited too long, look for stuck threads, probe the token."""
        now = self.monotonic()
        while self._waiting and (self._waiting[0].claimed or now > self._waiting[0].expires):
            self._waiting.popleft().refuse("waited too long for a lane")
        limit = self.care.hard_limit.total_seconds()
        watched = [lane.since for lane in self._lanes] + [self._recovery.since if self._recovery else None]
        if any(since is not None and now - since > limit for since in watched):
            self._die("stuck")
            return
        self._probe(now)
        self._timer = self.reactor.callLater(self.care.tick.total_seconds(), self._tick)

    def _probe(self, now: float) -> None:
        due = now - self._probed >= self.care.probe_interval.total_seconds()
        if self.probe is None or self._probing or not due or self._state != _CLOSED:
            return
        self._probing = True
        self.run(self.probe).addErrback(self._probe_failed).addBoth(self._probe_ended)

    def _probe_failed(self, failure: Failure) -> None:
        # A fault of the token has opened the circuit by now; a full queue is tried again after the interval.
        if not isinstance(failure.value, Unavailable):
            self._log.failure("The probe of the token failed", failure=failure)

    def _probe_ended(self, _result: object) -> None:
        self._probing = False
        self._probed = self.monotonic()


def _fire(deferred: "Deferred[Any]", succeeded: bool, outcome: Any) -> None:
    if deferred.called:  # cancelled meanwhile
        return
    if succeeded:
        deferred.callback(outcome)
    else:
        deferred.errback(outcome)
