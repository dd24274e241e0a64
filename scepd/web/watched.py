"""A file that is read again when it changes, while requests are served."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from twisted.logger import Logger, LogLevel

from scepd.refusal import OperatorError

T = TypeVar("T")

_PAUSE = 1.0  # seconds between two looks at the file
_MAXIMUM = 8_388_608  # octets; read on the reactor's thread

State = tuple[int, ...] | str


class Watched(Generic[T]):
    """What a file says: looked at when somebody asks, once a second at most.

    While a changed file cannot be read, what it said before goes on; the trouble is logged once. `value` is None only
    when the file has never been readable.
    """

    _logger = Logger(namespace="scepd.web")

    def __init__(self, path: Path, read: Callable[[bytes], T], *, seconds: Callable[[], float]) -> None:
        """Read the file; `read` raises OperatorError for what it cannot take, `seconds` is a monotonic clock."""
        self._path = path
        self._read = read
        self._seconds = seconds
        self._value: T | None = None
        self._state: State = ""
        self._looked = seconds()
        self._look()

    @property
    def value(self) -> T | None:
        """What the file says, as far as is known."""
        now = self._seconds()
        if now - self._looked >= _PAUSE:
            self._looked = now
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            status = self._path.stat()
            state: State = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        except OSError as fault:
            state = fault.strerror or "?"
        if state == self._state:
            return
        again, self._state = bool(self._state), state
        try:
            self._value = self._read(_octets(self._path))
        except OperatorError as problem:
            self._tell(problem.problem)
        except OSError as fault:
            self._tell(fault.strerror or "cannot be read")
        else:
            if again:
                self._logger.info(event="file_read_again", path=str(self._path))

    def _tell(self, problem: str) -> None:
        kept = self._value is not None
        self._logger.emit(LogLevel.warn, event="file_refused", path=str(self._path), problem=problem, kept=kept)


def _octets(path: Path) -> bytes:
    # O_NONBLOCK: a FIFO in place of the file must not hold the reactor.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(_MAXIMUM + 1)
    if len(data or b"") > _MAXIMUM:
        raise OperatorError(f"it is longer than {_MAXIMUM} octets", "ls -l FILE")
    return data or b""
