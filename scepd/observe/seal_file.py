"""The seals once more, one a line in a file outside the store: what was cut off the store is still known there."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from scepd.observe.seal import Seal, parse_seal
from scepd.refusal import Unavailable

_BLOCK = 65_536
_LONGEST_LINE = 16 << 20  # octets: more is no seal


@attrs.frozen
class SealFile:
    """Appended to by whoever seals, one process at a time; read by `scepd audit verify`."""

    path: Path

    def newest(self) -> Seal | None:
        """Return the last seal, None where there is no file yet. Raises `Unavailable`, also where it is no seal."""
        try:
            with self.path.open("rb") as file:
                line = _last_line(file)
            return parse_seal(line) if line else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise Unavailable(f"{self.path}: its last line {error}; scepd audit verify") from error

    def append(self, seals: Iterable[Seal]) -> None:
        """Append seals, durably; what a crash left of a line is cut off first. Raises `Unavailable`."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "rb+") as file:
                file.truncate(_whole_lines(file))
                file.seek(0, os.SEEK_END)
                for seal in seals:
                    file.write(seal.to_json().encode() + b"\n")
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be written: {error.strerror}") from error

    def lines(self) -> "SealLines":
        """Return the lines from the first on, as they are read. Raises `Unavailable`."""
        return SealLines(self.path)


class SealLines:
    """The seals of a file in the order of its lines, and a text for each line that is none; an iterator."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises `Unavailable`."""
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
        self._begun_with = os.fstat(self._file.fileno()).st_size
        self._start = self._number = 0

    @property
    def late(self) -> bool:
        """Whether the last line was appended after this reading began: a store that was looked at then lacks it."""
        return self._start >= self._begun_with

    def __iter__(self) -> Iterator[Seal | str]:
        """Return itself."""
        return self

    def __next__(self) -> Seal | str:
        """Return the next line's seal, or what is wrong with the line."""
        if self._file.closed:
            raise StopIteration
        self._start = self._file.tell()
        line = self._file.readline(_LONGEST_LINE)
        if not line:
            self._file.close()
            raise StopIteration
        self._number += 1
        try:
            return parse_seal(line)
        except ValueError as error:
            return f"line {self._number} {error}"


def _whole_lines(file: BinaryIO) -> int:
    """Return the length of a file up to its last line feed."""
    end: int = file.seek(0, os.SEEK_END)
    start = end
    while start > 0:
        start = max(start - _BLOCK, 0)
        file.seek(start)
        at: int = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _last_line(file: BinaryIO) -> bytes:
    """Return the last whole line, empty where there is none."""
    end = start = _whole_lines(file)
    tail = b""
    while start > 0:
        start = max(start - _BLOCK, 0)
        file.seek(start)
        tail = file.read(end - start)
        if b"\n" in tail[:-1]:
            break
    return tail[:-1].rpartition(b"\n")[2]
