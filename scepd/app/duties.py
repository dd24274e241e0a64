"""Run-once duties: what one process of all does on time, under a lease, beside the requests."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from scepd.app.clerk import Clerk
from scepd.app.halt import Halt
from scepd.app.leases import Lease
from scepd.config.settings import Settings
from scepd.ports import Clock
from scepd.refusal import OperatorError, Unavailable
from scepd.store.repository import Repository

_TICK = 1.0  # seconds
_PAUSE = 0.001  # seconds between two slices of a long work
_HOUSEKEEPING = timedelta(minutes=1)


class Duty(Protocol):
    """One duty; `attend` runs once a second in every worker, and finds out itself whether there is anything to do."""

    lease: Lease

    async def attend(self) -> None:
        """Do what is due, if this process has the lease."""


class Ended(Exception):  # noqa: N818 - no error: the process has been told to leave
    """A long work was stopped between two of its slices."""


class Pause:
    """What a long work in a clerk's thread calls between its slices: others run meanwhile, and it ends with the process."""

    def __init__(self) -> None:
        """Let it work."""
        self._over = threading.Event()

    def __call__(self) -> None:
        """Sleep for a moment; raises `Ended` when the process leaves."""
        if self._over.wait(_PAUSE):
            raise Ended

    def end(self) -> None:
        """Let the work end at its next pause."""
        self._over.set()


@attrs.define
class Housekeeping:
    """Expires requests that waited too long, revokes what was renewed a while ago, forgets texts of challenges."""

    settings: Settings
    lease: Lease
    clerk: Clerk
    clock: Clock
    monotonic: Callable[[], float] = time.monotonic
    log = Logger()
    _due: float = attrs.field(default=0.0, init=False)

    async def attend(self) -> None:
        """Do all once a minute."""
        if self.monotonic() < self._due:
            return
        self._due = self.monotonic() + _HOUSEKEEPING.total_seconds()
        expired, revoked, forgotten = await self.clerk.run(self._keep)
        if expired or revoked or forgotten:
            self.log.info(event="housekeeping", expired=expired, revoked=revoked, forgotten=forgotten)

    def _keep(self, repository: Repository) -> tuple[int, int, int]:
        if not self.lease.take(repository):
            return 0, 0, 0
        expired = repository.expire_pending()
        revoked = 0
        for profile in self.settings.profiles:
            if profile.renewal is None or profile.renewal.revoke_previous is None:
                continue
            renewed_before = self.clock.now() - profile.renewal.revoke_previous
            revoked += repository.revoke_superseded(profile.name, renewed_before, self.lease.holder)
        return expired, revoked, repository.forget_texts(self.clock.now())


class Duties:
    """The duties of one worker, one after the other, once a second."""

    log = Logger()

    def __init__(self, reactor: Any, clerk: Clerk, duties: Sequence[Duty], halt: Halt) -> None:
        """Keep them; nothing runs before `start`, or while `halt` is on."""
        self._clerk = clerk
        self._halt = halt
        self._duties = tuple(duties)
        self._beat = LoopingCall(self._attend)
        self._beat.clock = reactor

    def start(self) -> None:
        """Begin."""
        self._beat.start(_TICK)

    async def stop(self) -> None:
        """End, and let others have the leases; where the store is away, they end by themselves."""
        if not self._beat.running:
            return
        self._beat.stop()
        with suppress(Unavailable, OperatorError):
            await self._clerk.run(self._drop)

    def _attend(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._attend_all())

    async def _attend_all(self) -> None:
        for duty in self._duties:
            if self._halt.is_on:
                return
            try:
                await duty.attend()
            except Ended:
                return
            except (Unavailable, OperatorError) as trouble:
                cause = trouble.cause if isinstance(trouble, Unavailable) else trouble.problem
                self.log.warn(event="duty_put_off", duty=duty.lease.name, cause=cause)  # noqa: G010 - the name in twisted.logger
            except Exception:  # noqa: BLE001 - the timer's boundary: a duty that breaks must not end the others
                self.log.failure("a duty failed", event="duty_failed", duty=duty.lease.name)

    def _drop(self, repository: Repository) -> None:
        for duty in self._duties:
            duty.lease.drop(repository)
