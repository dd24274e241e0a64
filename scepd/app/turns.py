"""The turns of a duty that may fail: how often it is looked after, and how it is tried again, ever more seldom."""

import time
from collections.abc import Awaitable, Callable

import attrs

from scepd.hsm.faults import TokenFault
from scepd.refusal import OperatorError, Reject, Unavailable
from scepd.x509.draft import SealError

Trouble = Unavailable | TokenFault | OperatorError | Reject | SealError
_TROUBLES = (Unavailable, TokenFault, OperatorError, Reject, SealError)


@attrs.frozen
class Setback:
    """A failed turn: why, and in how many seconds the next one is."""

    trouble: Trouble
    retry_in: float

    @property
    def cause(self) -> str:
        """What was in the way, one line for the log."""
        match self.trouble:
            case OperatorError():
                return self.trouble.problem
            case Unavailable() | TokenFault():
                return self.trouble.cause
            case Reject():
                return f"{self.trouble.reason.value}: {self.trouble.detail}"
            case SealError():
                return str(self.trouble)

    @property
    def hint(self) -> str:
        """What to try."""
        match self.trouble:
            case OperatorError():
                return self.trouble.hint
            case Unavailable() | TokenFault():
                return "scepd status"
            case Reject():
                return "scepd check"
            case SealError():
                return "scepd hsm probe"


@attrs.define(kw_only=True)
class Turns:
    """When a duty's next turn is, in seconds of `monotonic`.

    Turns are `look` apart; after failures in a row the next one is `first`, twice that, and so on to `longest` away.
    Only work that was done makes that short again: while a failure lasts, the lease passes from worker to worker, and
    one that has it not finds nothing to do.
    """

    first: float
    longest: float
    look: float = 0.0
    monotonic: Callable[[], float] = time.monotonic
    _due: float = attrs.field(default=0.0, init=False)
    _pause: float = attrs.field(default=attrs.Factory(lambda self: self.first, takes_self=True), init=False)

    async def take(self, work: Callable[[], Awaitable[bool]], alarm: Callable[[Setback], None]) -> None:
        """Do the work where a turn is due, and tell of a failure; `work` returns whether there was anything to do."""
        now = self.monotonic()
        if now < self._due:
            return
        self._due = now + self.look
        try:
            done = await work()
        except _TROUBLES as trouble:
            alarm(Setback(trouble, self.put_off()))
        else:
            if done:
                self._pause = self.first

    def put_off(self) -> float:
        """Put the next turn off as after a failure; return for how many seconds."""
        pause = self._pause
        self._due = self.monotonic() + pause
        self._pause = min(pause * 2, self.longest)
        return pause
