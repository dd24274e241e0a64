"""Daemons as children of the tests, each ended by its own id; and mounts that only this process and its children see."""

import atexit
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

import attrs

CLONE_NEWNS, CLONE_NEWIPC = 0x00020000, 0x08000000


@attrs.define
class Daemon:
    """A child in a process group of its own, so that what it forks ends with it."""

    process: subprocess.Popen

    @classmethod
    def start(cls, *command, log, **environment):
        """Start it in the foreground with its words in a file; it ends with this process at the latest."""
        with Path(log).open("ab") as words:
            process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=words, stderr=words,
                env={**os.environ, **environment}, start_new_session=True,
            )  # fmt: skip
        daemon = cls(process)
        atexit.register(daemon.kill)
        return daemon

    def kill(self):
        """End it and what it forked, without a warning."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def until(condition, what, seconds=20.0):
    """Wait for a daemon."""
    deadline = time.monotonic() + seconds * float(os.environ.get("PATIENCE", "1"))
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not come up in {seconds} s"
        time.sleep(0.05)


def isolate(place, *directories):
    """Put empty directories under `place` over those directories, for this process and its children alone."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0:
        raise OSError(ctypes.get_errno(), "no mount namespace: openCryptoki's test token needs root")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for directory in directories:
        own = Path(place, directory.strip("/").replace("/", "-"))
        own.mkdir(mode=0o755)
        Path(directory).mkdir(exist_ok=True)  # a package without a service manager may have left out its own
        subprocess.run(["mount", "--bind", own, directory], check=True)
