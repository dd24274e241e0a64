"""Files written once and whole: never half, never over another."""

import os
import re
import secrets
from pathlib import Path

from scepd.records import Secret
from scepd.refusal import OperatorError

PRIVATE = 0o600
_PASSING = re.compile(r"\..+\.[0-9a-f]{12}")
PUBLIC = 0o644


def create(path: Path, content: bytes, mode: int = PUBLIC, owner: tuple[int, int] | None = None) -> None:
    """Write a new file: under a passing name first, then linked to its own, so that it is whole or absent.

    Raises `OperatorError` where the name exists or the directory cannot be written.
    """
    passing = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        _write(passing, content, mode)
        if owner is not None:
            os.chown(passing, *owner, follow_symlinks=False)
        try:
            os.link(passing, path, follow_symlinks=False)
        finally:
            passing.unlink()
        keep_name(path.parent)
    except FileExistsError as error:
        raise OperatorError(f"{path} exists already", f"move it away: mv {path} {path}.old") from error
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}", f"ls -ld {path.parent}") from error


def remove_passing(directory: Path) -> None:
    """Remove what a process that died in the middle of `create` left behind."""
    for path in directory.glob(".*"):
        if _PASSING.fullmatch(path.name):
            path.unlink()


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Make a directory and what is missing above it; an existing one is left as it is."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"the directory {path} cannot be made: {error.strerror}", f"ls -ld {path.parent}"
        ) from error


def read_pin_file(path: Path) -> Secret:
    """Return the PIN in a file that nobody else can read. Raises `OperatorError`."""
    try:
        if path.stat().st_mode & 0o077:
            raise OperatorError(f"{path} can be read by others", f"chmod 600 {path}")
        pin = path.read_text().rstrip("\r\n")
    except OSError as error:
        raise OperatorError(f"the PIN cannot be read from {path}: {error.strerror}", f"ls -l {path}") from error
    if not pin:
        raise OperatorError(f"{path} holds no PIN", "write the PIN there, alone on one line")
    return Secret(pin)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def keep_name(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
