"""The memory of failed logins: one bad PIN is tried once, and an unclear one ever more seldom, whatever restarts."""

import fcntl
import hmac
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from scepd.hsm.faults import TokenFault
from scepd.records import Secret
from scepd.refusal import OperatorError

_UNCLEAR_LIMIT = 3  # logins in a row that end in an error which says nothing of the PIN, before the next one waits
_WAITS = (timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
_DEVICE_WAIT = timedelta(seconds=10)  # at most, where the device was away and so looked at no PIN
_LOCK_PATIENCE = 30.0  # seconds for the login of another process
_LOCK_PAUSE = 0.05  # seconds


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

        `token` tells tokens apart (their serial). Raises `OperatorError` where this PIN may not be tried, `TokenFault`
        where it may not be tried yet.
        """
        descriptor = os.open(
            self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
        )
        try:
            _lock(descriptor)
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


def _lock(descriptor: int) -> None:
    """Take the lock; raise `TokenFault` where another process does not come back from its login."""
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TokenFault("device", "another process has not come back from its login") from None
            time.sleep(_LOCK_PAUSE)
        else:
            return


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
        count = int(found.get("unclear", 0))
        wait = timedelta(seconds=float(found.get("wait", 0))) - self._age(found)
        if count >= _UNCLEAR_LIMIT and wait > timedelta():
            seconds = math.ceil(wait.total_seconds())
            raise TokenFault("device", f"the last {count} logins failed without a verdict; the next one in {seconds} s")

    def refused(self) -> None:
        """Remember that the token refused the PIN, or that it takes none: locked, expired."""
        self._remember({"digest": self.digest, "at": self._at(), "refused": True})

    def unclear(self, *, away: bool = False) -> None:
        """Remember an error that may have counted as a failed login; `away`: of a device that cannot have counted it.

        The first few may be followed by another try at once. From then on each waits longer than the one before.
        """
        found = self.memory.read().get(self.token, {})
        count = 1 + (int(found.get("unclear", 0)) if found.get("digest") == self.digest else 0)
        longest = _DEVICE_WAIT if away else _WAITS[-1]
        wait = min(_WAITS[min(max(count - _UNCLEAR_LIMIT, 0), len(_WAITS) - 1)], longest)
        entry = {"digest": self.digest, "at": self._at(), "unclear": count, "wait": wait.total_seconds()}
        self._remember(entry)

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
