"""Keep secrets of a process out of core files and away from debuggers of the same user."""

import ctypes
import resource

PR_SET_DUMPABLE = 4  # linux/prctl.h


def harden() -> None:
    """Forbid core dumps and ptrace by equals (prctl(2), core(5)); each process calls it first, since exec undoes it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
