"""Healing: all lanes park, the token is opened anew with back-off, all lanes build their contexts again."""

import itertools
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Any

import attrs

from scepd.hsm.faults import TokenFault
from scepd.hsm.lane import Lane
from scepd.refusal import OperatorError

_FIRST_PAUSE = 0.1  # seconds
_ENOUGH = 20  # doublings
_BUILD = "build"
_LEAVE = "leave"


@attrs.frozen
class Care:
    """How lanes are watched: time between probes, the longest that one work may take, and the patience of recovery.

    `longest_pause` is between two looks for a token that is away. One that is there and fails again and again is logged
    in to `logins` times at once, and from then on each `login_every`.
    """

    probe_interval: timedelta = timedelta(seconds=10)
    hard_limit: timedelta = timedelta(seconds=60)
    longest_pause: timedelta = timedelta(seconds=1.5)
    give_up: timedelta = timedelta(minutes=1)
    tick: timedelta = timedelta(seconds=0.25)
    logins: int = 5
    login_every: timedelta = timedelta(seconds=5)


@attrs.define
class Thrift:
    """The logins that all recoveries of a process may still make; a new one is granted each `care.login_every`."""

    care: Care
    monotonic: Callable[[], float]
    _spent: float = 0.0
    _at: float = 0.0

    def wait(self) -> float:
        """Return the seconds until another login may be made."""
        now, every = self.monotonic(), self.care.login_every.total_seconds()
        self._spent = max(0.0, self._spent - (now - self._at) / every)
        self._at = now
        return max(0.0, self._spent - self.care.logins + 1) * every

    def spend(self) -> None:
        """Note that one was made."""
        self.wait()
        self._spent += 1


@attrs.define(eq=False)
class Recovery:
    """One recovery, run in a thread of its own; every lane takes `park` as its next work."""

    lanes: Sequence[Lane[Any]]
    recover: Callable[[], None]
    care: Care
    monotonic: Callable[[], float]
    stopping: threading.Event
    thrift: Thrift
    since: float | None = None  # when the present call into the token began
    _parked: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))
    _built: "SimpleQueue[Exception | None]" = attrs.field(factory=SimpleQueue)

    def park(self, lane: Lane[Any]) -> None:
        """Keep a lane's thread out of the module until it is told to build its context or to leave."""
        lane.drop()
        lane.since = None
        self._parked.release()
        while lane.orders.get() != _LEAVE:
            lane.since = self.monotonic()
            self._built.put(lane.build())
            lane.since = None

    def run(self) -> str | None:
        """Heal; return None when every lane serves again, else why this process had better end."""
        limit = self.care.hard_limit.total_seconds()
        for _ in self.lanes:
            if not self._parked.acquire(timeout=limit):
                return "stuck"
        cause = self._heal()
        if cause is None:
            for lane in self.lanes:
                lane.orders.put(_LEAVE)
        return cause

    def release(self) -> None:
        """Let parked lanes go, so that their threads can end."""
        for lane in self.lanes:
            lane.orders.put(_LEAVE)

    def _heal(self) -> str | None:
        begun, cause = self.monotonic(), "stopped"
        for turn in itertools.count():
            if self.stopping.wait(self._pause(turn)):
                return "stopped"
            try:
                self._try_once()
            except TokenFault as fault:
                cause = fault.cause
            except OperatorError as error:  # a refused PIN: trying again can only lock the token
                return error.problem
            else:
                return None
            if self.monotonic() - begun > self.care.give_up.total_seconds():
                break
        return cause

    def _pause(self, turn: int) -> float:
        look = min(_FIRST_PAUSE * 2.0 ** min(turn, _ENOUGH), self.care.longest_pause.total_seconds())
        return max(look, self.thrift.wait())

    def _try_once(self) -> None:
        self.since = self.monotonic()
        try:
            self.recover()
        finally:
            self.since = None
        self.thrift.spend()
        for lane in self.lanes:
            lane.orders.put(_BUILD)
        errors = [error for _ in self.lanes if (error := self._next_built()) is not None]
        for error in errors:
            # Keys that are missing right after the token came back are not the operator's mistake yet.
            raise TokenFault("device", str(error)) from error

    def _next_built(self) -> Exception | None:
        try:
            return self._built.get(timeout=self.care.hard_limit.total_seconds())
        except Empty:
            return TokenFault("device", "a lane does not come back")
