"""Ports for the servers of tests: below those that the system gives to clients, and of one test process alone."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path

FIRST, _BLOCK, _BLOCKS = 20_000, 100, 120  # Linux gives clients 32768 and up (ip_local_port_range)
END = FIRST + _BLOCK * _BLOCKS


def _ports():
    """Yield the free ports of one locked block after the other; the locks end with this process, however it ends."""
    directory = Path(tempfile.gettempdir()) / f"scepd-test-ports-{os.getuid()}"
    directory.mkdir(exist_ok=True)
    held = []
    for first in range(FIRST, END, _BLOCK):
        lock = (directory / str(first)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        held.append(lock)
        yield from filter(_is_free, range(first, first + _BLOCK))
    raise AssertionError(f"other test processes hold all ports: look into {directory}")


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_own = _ports()


def free_port():
    """Return a port that nobody listens on, and that no test process is handed besides while this one lives."""
    return next(_own)
