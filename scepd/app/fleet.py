"""Keep one child alive in each slot: hear that it is ready, replace it when it dies or falls silent."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from scepd.app.child import Child, Ended, Ending, Event, Heard, StartFailure, problem_of
from scepd.app.options import Patience
from scepd.app.parcel import EXIT_CONFIGURATION, EXIT_FAILED
from scepd.refusal import OperatorError

_FIRST_DELAY = 0.25  # seconds
_FAREWELL = 5.0  # seconds beyond the grace, in which a child writes what it kept and ends its lanes


@attrs.define(eq=False)
class Slot:
    """One place for a child, and the record of those who had it."""

    index: int
    state: str = "empty"  # empty | starting | ready | draining | waiting
    child: Child | None = None
    started: datetime | None = None
    born: float = 0.0  # reactor seconds
    heard: float = 0.0  # reactor seconds of the last line
    startup_milliseconds: int | None = None
    restarts: int = 0
    still_born: int = 0  # deaths in a row before READY
    was_ready: bool = False  # the present child
    hsm: str = "unknown"  # as the child last said: up | away | unknown
    read_only: str = ""  # as the child last said: why
    read_only_hint: str = ""  # and what to try
    responders: dict[str, str] = attrs.Factory(dict)  # as it last said: when the OCSP certificate of each issuer ends
    problems: list[OperatorError] = attrs.Factory(list)
    delayed: Any = None
    left: Deferred[None] | None = None

    @property
    def serves(self) -> bool:
        """Whether its child is READY and, where it has a token, that answers."""
        return self.state == "ready" and self.hsm != "away"

    def hear(self, said: Mapping[str, Any]) -> None:
        """Take what the child says of itself."""
        self.hsm = said.get("hsm", self.hsm)
        self.read_only = said.get("read_only", self.read_only)
        self.read_only_hint = said.get("read_only_hint", self.read_only_hint)
        self.responders = said.get("responders", self.responders)

    def describe(self) -> dict[str, Any]:
        """Return the slot as JSON-able fields."""
        return {
            "slot": self.index,
            "pid": None if self.child is None else self.child.pid,
            "state": self.state,
            "started": None if self.started is None else self.started.isoformat(timespec="seconds"),
            "startup_milliseconds": self.startup_milliseconds,
            "restarts": self.restarts,
            "hsm": self.hsm,
            "read_only": self.read_only,
            "problems": [problem.problem for problem in self.problems],
        }


# (slot, whether nobody else works on its transactions, heard, ended) -> the running child
Launch = Callable[[int, bool, Heard, Ended], Child]


class Fleet:
    """Children of one kind, one per slot, started together and replaced one by one."""

    log = Logger()

    def __init__(self, reactor: Any, name: str, size: int, launch: Launch, *, patience: Patience) -> None:
        """Make the empty slots."""
        self._reactor = reactor
        self._launch = launch
        self._patience = patience
        self.name = name
        self.slots = [Slot(index) for index in range(size)]
        self._complete: Deferred[None] | None = None
        self._overdue: Any = None
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor

    def start(self, *, recover: bool = True) -> Deferred[None]:
        """Start all; fires when all are READY, fails with `StartFailure` when one cannot become so."""
        complete: Deferred[None] = Deferred(self._forget_start)
        self._complete = complete
        self._watch.start(min(1.0, self._patience.silence / 4), now=False)
        self._overdue = self._reactor.callLater(self._patience.ready, self._give_up_start)
        for slot in self.slots:
            self._spawn(slot, recover=recover)
        return complete

    def drain(self, grace: float, left: Callable[[int], None] | None = None) -> Deferred[Any]:
        """Let all finish what they have within `grace` seconds; `left` hears each slot that is empty then."""
        if self._watch.running:
            self._watch.stop()
        return DeferredList([self._leave(slot, grace, left) for slot in self.slots])

    def command(self, index: int, words: str) -> None:
        """Send a command to the child of one slot, if there is one."""
        child = self.slots[index].child
        if child is not None:
            child.command(words)

    @property
    def is_ready(self) -> bool:
        """Whether every slot has a child that serves."""
        return all(slot.serves for slot in self.slots)

    def _spawn(self, slot: Slot, *, recover: bool) -> None:
        slot.state, slot.delayed, slot.problems, slot.was_ready = "starting", None, [], False
        slot.started = datetime.now(UTC)
        slot.born = slot.heard = self._reactor.seconds()
        try:
            slot.child = self._launch(
                slot.index,
                recover,
                lambda event: self._hear(slot, event),
                lambda ending: self._bury(slot, ending),
            )
        except OSError as fault:
            hint = "ulimit -u; ulimit -n   # processes and descriptors that the service may have"
            slot.problems = [OperatorError(f"cannot start a process: {fault.strerror}", hint)]
            self._bury(slot, Ending(EXIT_FAILED, None))

    def _hear(self, slot: Slot, event: Event) -> None:
        slot.heard = self._reactor.seconds()
        slot.hear(event)
        if event["event"] == "problem":
            slot.problems.append(problem_of(event))
        elif event["event"] == "ready" and slot.state == "starting":
            slot.state, slot.was_ready, slot.problems = "ready", True, []
            slot.startup_milliseconds = round((slot.heard - slot.born) * 1000)
            self.log.info(
                event="child_ready",
                kind=self.name,
                slot=slot.index,
                pid=slot.child and slot.child.pid,
                ms=slot.startup_milliseconds,
            )
        self._settle_start()

    def _forget_start(self, _cancelled: object) -> None:
        self._take_start()

    def _take_start(self) -> Deferred[None] | None:
        complete, self._complete = self._complete, None
        if self._overdue is not None and self._overdue.active():
            self._overdue.cancel()
        return complete

    def _give_up_start(self) -> None:
        late = [slot for slot in self.slots if not slot.serves]
        problems = [problem for slot in late for problem in slot.problems]
        words = ", ".join(f"{slot.index} ({slot.state}, token {slot.hsm})" for slot in late)
        complete = self._take_start()
        if complete is not None:
            late_ones = OperatorError(f"not ready in {self._patience.ready} s: {self.name} {words}", "read the log")
            complete.errback(StartFailure(problems or [late_ones]))

    def _settle_start(self) -> None:
        if self._complete is None or not self.is_ready:
            return
        complete = self._take_start()
        if complete is not None:
            complete.callback(None)

    def _bury(self, slot: Slot, ending: Ending) -> None:
        slot.child = None
        if slot.left is not None:
            slot.state, left, slot.left = "empty", slot.left, None
            left.callback(None)
            return
        self.log.warn(  # noqa: G010 - the name in twisted.logger
            event="child_ended",
            kind=self.name,
            slot=slot.index,
            ending=str(ending),
            problems=[p.problem for p in slot.problems],
        )
        slot.still_born = 0 if slot.was_ready else slot.still_born + 1
        slot.hsm = "unknown"
        if self._complete is not None and self._is_hopeless(slot, ending):
            self._fail_start(slot, ending)
            return
        slot.restarts += 1
        slot.state = "waiting"
        slot.delayed = self._reactor.callLater(self._delay(slot), self._spawn, slot, recover=True)

    def _is_hopeless(self, slot: Slot, ending: Ending) -> bool:
        return ending.status == EXIT_CONFIGURATION or slot.still_born >= self._patience.attempts

    def _fail_start(self, slot: Slot, ending: Ending) -> None:
        complete = self._take_start()
        fallback = OperatorError(f"{self.name} {slot.index} ended with {ending}", "read the lines above in the log")
        if complete is not None:
            complete.errback(StartFailure(slot.problems or [fallback], ending.status or EXIT_FAILED))

    def _delay(self, slot: Slot) -> float:
        # The successor of one that served starts at once: connections wait in the slot's socket.
        if slot.still_born == 0:
            return 0.0
        return min(self._patience.back_off, _FIRST_DELAY * 2.0 ** (slot.still_born - 1))

    def _look(self) -> None:
        now = self._reactor.seconds()
        for slot in self.slots:
            limit = self._patience.ready if slot.state == "starting" else self._patience.silence
            since = slot.born if slot.state == "starting" else slot.heard
            if slot.child is not None and slot.state in ("starting", "ready") and now - since > limit:
                self.log.error(
                    event="child_stuck",
                    kind=self.name,
                    slot=slot.index,
                    pid=slot.child.pid,
                    silent=round(now - slot.heard, 1),
                )
                slot.state = "stuck"
                slot.child.kill()

    def _leave(self, slot: Slot, grace: float, left: Callable[[int], None] | None) -> Deferred[None]:
        if slot.delayed is not None and slot.delayed.active():
            slot.delayed.cancel()
        if slot.child is None:
            gone = succeed(None)
        else:
            slot.state, slot.left = "draining", Deferred()
            slot.child.command(f"drain {grace}")
            gone = slot.left
            late = self._reactor.callLater(grace + _FAREWELL, slot.child.kill)
            gone.addCallback(lambda _: late.cancel() if late.active() else None)
        return gone.addCallback(lambda _: left(slot.index) if left is not None else None)
