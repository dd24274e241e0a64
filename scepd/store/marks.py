"""High-water marks: how far a store ever came, in a file beside it, so that a restored older one shows (threats S-105)."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from scepd.observe.audit import Head
from scepd.observe.seal_file import SealFile
from scepd.refusal import Unavailable
from scepd.store.position import Position

MARKS_FILE = "high-water.json"
_FORMAT = 1


@attrs.frozen
class Marks:
    """What the file says: `pair` is the word that store and file share; of another store the file says nothing.

    `reserved` are the CRL numbers that were about to be published: greater than those of `position` for a moment, or
    for ever where a process died there.
    """

    pair: str = ""
    position: Position = attrs.field(factory=Position)
    reserved: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen
class MarkFile:
    """The file of one node's marks; any process of the node may raise them, none lowers them but a recovery."""

    path: Path
    seals: Path | None = None  # the file of seals, which are marks too: each signs how far the audit trail had come

    @classmethod
    def within(cls, directory: Path, seals: Path | None = None) -> "MarkFile":
        """Return the file of a directory of marks."""
        return cls(directory / MARKS_FILE, seals)

    def sealed(self) -> Mapping[str, Head]:
        """Return the ends of the audit chains by the newest seal outside the store.

        Nothing where there is none, or one that cannot be read: sealing stops at that and says so.
        """
        if self.seals is None:
            return {}
        try:
            newest = SealFile(self.seals).newest()
        except Unavailable:
            return {}
        return {} if newest is None else newest.heads

    def read(self) -> Marks | None:
        """Return the marks, None where there is no file. Raises `Unavailable`."""
        try:
            return from_json(json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"{self.path} cannot be read: {error}") from error

    def raise_to(self, position: Position) -> None:
        """Remember, durably, that a store came that far. Raises `Unavailable`."""
        with self._locked():
            marks = self.read() or Marks()
            raised = attrs.evolve(marks, position=marks.position.above(position))
            if raised != marks:
                self._write(raised)

    def reserve_crl(self, name: str, number: int) -> None:
        """Remember, durably, the number of a CRL that is about to be published. Raises `Unavailable`."""
        with self._locked():
            marks = self.read() or Marks()
            if marks.reserved.get(name, 0) < number:
                self._write(attrs.evolve(marks, reserved={**marks.reserved, name: number}))

    def last_crl(self, name: str) -> int:
        """Return the greatest number that a CRL of that name has or may have. Raises `Unavailable`."""
        marks = self.read() or Marks()
        return max(marks.reserved.get(name, 0), marks.position.crls.get(name, 0))

    def replace(self, marks: Marks) -> None:
        """Begin anew with those marks: at the first start, and after a recovery. Raises `Unavailable`."""
        with self._locked():
            self._write(marks)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            self._belong(lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, marks: Marks) -> None:
        new = self.path.with_suffix(".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                self._belong(descriptor)
                json.dump(to_json(marks), file, indent=1)
                file.flush()
                os.fsync(descriptor)
            new.replace(self.path)
            _keep_name(self.path.parent)
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be written: {error.strerror}") from error

    def _belong(self, descriptor: int) -> None:
        """Leave to the service's user what root writes, by a command beside the service."""
        if os.geteuid() == 0:
            owner = self.path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def to_json(marks: Marks) -> dict[str, Any]:
    """Return marks as JSON-able fields."""
    position = marks.position
    return {
        "format": _FORMAT,
        "pair": marks.pair,
        "certificates": position.certificates,
        "transactions": position.transactions,
        "challenges": position.challenges,
        "generation": position.generation,
        "crls": dict(position.crls),
        "crls_reserved": dict(marks.reserved),
        "audit": {owner: [head.sequence, head.hash.hex()] for owner, head in sorted(position.audit.items())},
    }


def from_json(fields: Mapping[str, Any]) -> Marks:
    """Read the fields of `to_json` back; raises ValueError, KeyError or TypeError where they are none."""
    if fields["format"] != _FORMAT:
        raise ValueError(f"format {fields['format']!r} is not known")
    return Marks(
        pair=str(fields["pair"]),
        position=Position(
            crls=_numbers(fields["crls"]),
            audit={str(owner): Head(int(at), bytes.fromhex(digest)) for owner, (at, digest) in fields["audit"].items()},
            certificates=int(fields["certificates"]),
            transactions=int(fields["transactions"]),
            challenges=int(fields["challenges"]),
            generation=int(fields["generation"]),
        ),
        reserved=_numbers(fields["crls_reserved"]),
    )


def _numbers(fields: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(number) for name, number in fields.items()}


def _keep_name(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
