"""A worker's way to the token: opens it in a thread, keeps trying while it is away, then hands over to the lanes."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepd.app.belongings import Belongings, Outfitter
from scepd.config.hsm_settings import HsmSettings
from scepd.config.settings import Settings
from scepd.hsm.calls import Calls
from scepd.hsm.faults import TokenFault
from scepd.hsm.lanes import Lanes
from scepd.hsm.module import load_module
from scepd.hsm.pin import PinMemory
from scepd.hsm.token import Token, TokenSettings
from scepd.records import Secret, Standing
from scepd.refusal import OperatorError, Unavailable

T = TypeVar("T")

_FIRST_PAUSE = 0.5  # seconds
_LONGEST_PAUSE = 2.0  # seconds
_LOOK = 0.25  # seconds between two looks for a call that does not return
_PIN_MEMORY = "failed-logins.json"


def pin_memory(state: Path, store_key: bytes) -> PinMemory:
    """Return the memory of failed logins, shared by all processes of the service and its CLI."""
    return PinMemory(state / _PIN_MEMORY, store_key)


def token_settings(hsm: HsmSettings) -> TokenSettings:
    """Return which token the configuration means."""
    return TokenSettings(str(hsm.module), hsm.token, hsm.serial, hsm.module_sha256)


class Gateway:
    """Runs functions in the lanes; while the token is away everything is `Unavailable`, and nothing else stops.

    A PIN that the token refused is not tried again: `hsm.pin` remembers it, so trying to open goes on without harm
    until the operator mends it.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        outfitter: Outfitter,
        *,
        open_token: "TokenOpener",
        fail: Callable[[], None],
        on_return: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep the parts; `fail` is called when only a new process can help, `on_return` when the token is back."""
        self._reactor = reactor
        self._settings = settings
        self._outfitter = outfitter
        self._open_token = open_token
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor
        self._fail = fail
        self._on_return = on_return
        self._token: Token | None = None
        self._lanes: Lanes[Belongings] | None = None
        self._pause = _FIRST_PAUSE
        self._retry: Any = None
        self._stopped = False
        self._stuck = False

    @property
    def state(self) -> str:
        """Whether the token answers: "up" or "away"."""
        return "up" if self._lanes is not None and self._lanes.state == "up" else "away"

    def run(self, function: Callable[[Belongings], T], standing: Standing = Standing.good) -> Deferred[T]:
        """Run the function in a free lane, the best standing first; fails with `Unavailable` when there is none in time."""
        if self._lanes is None:
            return fail(Unavailable("the token is away"))
        return self._lanes.run(function, standing)

    async def open(self) -> None:
        """Try to open token and lanes; on failure return all the same and try again later."""
        if not self._watch.running:
            self._watch.start(_LOOK, now=False)
        try:
            if self._token is None:
                self._token = await in_thread(self._reactor, self._open_token)
            await self._start_lanes(self._token)
        except (TokenFault, OperatorError, Unavailable) as trouble:
            self._try_later(trouble)

    async def close(self) -> None:
        """Finish what waits and end the lanes; those of a stuck module are left where they are."""
        self._stopped = True
        if self._watch.running:
            self._watch.stop()
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._lanes is not None and not self._stuck:
            await self._lanes.stop()

    async def _start_lanes(self, token: Token) -> None:
        hsm = self._settings.hsm
        self._outfitter.begin()
        lanes = Lanes(
            lambda: self._outfitter.outfit(token),
            size=hsm.lanes,
            depth=hsm.queue,
            deadline=hsm.deadline,
            reactor=self._reactor,
            probe=Belongings.probe,
            recover=token.recover,
            drop_context=Belongings.close,
            on_state=self._note_state,
            on_dead=self._die,
        )
        await lanes.start()
        self._lanes = lanes
        self._pause = _FIRST_PAUSE

    def _note_state(self, state: str) -> None:
        self.log.info(event="token", state=state)
        if state == "up" and self._lanes is not None:  # not for the first time
            self._on_return()

    def _try_later(self, trouble: TokenFault | OperatorError | Unavailable) -> None:
        if self._stopped:
            return
        self.log.error(event="token_away", cause=_words(trouble), retry_in=self._pause)
        self._retry = self._reactor.callLater(self._pause, self._try_again)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _try_again(self) -> None:
        Deferred.fromCoroutine(self._recover_and_open()).addErrback(self._break)

    async def _recover_and_open(self) -> None:
        if self._token is not None:
            # The lanes did not come up: whatever the module holds of the old token is worthless.
            try:
                await in_thread(self._reactor, self._token.recover)
            except (TokenFault, OperatorError) as trouble:
                self._try_later(trouble)
                return
        await self.open()

    def _look(self) -> None:
        limit = self._settings.hsm.call_limit.total_seconds()
        function = self._open_token.calls.stuck(limit)
        if function is None or self._stuck:
            return
        # The thread cannot be ended, and nobody knows what the module still holds: only a new process is clean.
        self._stuck = True
        cause = f"{function} has not returned for {limit:g} s"
        if self._lanes is None or self._lanes.state == "dead":
            self._die(cause)
        else:
            self._lanes.give_up(cause)

    def _break(self, failure: Failure) -> None:
        self.log.failure("the token cannot be opened", failure, event="token_fault")
        self._fail()

    def _die(self, cause: str) -> None:
        self.log.critical(event="token_lost", cause=cause)
        self._fail()


@attrs.frozen
class TokenOpener:
    """Loads the module and logs in, in a thread other than the reactor's; `calls` are those that the module makes."""

    settings: Settings
    pin: Secret | None
    store_key: bytes = attrs.field(repr=False)
    calls: Calls = attrs.field(factory=Calls)

    def __call__(self) -> Token:
        """Open the token. Raises `OperatorError`, `TokenFault`."""
        if self.pin is None:
            raise OperatorError("the worker was given no PIN", "restart scepd")
        hsm = self.settings.hsm
        module = load_module(str(hsm.module), self.calls, sha256=hsm.module_sha256)
        memory = pin_memory(self.settings.appliance.state, self.store_key)
        return Token.open(module, token_settings(hsm), self.pin, memory=memory)


def in_thread(reactor: Any, function: Callable[[], T]) -> Deferred[T]:
    """Run a function in a thread that no shutdown waits for: it may hang inside a vendor's library."""
    result: Deferred[T] = Deferred()

    def work() -> None:
        try:
            outcome = function()
        except Exception:  # noqa: BLE001 - the thread's boundary: whatever it is, the caller gets it
            reactor.callFromThread(result.errback, Failure())  # type: ignore[no-untyped-call]
        else:
            reactor.callFromThread(result.callback, outcome)

    threading.Thread(target=work, name="token", daemon=True).start()
    return result


def _words(trouble: TokenFault | OperatorError | Unavailable) -> str:
    return trouble.problem if isinstance(trouble, OperatorError) else trouble.cause
