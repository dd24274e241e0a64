"""One lane: a thread that owns a context (session, keys, store connection) and does one piece of work at a time."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import attrs

from scepd.hsm.faults import TokenFault
from scepd.refusal import OperatorError, Unavailable

C = TypeVar("C")

Outcome = tuple[bool, Any]  # succeeded, and the result or the exception


@attrs.define(eq=False)
class Job:
    """A function waiting for a lane. Whoever claims it first (a lane, the deadline, a refusal) settles it."""

    function: Callable[[Any], Any]
    born: float  # monotonic seconds
    expires: float
    settle: Callable[[bool, Any], None]  # called in whatever thread claimed the job
    wanted: Callable[[], bool]  # False when nobody waits for the result any more
    _ticket: threading.Lock = attrs.field(factory=threading.Lock)

    def claim(self) -> bool:
        """Return whether the job is the caller's to settle: True once."""
        return self._ticket.acquire(blocking=False)

    @property
    def claimed(self) -> bool:
        """Whether somebody has it."""
        return self._ticket.locked()

    def refuse(self, cause: str) -> None:
        """Settle it with 503, where nobody else has it."""
        if self.claim():
            self.settle(False, Unavailable(cause))


@attrs.define(eq=False)
class Lane(Generic[C]):
    """The lane's state; `since` is when its present work began, None while it waits."""

    make_context: Callable[[], C]
    drop_context: Callable[[C], None]
    report: Callable[[TokenFault], None]  # a device fault: the circuit opens
    tell: Callable[[TokenFault], None]  # another one, which a new session may mend
    monotonic: Callable[[], float]
    away: threading.Event  # set by the first lane that meets a device fault, cleared when the circuit closes
    context: C | None = None
    since: float | None = None
    job: Job | None = None  # what it works on
    undropped: Exception | None = None  # why the last context could not be closed
    rebuilt: int = 0  # contexts made anew after a session fault
    orders: "SimpleQueue[str]" = attrs.field(factory=SimpleQueue)  # what to do while the circuit is open

    def serve(self, queue: "SimpleQueue[Callable[[Lane[C]], None] | None]") -> None:
        """Do the queue's works until None comes, then let go of the context."""
        while (work := queue.get()) is not None:
            self.since = self.monotonic()
            work(self)
            self.since = None
        self.drop()

    def perform(self, job: Job) -> None:
        """Settle the job: late or abandoned ones are not started."""
        if not job.claim():
            return
        if self.away.is_set():
            job.settle(False, Unavailable("the token is away"))
            return
        if self.monotonic() > job.expires or not job.wanted():
            job.settle(False, Unavailable("waited too long for a lane"))
            return
        self.job = job
        try:
            result = self._run(job.function)
        except TokenFault as fault:
            self.away.set()
            self.report(fault)  # first, so that the circuit is open when the caller hears of it
            job.settle(False, Unavailable(f"token fault: {fault}"))
        except Exception as error:  # noqa: BLE001 - the lane's boundary: whatever it is, the caller gets it
            job.settle(False, error)
        else:
            job.settle(True, result)
        finally:
            self.job = None

    def abandon(self) -> None:
        """Settle with 503 what the lane works on: nobody waits any longer for a thread that may never return."""
        job = self.job
        if job is not None:
            job.settle(False, Unavailable("the token does not answer"))

    def build(self) -> Exception | None:
        """Make the context in this thread; return what went wrong instead of raising it."""
        try:
            self.drop()
            self.context = self.make_context()
        except Exception as error:  # noqa: BLE001 - the lane's boundary
            return error
        return None

    def drop(self) -> None:
        """Let go of the context."""
        context, self.context = self.context, None
        if context is None:
            return
        try:
            self.drop_context(context)
        except Exception as error:  # noqa: BLE001 - the lane's boundary: what cannot be closed was lost already
            self.undropped = error

    def _run(self, function: Callable[[C], Any]) -> Any:
        """Run it; on a fault that a new session may mend, make a new context and run it once more."""
        if self.context is None:
            self._rebuild()
        assert self.context is not None
        try:
            return function(self.context)
        except TokenFault as fault:
            if fault.kind == "device":
                raise
            self.tell(fault)
        self._rebuild()
        self.rebuilt += 1
        try:
            return function(self.context)
        except TokenFault as fault:
            raise TokenFault("device", f"again on a new session: {fault.cause}") from fault

    def _rebuild(self) -> None:
        error = self.build()
        if isinstance(error, OperatorError):  # on a token that served before, a key that is not there is a token away
            raise TokenFault("device", error.problem) from error
        if error is not None:
            raise error
