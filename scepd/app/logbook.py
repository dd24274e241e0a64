"""Where the log lines of supervisor and children go: standard error, or one file that all of them append to."""

import os
from pathlib import Path
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    PredicateResult,
    globalLogBeginner,
)
from zope.interface import provider

from scepd.config.settings import LogSettings
from scepd.observe.log import LineObserver, LogFile

_STANDARD_ERROR = 2


class StandardError:
    """Lines to descriptor 2, one system call each, so that those of several processes do not mix."""

    lost = 0

    def write(self, line: str) -> None:
        """Write a line; one that cannot be written is counted, as in `LogFile`."""
        try:
            os.write(_STANDARD_ERROR, line.encode("utf-8", "backslashreplace"))
        except OSError:
            self.lost += 1

    def reopen(self) -> None:
        """Stay: nobody rotates a stream."""


Lines = StandardError | LogFile


def open_lines(path: Path | None) -> Lines:
    """Return where lines go; raises OSError where the file cannot be opened."""
    return StandardError() if path is None else LogFile(path)


def make_observer(settings: LogSettings, lines: Lines) -> ILogObserver:
    """Return the observer that writes in the configured format, from the configured level on."""
    lowest = LogLevel.levelWithName(settings.level)
    observer = LineObserver(lines.write, style=settings.format, minimum=lowest)
    if lowest is LogLevel.debug:
        return ILogObserver(observer)
    return ILogObserver(FilteringLogObserver(ILogObserver(observer), [without_chatter]))


@provider(ILogFilterPredicate)  # type: ignore[untyped-decorator]
def without_chatter(event: LogEvent) -> Any:
    """Drop what Twisted says at level info of its own ports and factories; our events say it in our words."""
    if event.get("log_level") is LogLevel.info and not isinstance(event.get("event"), str):
        return PredicateResult.no
    return PredicateResult.maybe


def begin_log(settings: LogSettings, path: Path | None) -> Lines:
    """Begin the log of a child process; what anybody prints is left alone."""
    lines = open_lines(path)
    globalLogBeginner.beginLoggingTo([make_observer(settings, lines)], redirectStandardIO=False)
    return lines
