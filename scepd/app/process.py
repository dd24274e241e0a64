"""The life of a child process with a reactor: parcel in, READY and heartbeats out, an orderly end."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from scepd.app.harden import harden, raise_descriptor_limit
from scepd.app.logbook import begin_log
from scepd.app.parcel import COMMANDS, EXIT_CONFIGURATION, EXIT_FAILED, STATUS, Parcel, receive, tell, tell_problem
from scepd.app.steady import steady
from scepd.config.settings import Settings, restore
from scepd.refusal import OperatorError

_BEAT = 1.0  # seconds
_GRACE = 10.0  # seconds for requests in flight when nobody said how long


class Member(Protocol):
    """What serves in a child process, or (workers = 0) in the supervisor itself."""

    async def start(self) -> None:
        """Begin to serve; returns when ready, raises `OperatorError` where starting is useless."""

    async def drain(self, grace: float) -> None:
        """Take nothing new and finish what is in flight, within `grace` seconds."""

    def recover(self, slot: int) -> None:
        """Finish what the former worker of that slot left unfinished."""

    def describe(self) -> dict[str, Any]:
        """Return what a heartbeat says (`hsm`: up or away)."""


# (reactor, settings, parcel, what to call when only a new process can help) -> the member
Build = Callable[[Any, Settings, Parcel, Callable[[], None]], Member]


@implementer(IReadDescriptor)
class Commands:
    """The command lines on standard input; its end means that the supervisor is gone."""

    def __init__(self, heard: Callable[[list[str]], None], ended: Callable[[], None]) -> None:
        """Keep whom to tell."""
        self._heard = heard
        self._ended = ended
        self._buffer = b""

    def fileno(self) -> int:
        """Return standard input."""
        return COMMANDS

    def doRead(self) -> Any:  # noqa: N802 - Twisted's name
        """Read what there is."""
        try:
            data = os.read(COMMANDS, 4096)
        except BlockingIOError:
            return None
        if not data:
            return OSError("the supervisor is gone")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._heard(line.decode().split())
        return None

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Tell that nobody is there any more."""
        self._ended()

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """Name it."""
        return "commands"


class Process:
    """One child process around its member."""

    log = Logger()

    def __init__(self, reactor: Any, lines: Any) -> None:
        """Keep the reactor and the log's destination."""
        self._reactor = reactor
        self._lines = lines
        self._grace = _GRACE
        self._beat = LoopingCall(self._tell_beat)
        self.member: Member | None = None
        self.status = 0

    def run(self, member: Member) -> int:
        """Serve until the end; return the exit status."""
        self.member = member
        self._reactor.callWhenRunning(self._begin)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._drain)
        self._reactor.run(installSignalHandlers=True)
        return self.status

    def fail(self) -> None:
        """Leave at once, as somebody whom only a new process can replace."""
        self.status = EXIT_FAILED
        self._grace = 0.0
        self._leave()

    def _begin(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
        os.set_blocking(COMMANDS, False)
        os.set_blocking(STATUS, False)
        self._reactor.addReader(Commands(self._obey, self._leave))
        self._beat.start(_BEAT)
        assert self.member is not None
        Deferred.fromCoroutine(self.member.start()).addCallbacks(self._ready, self._refuse)

    def _ready(self, _started: None) -> None:
        gc.freeze()  # what was imported stays for ever: the collector need not look at it again
        tell("ready", self._describe())

    def _refuse(self, failure: Failure) -> None:
        if isinstance(failure.value, OperatorError):
            tell_problem(failure.value)
            self.status = EXIT_CONFIGURATION
        else:
            self.log.failure("the process cannot start", failure, event="start_failed")
            self.status = EXIT_FAILED
        self._grace = 0.0
        self._leave()

    def _obey(self, words: list[str]) -> None:
        assert self.member is not None
        match words:
            case ["drain", grace]:
                self._grace = float(grace)
                self._leave()
            case ["recover", slot]:
                self.member.recover(int(slot))
            case ["reopen"]:
                self._lines.reopen()

    def _leave(self) -> None:
        with suppress(ReactorNotRunning):  # on its way out already, by SIGTERM or an earlier command
            self._reactor.stop()

    def _drain(self) -> Deferred[None]:
        assert self.member is not None
        return Deferred.fromCoroutine(self.member.drain(self._grace))

    def _tell_beat(self) -> None:
        tell("beat", self._describe())

    def _describe(self) -> dict[str, Any]:
        assert self.member is not None
        return self.member.describe()


def run_process(build: Build) -> NoReturn:
    """Be a child process: the whole life, ending in an exit without Python's own farewell.

    A thread that hangs inside a vendor's library would hold up an ordinary exit for ever.
    """
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one

    harden()
    raise_descriptor_limit()
    parcel = receive()
    settings = restore(parcel.settings)
    steady(reactor)
    process = Process(reactor, begin_log(settings.log, None if parcel.log_file is None else Path(parcel.log_file)))
    status = process.run(build(reactor, settings, parcel, process.fail))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
