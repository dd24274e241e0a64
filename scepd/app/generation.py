"""One configuration at work: its listening sockets, its workers, its desk."""

import os
import socket
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults

from scepd.app.child import Child, Ended, Heard, run_once, spawn
from scepd.app.fleet import Fleet
from scepd.app.options import Options
from scepd.app.parcel import FIRST_SOCKET, Inherited, Parcel
from scepd.app.process import Member
from scepd.app.responder_ends import latest
from scepd.app.sockets import Place, Sockets
from scepd.app.solo import Solo
from scepd.config.settings import Settings, dump
from scepd.records import Secret

DESK = "desk"


@attrs.frozen
class Surroundings:
    """What every generation shares."""

    reactor: Any
    sockets: Sockets
    desk_socket: socket.socket
    options: Options


class Generation:
    """The processes of one compiled configuration; a reload makes a new one beside the old one."""

    def __init__(self, surroundings: Surroundings, settings: Settings, pin: Secret, number: int) -> None:
        """Take the configuration; nothing is started yet."""
        self.settings = settings
        self.number = number
        self._around = surroundings
        self._modules = surroundings.options.modules
        log_file, checkpoints = surroundings.options.log_file, surroundings.options.checkpoints
        # The desk and the migration need no token, so they get no PIN.
        self._plain = Parcel(
            dump(settings),
            slots=settings.workers,
            log_file=None if log_file is None else str(log_file),
            checkpoints=None if checkpoints is None else str(checkpoints),
        )
        self._trusted = attrs.evolve(self._plain, pin=pin)
        self.places: frozenset[Place] = frozenset()
        patience = surroundings.options.patience
        self.workers: Fleet | Solo
        self.desk: Fleet | Solo
        if settings.workers:
            self.workers = Fleet(
                surroundings.reactor, "worker", settings.workers, self._launch_worker, patience=patience
            )
            self.desk = Fleet(surroundings.reactor, DESK, 1, self._launch_desk, patience=patience)
        else:
            self.workers = Solo(surroundings.reactor, "worker", self._build_worker)
            self.desk = Solo(surroundings.reactor, DESK, self._build_desk)

    async def prove(self) -> None:
        """Bring the store's schema up to date, then try module, token, PIN and every key, each in a child."""
        patience, reactor = self._around.options.patience, self._around.reactor
        first = attrs.evolve(self._plain, recover=self.number == 1)
        await run_once(reactor, self._modules.migration, first, deadline=patience.migration)
        await run_once(reactor, self._modules.selftest, self._trusted, deadline=patience.selftest)

    def listen(self) -> None:
        """Bind what is not bound yet; raises `OperatorError`."""
        self.places = self._around.sockets.provide(self.settings.listeners, max(1, self.settings.workers))

    async def start(self, *, recover: bool) -> None:
        """Start workers and desk; returns when all are READY, raises `StartFailure`."""
        try:
            await gatherResults([self.workers.start(recover=recover), self.desk.start()], consumeErrors=True)
        except FirstError as first:
            first.subFailure.raiseException()

    def drain(self, grace: float, left: Callable[[int], None] | None = None) -> Deferred[Any]:
        """Let workers and desk finish within `grace` seconds and leave; `left` hears of each worker slot."""
        return DeferredList([self.workers.drain(grace, left), self.desk.drain(grace)])

    def recover(self, slot: int) -> None:
        """Let a worker finish what the former worker of that slot left unfinished."""
        self.workers.command(slot if slot < len(self.workers.slots) else 0, f"recover {slot}")

    def reopen_log(self) -> None:
        """Let every child open the log file anew."""
        for fleet in (self.workers, self.desk):
            for slot in fleet.slots:
                fleet.command(slot.index, "reopen")

    @property
    def is_ready(self) -> bool:
        """Whether every process of it serves."""
        return self.workers.is_ready and self.desk.is_ready

    @property
    def hsm(self) -> str:
        """What the workers say of the token: up when all do, away when one does, else unknown."""
        states = {slot.hsm for slot in self.workers.slots}
        return "away" if "away" in states else "up" if states == {"up"} else "unknown"

    @property
    def read_only(self) -> tuple[str, str]:
        """Why nothing is signed or changed, as the workers say, and what to try; empty where that is not so."""
        return next(((slot.read_only, slot.read_only_hint) for slot in self.workers.slots if slot.read_only), ("", ""))

    @property
    def responders(self) -> dict[str, datetime]:
        """When the newest certificate of each issuer's OCSP key ends, as the workers say."""
        return latest(slot.responders for slot in self.workers.slots)

    def _launch_worker(self, slot: int, recover: bool, heard: Heard, ended: Ended) -> Child:
        bound = self._around.sockets.of_slot(self.places, slot)
        inherited = tuple(
            Inherited(place.listener, FIRST_SOCKET + index, sock.family) for index, (place, sock) in enumerate(bound)
        )
        child = Child(attrs.evolve(self._trusted, slot=slot, sockets=inherited, recover=recover), heard, ended)
        descriptors = [sock.fileno() for _place, sock in bound]
        spawn(self._around.reactor, self._modules.worker, child, descriptors)
        return child

    def _launch_desk(self, slot: int, recover: bool, heard: Heard, ended: Ended) -> Child:
        inherited = Inherited(DESK, FIRST_SOCKET, socket.AF_UNIX)
        child = Child(attrs.evolve(self._plain, slot=slot, sockets=(inherited,), recover=recover), heard, ended)
        spawn(self._around.reactor, self._modules.desk, child, [self._around.desk_socket.fileno()])
        return child

    # workers = 0: the code that serves requests is imported only here, where this process serves them itself.

    def _build_worker(self, fail: Callable[[], None]) -> Member:
        from scepd.app.worker import Worker  # noqa: PLC0415 - see above

        bound = self._around.sockets.of_slot(self.places, 0)
        inherited = tuple(Inherited(place.listener, os.dup(sock.fileno()), sock.family) for place, sock in bound)
        parcel = attrs.evolve(self._trusted, slots=1, sockets=inherited)
        return Worker(self._around.reactor, self.settings, parcel, fail)

    def _build_desk(self, _fail: Callable[[], None]) -> Member:
        from scepd.app.desk import Desk  # noqa: PLC0415 - see above

        inherited = Inherited(DESK, os.dup(self._around.desk_socket.fileno()), socket.AF_UNIX)
        return Desk(self._around.reactor, self.settings, inherited)
