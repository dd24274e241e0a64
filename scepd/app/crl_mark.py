"""The greatest CRL number that this node published, kept outside the store: a restored backup must not count backwards."""

import os
from pathlib import Path

import attrs

from scepd.refusal import Unavailable


@attrs.frozen
class CrlMark:
    """A file with the number of one issuer; written by the holder of that issuer's lease alone."""

    path: Path

    def read(self) -> int:
        """Return the number, 0 where none is known. Raises `Unavailable`."""
        try:
            return int(self.path.read_text())
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise Unavailable(f"{self.path} cannot be read: {error}") from error

    def write(self, number: int) -> None:
        """Remember a number that is about to be published, durably. Raises `Unavailable`."""
        new = self.path.with_suffix(".new")
        try:
            with open(new, "w", opener=_owner_only) as file:
                file.write(f"{number}\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be written: {error.strerror}") from error


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
