"""Reading the files that a configuration names, with their modes checked (threats S-102, S-128)."""

import errno
import os
import stat
from pathlib import Path

from scepd.problems import Refused

_LARGEST = 1 << 20  # octets; nothing that a configuration names is longer
_OTHERS = 0o077
_OTHERS_WRITE = 0o022


def read_private(path: Path, *, modes: bool = True) -> bytes:
    """Return the octets of a secret file: regular, no symbolic link, closed to group and others.

    A file that is closed and that we can read is ours, unless we are root, who may look at the service's.
    `modes=False` is for systemd's credentials: their directory is closed, and the files carry an ACL that looks
    like a group's right to read.
    """
    descriptor = _open(path, os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        _check_kind(path, status)
        if modes and status.st_mode & _OTHERS:
            raise Refused(f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod 600 {path}")
        return _read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)


def read_trusted(path: Path) -> bytes:
    """Return the octets of a configuration file: no symbolic link, and nobody else may write it."""
    return _read_unwritable(path, os.O_NOFOLLOW, owned=True)


def read_public(path: Path, *, longest: int = _LARGEST) -> bytes:
    """Return the octets of a certificate file, which others may read but not write; links are followed."""
    return _read_unwritable(path, 0, owned=False, longest=longest)


def check_file(path: Path) -> None:
    """Refuse what is no file or what others may write, such as a PKCS#11 module (threats S-121); it is not read."""
    descriptor = _open(path, 0)
    try:
        status = os.fstat(descriptor)
        _check_kind(path, status)
        _check_unwritable(path, status)
    finally:
        os.close(descriptor)


def check_directory(path: Path) -> None:
    """Refuse a directory that is none or that others may write; one that does not exist yet can be made at start."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    except OSError as fault:
        raise _refusal(path, fault) from None
    if not stat.S_ISDIR(status.st_mode):
        raise Refused(f"{path} is no directory", f"ls -ld {path}")
    _check_unwritable(path, status)


def _read_unwritable(path: Path, flags: int, *, owned: bool, longest: int = _LARGEST) -> bytes:
    descriptor = _open(path, flags)
    try:
        status = os.fstat(descriptor)
        _check_kind(path, status)
        _check_unwritable(path, status)
        if owned:
            _check_owner(path, status)
        return _read(descriptor, longest)
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    try:
        # O_NONBLOCK: a FIFO in place of the file must not hold us before its kind is known.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    except OSError as fault:
        raise _refusal(path, fault) from None


def _refusal(path: Path, fault: OSError) -> Refused:
    if fault.errno == errno.ENOENT:
        return Refused(f"{path} does not exist", f"ls -l {path.parent}")
    if fault.errno == errno.ELOOP:
        return Refused(f"{path} is a symbolic link", f"name the file itself: {os.path.realpath(path)}")
    if fault.errno == errno.EACCES:
        return Refused(f"{path} cannot be read by this user", f"ls -l {path}; chown scepd {path}")
    return Refused(f"{path} cannot be read: {fault.strerror}", f"ls -ld {path}")


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{path} is no regular file", f"ls -ld {path}")


def _check_unwritable(path: Path, status: os.stat_result) -> None:
    if status.st_mode & _OTHERS_WRITE:
        raise Refused(
            f"{path} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod go-w {path}"
        )


def _check_owner(path: Path, status: os.stat_result) -> None:
    # Whoever owns the directory could put another file in its place at any time.
    if status.st_uid not in {0, os.geteuid(), path.parent.stat().st_uid}:
        raise Refused(f"{path} belongs to user {status.st_uid}, not to root or to this user", f"chown root {path}")


def _read(descriptor: int, longest: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        data = stream.read(longest + 1)
    if len(data) > longest:
        raise Refused(f"is longer than {longest >> 20} MiB", "name another file")
    return data
