"""The runtime directory: one service per directory."""

import fcntl
import os
from pathlib import Path

from scepd.refusal import OperatorError

_LOCK = "scepd.lock"


def claim(runtime: Path) -> int:
    """Make the runtime directory and lock it for this service; return the descriptor that holds the lock.

    Raises `OperatorError` when another service holds it or the directory cannot be used.
    """
    try:
        runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(runtime / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        hint = f"install -d -m 700 -o $(id -un) {runtime}"
        raise OperatorError(f"cannot use the runtime directory {runtime}: {fault.strerror}", hint) from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as fault:
        os.close(descriptor)
        raise OperatorError(
            f"another scepd runs at {runtime}", "scepd status; scepd reload takes a changed configuration"
        ) from fault
    return descriptor
