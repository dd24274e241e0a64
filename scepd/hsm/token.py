"""A token with its one login session, and the sessions that lanes work in."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import attrs
from pkcs11 import Attribute, Mechanism, TokenFlag, exceptions

from scepd.hsm.faults import TokenFault, describe, fault_of, is_device
from scepd.hsm.module import Module
from scepd.hsm.pin import Attempt, PinMemory
from scepd.hsm.quirks import PORTABLE, Quirks, quirks_of
from scepd.message.algorithms import KeyTransport
from scepd.records import Secret
from scepd.refusal import OperatorError

_PIN_REFUSED = (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange)
_PAUSES = (0.1, 0.3, 1.0)  # seconds before another try; several workers that start at once disturb some modules


class TokenMissing(OperatorError):  # noqa: N818 - what is so, like OperatorError's siblings
    """No token of that name in any slot: at start the operator's mistake, in service a device that is away."""


@attrs.frozen
class TokenSettings:
    """Which token: the module's path and its pinned SHA-256 (hex), the token's label, and its serial where labels repeat."""

    module: str
    token_label: str
    serial: str | None = None
    module_sha256: str | None = None


@attrs.define(eq=False)
class Session:
    """One PKCS#11 session of a lane, opened without a PIN; used by one thread."""

    handle: Any  # pkcs11.Session
    token: "Token"
    generation: int

    def call(self, function: str) -> AbstractContextManager[None]:
        """Note a call into the module for as long as it takes (`hsm.calls`)."""
        return self.token.module.calls.of(function)

    def guard(self) -> None:
        """Refuse use after a re-initialisation or in a forked child: handles of before mean other objects now."""
        module = self.token.module
        module.guard()
        if self.generation != module.generation:
            raise TokenFault("session", "the module was re-initialised")

    def find(self, attributes: Mapping[Attribute, Any]) -> list[Any]:
        """Return the objects with those attributes. Raises `TokenFault`."""
        self.guard()
        try:
            with self.call("C_FindObjects"):
                return list(self.handle.get_objects(dict(attributes)))
        except exceptions.PKCS11Error as error:
            raise fault_of(error) from error

    def close(self) -> None:
        """Close the session where it still exists."""
        if self.generation != self.token.module.generation:
            return
        with contextlib.suppress(exceptions.PKCS11Error), self.call("C_CloseSession"):
            self.handle.close()  # a dead session needs no closing


