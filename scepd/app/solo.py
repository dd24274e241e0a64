"""One member inside the supervisor's own process (workers = 0): for development and tests."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from scepd.app.child import StartFailure
from scepd.app.fleet import Slot
from scepd.app.parcel import EXIT_CONFIGURATION
from scepd.app.process import Member
from scepd.refusal import OperatorError


class Solo:
    """Looks like a `Fleet` with one slot, without a child in it."""

    def __init__(self, reactor: Any, name: str, build: Callable[[Callable[[], None]], Member]) -> None:
        """Keep how to build the member."""
        self._reactor = reactor
        self._build = build
        self._slot = Slot(0)
        self._member: Member | None = None
        self.name = name

    @property
    def slots(self) -> list[Slot]:
        """The one slot, with what the member says of itself now."""
        if self._member is not None:
            self._slot.hear(self._member.describe())
        return [self._slot]

    @property
    def is_ready(self) -> bool:
        """Whether the member serves."""
        return self._slot.state == "ready"

    def start(self, *, recover: bool = True) -> Deferred[None]:
        """Start the member; nobody else works on its transactions."""
        del recover
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._slot.state, self._slot.started = "starting", datetime.now(UTC)
        begun = self._reactor.seconds()
        self._member = self._build(self._reactor.stop)
        try:
            await self._member.start()
        except OperatorError as problem:
            raise StartFailure([problem], EXIT_CONFIGURATION) from problem
        self._slot.state = "ready"
        self._slot.startup_milliseconds = round((self._reactor.seconds() - begun) * 1000)

    def drain(self, grace: float, left: Callable[[int], None] | None = None) -> Deferred[Any]:
        """Let the member finish."""
        del left
        if self._member is None:
            return DeferredList([])
        self._slot.state = "draining"
        return Deferred.fromCoroutine(self._member.drain(grace))

    def command(self, index: int, words: str) -> None:
        """Pass nothing on: commands are between processes."""
