"""The processes of a service as /proc shows them."""

import contextlib
import os
from pathlib import Path


def descendants(pid):
    """Return a process id and those of all its children, theirs included."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cores_of_threads(pid):
    """Return the cores on which each thread of a process may run; one that has ended meanwhile is left out."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            found.append(os.sched_getaffinity(int(thread.name)))
    return found


def read_process(pid):
    """Return command line and environment of a process; what is gone or may not be read is empty."""
    return tuple(_read(Path(f"/proc/{pid}/{what}")) for what in ("cmdline", "environ"))


def _read(path):
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
