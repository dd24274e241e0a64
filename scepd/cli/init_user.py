"""The user who owns what the first run makes, when root starts it."""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from scepd.cli.files import make_directory
from scepd.refusal import OperatorError


def is_root_and_user_exists(name: str) -> bool:
    """Return whether root runs this and there is such a user."""
    return os.geteuid() == 0 and any(entry.pw_name == name for entry in pwd.getpwall())


def become(name: str, directories: Iterable[Path]) -> None:
    """Make the directories, give them to the user, and be that user from here on; raises `OperatorError`."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise OperatorError(f"there is no user {name}", f"useradd --system --home-dir /var/lib/scepd {name}") from error
    if os.geteuid() == entry.pw_uid:
        return
    try:
        for directory in directories:
            make_directory(directory)
            os.chown(directory, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        os.initgroups(name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError as error:
        raise OperatorError(f"only root can make files of user {name}", f"sudo -u {name} scepd init") from error
    os.umask(0o077)
