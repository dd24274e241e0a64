"""Healing: all lanes park, the token is opened anew with back-off, all lanes build their contexts again."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Any

import attrs

from scepd.hsm.faults import TokenFault
from scepd.hsm.lane import Lane
from scepd.refusal import OperatorError

_FIRST_PAUSE = 0.1  # seconds
_BUILD = "build"
_LEAVE = "leave"


@attrs.frozen
class Care:
    """How lanes are watched: time between probes, the longest that one call may take, and the patience of recovery."""

    probe_interval: timedelta = timedelta(seconds=10)
    hard_limit: timedelta = timedelta(seconds=60)
    longest_pause: timedelta = timedelta(seconds=1.5)
    give_up: timedelta = timedelta(minutes=5)
    tick: timedelta = timedelta(seconds=0.25)


@attrs.define(eq=False)
class Recovery:
    """One recovery, run in a thread of its own; every lane takes `park` as its next work."""

    lanes: Sequence[Lane[Any]]
    recover: Callable[[], None]
    care: Care
    monotonic: Callable[[], float]
    stopping: threading.Event
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
        for pause in self._pauses():
            if self.stopping.wait(pause):
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

    def _pauses(self) -> Iterator[float]:
        longest = self.care.longest_pause.total_seconds()
        return (min(_FIRST_PAUSE * 2**turn, longest) for turn in itertools.count())

    def _try_once(self) -> None:
        self.since = self.monotonic()
        try:
            self.recover()
        finally:
            self.since = None
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
