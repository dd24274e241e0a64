"""The supervisor's side of a child process: spawn it by exec, feed it its parcel, hear its status lines."""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import scepd
from scepd.app.parcel import EXIT_FAILED, FIRST_SOCKET, STATUS, Parcel
from scepd.refusal import OperatorError

Event = Mapping[str, Any]

_LINE_LIMIT = 1 << 20  # octets; no status line of ours is near it
_HIDDEN = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"})


class StartFailure(Exception):  # noqa: N818 - an outcome of starting or reloading, reported to the operator
    """The service, or a reload of it, cannot start: what is wrong, and the exit status it deserves."""

    def __init__(self, problems: Sequence[OperatorError], status: int = EXIT_FAILED) -> None:
        """Keep all problems."""
        super().__init__("; ".join(problem.problem for problem in problems))
        self.problems = tuple(problems)
        self.status = status

    @property
    def report(self) -> list[dict[str, str]]:
        """The problems as JSON-able rows."""
        return [{"problem": problem.problem, "hint": problem.hint} for problem in self.problems]


@attrs.frozen
class Ending:
    """How a child ended: its exit status, or the signal that ended it."""

    status: int | None
    signal: int | None

    def __str__(self) -> str:
        """Describe it for the log."""
        return f"exit status {self.status}" if self.signal is None else f"signal {signal.Signals(self.signal).name}"


Heard = Callable[[Event], None]
Ended = Callable[[Ending], None]


class Child(ProcessProtocol):
    """One child process; `heard` gets each status line, `ended` is called once with its `Ending`."""

    def __init__(self, parcel: Parcel, heard: Heard, ended: Ended) -> None:
        """Keep what to send and whom to call."""
        self._parcel: Parcel | None = parcel
        self._heard = heard
        self._ended = ended
        self._buffer = b""
        self._process: Any = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return None if self._process is None else int(self._process.pid)

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Hand the parcel over; the PIN is not kept here."""
        assert self._parcel is not None
        self._process = self.transport
        self._process.writeToChild(0, self._parcel.encode())
        self._parcel = None

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803 - Twisted's names
        """Cut the status pipe into lines."""
        if childFD != STATUS:
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._buffer = self._buffer[-_LINE_LIMIT:]
        for line in lines:
            self._heard(json.loads(line))

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Tell how it ended, after its last line was heard."""
        outcome: Any = reason.value
        self._ended(Ending(outcome.exitCode, outcome.signal))

    def command(self, words: str) -> None:
        """Send one command line."""
        self._process.writeToChild(0, f"{words}\n".encode())

    def kill(self) -> None:
        """End it at once; `ended` follows."""
        try:
            self._process.signalProcess("KILL")
        except ProcessExitedAlready:
            return


def spawn(reactor: Any, module: str, child: Child, sockets: Sequence[int] = ()) -> None:
    """Start `python -m module` with exec; descriptor FIRST_SOCKET + i of the child is sockets[i] of ours."""
    descriptors: dict[int, int | str] = {0: "w", 1: 1, 2: 2, STATUS: "r"}
    descriptors.update({FIRST_SOCKET + index: descriptor for index, descriptor in enumerate(sockets)})
    reactor.spawnProcess(
        child, sys.executable, [sys.executable, "-P", "-m", module], env=_environment(), childFDs=descriptors
    )


def _environment() -> dict[str, str]:
    # The child imports this very scepd, wherever it came from, and never the working directory's modules (-P).
    root = str(Path(scepd.__file__).parent.parent)
    inherited = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    paths = [root, *filter(None, inherited.get("PYTHONPATH", "").split(os.pathsep))]
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths)}


def run_once(reactor: Any, module: str, parcel: Parcel, *, deadline: float) -> Deferred[list[Event]]:
    """Run a child to its end and return its status lines; fails with `StartFailure` when it did not exit with 0."""
    finished: Deferred[list[Event]] = Deferred(lambda _cancelled: child.kill())
    events: list[Event] = []

    def ended(ending: Ending) -> None:
        if timer.active():
            timer.cancel()
        if ending.status == 0:
            finished.callback(events)
        else:
            finished.errback(StartFailure(_problems(module, events, ending), ending.status or EXIT_FAILED))

    child = Child(parcel, events.append, ended)
    timer = reactor.callLater(deadline, child.kill)
    spawn(reactor, module, child)
    return finished


def problem_of(event: Event) -> OperatorError:
    """Read a status line of `parcel.tell_problem` back."""
    return OperatorError(str(event["problem"]), str(event["hint"]))


def _problems(module: str, events: Sequence[Event], ending: Ending) -> list[OperatorError]:
    told = [problem_of(event) for event in events if event["event"] == "problem"]
    return told or [OperatorError(f"{module} ended with {ending}", "read the lines above this one in the log")]
