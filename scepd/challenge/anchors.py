"""The file of those whose signed challenges are believed: read again when it changes, the old one kept where it cannot be used."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from scepd.refusal import OperatorError
from scepd.x509.anchors import Anchor, read_anchors, unusable

_LARGEST_FILE = 262_144  # octets


class AnchorFile:
    """The anchors of a file, for many threads: each look costs one stat, and what was read is swapped whole."""

    def __init__(self, path: Path, now: datetime, tell: Callable[[OperatorError], object]) -> None:
        """Read the file; raises OperatorError. `tell` hears once of each later version that cannot be used."""
        self._path = path
        self._tell = tell
        self._seen, self._anchors = self._read(now)

    def anchors(self, now: datetime) -> tuple[Anchor, ...]:
        """Return those that are valid now."""
        self._renew(now)
        return tuple(anchor for anchor in self._anchors if anchor.is_valid(now))

    def _renew(self, now: datetime) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        # Before reading: other threads need not read, and a change while it is read shows at the next look.
        self._seen = seen
        try:
            self._seen, self._anchors = self._read(now)
        except OperatorError as problem:
            self._tell(problem)

    def _look(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def _read(self, now: datetime) -> tuple[tuple[int, int, int], tuple[Anchor, ...]]:
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                octets = file.read(_LARGEST_FILE + 1)
        except OSError as error:
            raise OperatorError(
                f"the trust bundle of signed challenges {self._path} cannot be read: {error.strerror}",
                f"ls -l {self._path}",
            ) from error
        if len(octets) > _LARGEST_FILE:
            raise unusable(f"is larger than {_LARGEST_FILE} octets")
        return (found.st_ino, found.st_mtime_ns, found.st_size), read_anchors(octets, now)
