"""The memory of failed logins: one bad PIN is tried once, whatever number of processes and restarts."""

import fcntl
import hmac
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from scepd.hsm.faults import TokenFault
from scepd.records import Secret
from scepd.refusal import OperatorError

_UNCLEAR_LIMIT = 3  # logins that ended in an error which says nothing of the PIN
_UNCLEAR_SPAN = timedelta(minutes=10)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen
class PinMemory:
    """A state file with the keyed digest of the PIN that failed and the time of it, never the PIN.

    `key` is a secret of at least 16 octets from elsewhere (the store key): with it beside the digest, four digits
    would be guessed at once.
    """

    path: Path
    key: bytes = attrs.field(repr=False)
    now: Callable[[], datetime] = _utc_now

    @contextmanager
    def attempt(self, pin: Secret, token: str) -> Iterator["Attempt"]:
        """Hold the file's lock around one login, so that processes which start together make one attempt.

        `token` tells tokens apart (their serial). Raises `OperatorError` where this PIN may not be tried.
        """
        descriptor = os.open(
            self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            attempt = Attempt(self, self.digest(pin, token), token)
            attempt.check()
            yield attempt
        finally:
            os.close(descriptor)

    def digest(self, pin: Secret, token: str) -> str:
        """Return the keyed digest under which a PIN is remembered, hex."""
        return hmac.digest(self.key, b"pin\0" + token.encode() + b"\0" + pin.reveal().encode(), "sha256").hex()

    def read(self) -> dict[str, Any]:
        """Return what is remembered; nothing where there is no file, a refusal where it cannot be read."""
        try:
            remembered = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise OperatorError(
                f"the memory of failed logins {self.path} cannot be read: {error}", f"rm {self.path}"
            ) from error
        return remembered if isinstance(remembered, dict) else {}

    def write(self, remembered: dict[str, Any]) -> None:
        """Replace the file, durable before the name changes."""
        fresh = self.path.with_name(self.path.name + ".new")
        descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(remembered, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@attrs.frozen
class Attempt:
    """One login under the lock."""

    memory: PinMemory
    digest: str
    token: str

    def check(self) -> None:
        """Refuse a PIN that this token has refused; put off a login whose last ones ended in unclear errors.

        Raises `OperatorError` for the first, `TokenFault` for the second.
        """
        found = self.memory.read().get(self.token, {})
        if not hmac.compare_digest(str(found.get("digest", "")), self.digest):
            return
        if found.get("refused"):
            raise OperatorError(
                f"the token refused this PIN at {found.get('at')}; it is not tried again",
                f"correct the PIN; if the token's PIN was set to this one meanwhile: rm {self.memory.path}",
            )
        if found.get("unclear", 0) >= _UNCLEAR_LIMIT and self._age(found) < _UNCLEAR_SPAN:
            raise TokenFault("device", f"the last {_UNCLEAR_LIMIT} logins failed without a verdict; the next one waits")

    def refused(self) -> None:
        """Remember that the token refused the PIN."""
        self._remember({"digest": self.digest, "at": self._at(), "refused": True})

    def unclear(self) -> None:
        """Remember an error that may or may not have counted as a failed login."""
        found = self.memory.read().get(self.token, {})
        same = found.get("digest") == self.digest and self._age(found) < _UNCLEAR_SPAN
        count = int(found.get("unclear", 0)) if same else 0
        self._remember({"digest": self.digest, "at": self._at(), "unclear": count + 1})

    def accepted(self) -> None:
        """Forget this token's failures: its counter is back at zero too."""
        remembered = self.memory.read()
        if remembered.pop(self.token, None) is not None:
            self.memory.write(remembered)

    def _remember(self, entry: dict[str, Any]) -> None:
        self.memory.write({**self.memory.read(), self.token: entry})

    def _at(self) -> str:
        return self.memory.now().isoformat(timespec="seconds")

    def _age(self, found: dict[str, Any]) -> timedelta:
        try:
            return self.memory.now() - datetime.fromisoformat(str(found.get("at")))
        except (TypeError, ValueError):
            return timedelta.max
