"""The supervisor: ordered start and stop, rolling reload."""

import atexit
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepd.app.child import StartFailure
from scepd.app.control import ControlFactory
from scepd.app.generation import Generation, Surroundings
from scepd.app.harden import harden
from scepd.app.listeners import adopt
from scepd.app.options import Options
from scepd.app.parcel import EXIT_CONFIGURATION, EXIT_FAILED, Inherited
from scepd.app.report import Report
from scepd.app.runtime import claim
from scepd.app.service import CONTROL_SOCKET, DESK_SOCKET
from scepd.app.sockets import Sockets, listen_unix
from scepd.config.settings import Settings
from scepd.observe.notify import Notifier
from scepd.records import Secret
from scepd.refusal import OperatorError


@attrs.frozen
class Sources:
    """Where settings and PIN come from, at the start and again at each reload; both raise `StartFailure`."""

    settings: Callable[[], Settings]
    pin: Callable[[Settings], Secret]


class Supervisor(Service):
    """The service that twistd runs."""

    name = "scepd"
    log = Logger()

    def __init__(
        self, reactor: Any, settings: Settings, sources: Sources, *, notifier: Notifier, options: Options
    ) -> None:
        """Take the compiled settings of the first generation; nothing happens before `startService`."""
        self._reactor = reactor
        self._first = settings
        self._sources = sources
        self._notifier = notifier
        self._options = options
        self._sockets = Sockets()
        self._lock = DeferredLock()
        self._operations: list[Deferred[Any]] = []
        self._serving: Generation | None = None
        self._leaving: list[Generation] = []
        self._control: Any = None
        self._claimed: int | None = None
        self._desk_socket: Any = None
        self._watchdog = LoopingCall(notifier.alive)
        self.report = Report(self._sockets, notifier)

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Start when the reactor runs: children need its signal handling."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[Any]:  # noqa: N802 - Twisted's name
        """Let every process finish what it has, then leave."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._end())

    def _begin(self) -> None:
        harden()
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._reload_on_signal))
        signal.signal(signal.SIGUSR2, lambda *_: self._reactor.callFromThread(self.report.dump, self._serving))
        signal.signal(signal.SIGUSR1, lambda *_: self._reactor.callFromThread(self._reopen_log))
        self._exclusively(self._start).addErrback(self._refuse_start)

    def _exclusively(self, operation: Callable[[], Any]) -> Deferred[Any]:
        running: Deferred[Any] = self._lock.run(lambda: Deferred.fromCoroutine(operation()))
        self._operations.append(running)

        def over(result: Any) -> Any:
            self._operations.remove(running)
            return result

        return running.addBoth(over)

    async def _start(self) -> None:
        try:
            self._open_runtime(self._first.appliance.runtime)
        except OperatorError as problem:
            raise StartFailure([problem], EXIT_FAILED) from problem
        if self._notifier.watchdog_interval is not None:
            # A turning loop is enough: children that hang are replaced, a token that is away comes back.
            self._watchdog.start(self._notifier.watchdog_interval)
        self._serving = await self._raise_generation(self._first, recover=True)
        self.report.serving(self._serving)

    def _open_runtime(self, runtime: Path) -> None:
        self._claimed = claim(runtime)
        control = listen_unix(runtime / CONTROL_SOCKET)
        commands: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "reload": self.reload,
            "stop": self._stop,
        }
        inherited = Inherited("control", control.detach(), socket.AF_UNIX)
        self._control = adopt(self._reactor, inherited, ControlFactory(commands))
        self._desk_socket = listen_unix(runtime / DESK_SOCKET)

    async def _raise_generation(self, settings: Settings, *, recover: bool) -> Generation:
        around = Surroundings(self._reactor, self._sockets, self._desk_socket, self._options)
        number = 1 if self._serving is None else self._serving.number + 1
        fresh = Generation(around, settings, self._sources.pin(settings), number)
        try:
            await fresh.prove()
            fresh.listen()
            await fresh.start(recover=recover)
        except OperatorError as problem:
            raise StartFailure([problem], EXIT_FAILED) from problem
        finally:
            if not fresh.is_ready:
                fresh.drain(0.0)
                self._sockets.keep(frozenset() if self._serving is None else self._serving.places)
        return fresh

    def _refuse_start(self, failure: Failure) -> None:
        if isinstance(failure.value, CancelledError):
            return
        leave_with(self.report.start_failed(failure))
        self._leave()

    def _leave(self) -> None:
        with suppress(ReactorNotRunning):  # on its way out already
            self._reactor.stop()

    async def reload(self) -> dict[str, Any]:
        """Compile, prove, start new workers, let the old ones drain; raises `StartFailure` and changes nothing on any problem."""
        number: int = await self._exclusively(self._reload)
        return {"generation": number}

    async def _reload(self) -> int:
        old = self._serving
        if old is None:
            raise StartFailure([OperatorError("the service has not started", "scepd status")])
        self.report.reloading()
        try:
            settings = self._sources.settings()
            _refuse_unreloadable(old.settings, settings)
            fresh = await self._raise_generation(settings, recover=False)
        except StartFailure as failure:
            self.report.reload_failed(failure)
            self.report.serving(old)
            raise
        self._serving = fresh
        self._leaving.append(old)
        gone = old.drain(self._options.patience.reload, left=fresh.recover)
        gone.addCallback(lambda _: self._leaving.remove(old))
        self._sockets.keep(fresh.places)
        self.report.reloaded()
        self.report.serving(fresh)
        return fresh.number

    def _reload_on_signal(self) -> None:
        Deferred.fromCoroutine(self.reload()).addErrback(_already_told)

    def _reopen_log(self) -> None:
        self._options.lines.reopen()
        for generation in self._generations():
            generation.reopen_log()

    def _generations(self) -> list[Generation]:
        return [*self._leaving, *([self._serving] if self._serving is not None else [])]

    async def _status(self) -> dict[str, Any]:
        return self.report.status(self._serving, self._leaving)

    async def _stop(self) -> dict[str, Any]:
        self._reactor.callLater(0, self._leave)
        return {}

    async def _end(self) -> None:
        self.report.stopping()
        for operation in list(self._operations):
            operation.cancel()
        await DeferredList([generation.drain(self._options.patience.stop) for generation in self._generations()])
        if self._watchdog.running:
            self._watchdog.stop()
        self._sockets.keep(frozenset())
        if self._control is not None:
            await self._control.stopListening()
        self._close_runtime()

    def _close_runtime(self) -> None:
        if self._claimed is None:
            return
        runtime = self._first.appliance.runtime
        if self._desk_socket is not None:
            self._desk_socket.close()
        (runtime / CONTROL_SOCKET).unlink(missing_ok=True)
        (runtime / DESK_SOCKET).unlink(missing_ok=True)
        os.close(self._claimed)
        self._claimed = None


def _already_told(failure: Failure) -> None:
    # The problems are in the log; a signal has nobody else to tell.
    failure.trap(StartFailure, CancelledError)  # type: ignore[no-untyped-call]


def _refuse_unreloadable(old: Settings, new: Settings) -> None:
    problems = []
    if old.workers == 0 or new.workers == 0:
        problems.append(
            OperatorError("workers = 0 (one process) cannot be reloaded", "restart scepd, or set workers = 1")
        )
    if old.appliance.runtime != new.appliance.runtime:
        problems.append(OperatorError("the runtime directory changed", "restart scepd"))
    if problems:
        raise StartFailure(problems, EXIT_CONFIGURATION)


def leave_with(status: int) -> None:
    """Make the process exit with that status once twistd has finished (it exits with 0 by itself; pid file removed then)."""

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    atexit.register(leave)