@attrs.define(eq=False)
class Token:
    """The token, logged in once per process: closing the login session would log out every other (C_Logout)."""

    module: Module
    settings: TokenSettings
    memory: PinMemory | None
    sleep: Callable[[float], None]
    _pin: Secret
    _token: Any = None  # pkcs11.Token
    _anchor: Any = None  # pkcs11.Session that holds the login
    mechanisms: frozenset[Mechanism] = frozenset()
    quirks: Quirks = PORTABLE
    # Of decryption keys by name and whether plain RSA was tried, as `hsm.keys` saw them.
    abilities: dict[tuple[str, bool], frozenset[KeyTransport]] = attrs.field(factory=dict)

    @classmethod
    def open(
        cls,
        module: Module,
        settings: TokenSettings,
        pin: Secret,
        *,
        memory: PinMemory | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> "Token":
        """Find the token and log in, with a few tries where it does not answer at once.

        Raises `OperatorError` for what the operator must mend (no such token, PIN refused or locked), `TokenFault`
        where the token keeps failing.
        """
        token = cls(module, settings, memory, sleep, pin, quirks=quirks_of(module.description))
        for pause in _PAUSES:
            try:
                token._log_in()
            except (TokenFault, TokenMissing):
                sleep(pause)
                module.reinitialise()
            else:
                return token
        token._log_in()
        return token

    def session(self, *, writable: bool = False) -> Session:
        """Open a session for a lane; it shares the login. Raises `TokenFault`."""
        self.module.guard()
        try:
            with self.module.calls.of("C_OpenSession"):
                handle = self._token.open(rw=writable)
        except exceptions.PKCS11Error as error:
            raise fault_of(error) from error
        return Session(handle, self, self.module.generation)

    def recover(self) -> None:
        """Re-initialise the module and log in again; every session of before is gone.

        No other thread may be inside the module. Raises `TokenFault` while the token is away, `OperatorError` where
        trying again is useless (PIN refused).
        """
        self.module.reinitialise()
        try:
            self._log_in()
        except TokenMissing as missing:
            raise TokenFault("device", missing.problem) from missing

    @property
    def description(self) -> dict[str, str]:
        """Label, serial, model and manufacturer as the token says them."""
        found = self._token
        return {
            "label": found.label,
            "serial": found.serial.decode(errors="replace"),
            "model": found.model,
            "manufacturer": found.manufacturer_id,
        }

    def _log_in(self) -> None:
        found = find_token(self.module, self.settings)
        _refuse_locked(found, self.settings.token_label)
        try:
            with self.module.calls.of("C_OpenSession"):
                found.open().close()  # what fails here fails without touching the PIN counter
            with self.module.calls.of("C_GetMechanismList"):
                self.mechanisms = frozenset(found.slot.get_mechanisms())
        except exceptions.PKCS11Error as error:
            raise fault_of(error) from error
        if self.memory is None:
            self._anchor = self._open_with_pin(found, None)
        else:
            with self.memory.attempt(self._pin, found.serial.decode(errors="replace")) as attempt:
                self._anchor = self._open_with_pin(found, attempt)
        self._token = found

    def _open_with_pin(self, found: Any, attempt: Attempt | None) -> Any:
        with self.module.calls.of("C_Login"):
            return _open_with_pin(found, self._pin, attempt)


def find_token(module: Module, settings: TokenSettings) -> Any:
    """Return the one token with that label and serial. Raises `TokenMissing`, `OperatorError`, `TokenFault`."""
    seen = list(tokens(module))
    wanted = [
        token
        for token in seen
        if token.label == settings.token_label and settings.serial in (None, token.serial.decode(errors="replace"))
    ]
    names = ", ".join(sorted(f"'{token.label}'" for token in seen)) or "none"
    if not wanted:
        problem = f"token '{settings.token_label}' not found by {settings.module}; seen: {names}"
        raise TokenMissing(problem, f"pkcs11-tool --module {settings.module} --list-token-slots")
    if len(wanted) > 1:
        serials = ", ".join(token.serial.decode(errors="replace") for token in wanted)
        problem = f"{len(wanted)} tokens are called '{settings.token_label}', serials {serials}"
        raise OperatorError(problem, f'serial = "{wanted[0].serial.decode(errors="replace")}"')
    return wanted[0]


def tokens(module: Module) -> Iterator[Any]:
    """Yield the initialised tokens of every slot. Raises `TokenFault`."""
    module.guard()
    try:
        with module.calls.of("C_GetSlotList, C_GetTokenInfo"):
            found = list(module.library.get_tokens())
        for token in found:
            if token.flags & TokenFlag.TOKEN_INITIALIZED:
                yield token
    except exceptions.PKCS11Error as error:
        raise fault_of(error) from error


def _refuse_locked(token: Any, label: str) -> None:
    """Refuse before C_Login what a login could only make worse."""
    hint = "let the security officer set a new user PIN (pkcs11-tool --init-pin --login --login-type so)"
    if token.flags & TokenFlag.USER_PIN_LOCKED:
        raise OperatorError(f"the user PIN of token '{label}' is locked", hint)
    if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
        problem = f"token '{label}' allows one more wrong PIN before it locks; scepd does not spend it"
        raise OperatorError(problem, "log in once by hand with the right PIN: pkcs11-tool --login --list-objects")
    if not token.flags & TokenFlag.USER_PIN_INITIALIZED:
        raise OperatorError(f"token '{label}' has no user PIN yet", hint)


def _open_with_pin(token: Any, pin: Secret, attempt: Attempt | None) -> Any:
    """Return the session that holds the login, and tell `attempt` what the token said of the PIN."""
    try:
        session = token.open(user_pin=pin.reveal())
    except exceptions.UserAlreadyLoggedIn:
        return token.open()
    except _PIN_REFUSED as error:
        if attempt is not None:
            attempt.refused()
        problem = f"token '{token.label}' refused the PIN ({describe(error)})"
        raise OperatorError(problem, "correct the PIN; this one is not tried again") from error
    except (exceptions.PinLocked, exceptions.PinExpired) as error:
        if attempt is not None:
            attempt.refused()
        state = "locked" if isinstance(error, exceptions.PinLocked) else "expired"
        problem = f"the user PIN of token '{token.label}' is {state}"
        raise OperatorError(problem, "let the security officer set a new one; this one is not tried again") from error
    except exceptions.PKCS11Error as error:
        if attempt is not None:
            attempt.unclear(away=is_device(error))
        raise fault_of(error) from error
    if attempt is not None:
        attempt.accepted()
    return session
