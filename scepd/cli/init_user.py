"""The user who owns what the first run makes, when root makes it."""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from scepd.refusal import OperatorError

Owner = tuple[int, int]  # user and group


def find_owner(name: str | None, *, fallback: str | None) -> Owner | None:
    """Return the ids of the named user, or of `fallback` where root runs this and that user exists; None: as we are.

    Raises `OperatorError` for a user who does not exist, or where only root could give files away.
    """
    if name is None:
        entries = [entry for entry in pwd.getpwall() if entry.pw_name == fallback]
        return (entries[0].pw_uid, entries[0].pw_gid) if entries and os.geteuid() == 0 else None
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise OperatorError(f"there is no user {name}", f"useradd --system --home-dir /var/lib/scepd {name}") from error
    if os.geteuid() not in (0, entry.pw_uid):
        raise OperatorError(f"only root can make files of user {name}", f"sudo -u {name} scepd init")
    return entry.pw_uid, entry.pw_gid


def give(directories: Iterable[Path], owner: Owner) -> None:
    """Give the directories and all in them to the owner; they were made by this process and hold no foreign links."""
    for directory in directories:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)
