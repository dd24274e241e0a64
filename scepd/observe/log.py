"""Where `twisted.logger` events become lines: a file that several processes append to, or a stream."""

import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from scepd.observe.format import FORMATS

_LEVELS = {level: number for number, level in enumerate(LogLevel.iterconstants())}
_FRAMES = 12  # innermost frames of a stack that a line holds


@implementer(ILogObserver)
class LineObserver:
    """Writes one line per event: time, level, then the event's own fields in the order they were given.

    An event with `event=` is one of ours; any other becomes `event=log` with its text in `message`. The level names are
    those of `twisted.logger`; the formats those of `observe.format`.
    """

    def __init__(
        self, write: Callable[[str], object], *, style: str = "logfmt", minimum: LogLevel = LogLevel.info
    ) -> None:
        """Send lines, each with its newline, to `write`."""
        self._write = write
        self._format = FORMATS[style]
        self._minimum = _LEVELS[minimum]

    def __call__(self, event: LogEvent) -> None:
        """Write the event, unless it is below the level asked for."""
        level = event.get("log_level", LogLevel.info)
        if _LEVELS[level] >= self._minimum:
            self._write(self._format(_fields(event, level)) + "\n")


class LogFile:
    """A file that is appended to, one system call a line, so that lines of several processes never mix.

    A disk that is full costs lines, never requests: they are counted in `lost`.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file (mode 0640)."""
        self._path = path
        self._descriptor = -1
        self.lost = 0
        self.reopen()

    def reopen(self) -> None:
        """Open the path anew, after it was rotated; raises OSError and then keeps the old file."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o640)
        self.close()
        self._descriptor = descriptor

    def write(self, line: str) -> None:
        """Append a line."""
        try:
            os.write(self._descriptor, line.encode("utf-8", "backslashreplace"))
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _fields(event: LogEvent, level: Any) -> list[tuple[str, Any]]:
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    name = event.get("event")
    fields = [("time", moment.isoformat(timespec="milliseconds")[:-6] + "Z"), ("level", level.name)]
    if isinstance(name, str):
        fields.append(("event", name))
        fields += [
            (key, value) for key, value in event.items() if value is not None and key[:4] != "log_" and key != "event"
        ]
    else:
        fields += [("event", "log"), ("system", event.get("log_namespace", "-")), ("message", formatEvent(event))]
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        fields.append(("error", f"{failure.type.__name__ if failure.type else '-'}: {failure.getErrorMessage()}"))
        fields.append(("stack", _stack(failure)))
    return fields


def _stack(failure: Failure) -> str:
    """Return the innermost frames, the innermost first: file:line:function, no source text and no values."""
    frames = traceback.extract_tb(failure.getTracebackObject(), limit=-_FRAMES)  # type: ignore[no-untyped-call]
    return " ".join(f"{Path(frame.filename).name}:{frame.lineno}:{frame.name}" for frame in reversed(frames))
