"""Keep secrets of a process out of core files and away from debuggers of the same user."""

import ctypes
import resource

PR_SET_DUMPABLE = 4  # linux/prctl.h


def raise_descriptor_limit() -> None:
    """Take as many descriptors as the system allows: each connection is one (getrlimit(2))."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def harden() -> None:
    """Forbid core dumps and ptrace by equals (prctl(2), core(5)); each process calls it first, since exec undoes it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
