"""The core that a worker keeps to (sched_setaffinity(2)).

The threads of a worker take turns at Python's lock again and again in each enrolment. On two cores each turn costs
the other's caches and a wake-up across cores: two workers on two cores enrol a third more where each has its own.
"""

import os
import zlib
from pathlib import Path

from twisted.logger import Logger

from scepd.config.settings import Settings

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"  # "0,4" or "0-1"

_log = Logger()


def keep_to_core(settings: Settings, slot: int) -> None:
    """Bind this thread, and those that it starts, to the slot's core, where each worker can have one.

    A single worker gains nothing, and lanes that compute at the same time want several cores: they go where the kernel
    puts them, as everybody does where there are more workers than cores, or `cpu_affinity` is off.
    """
    allowed = os.sched_getaffinity(0)
    if not settings.cpu_affinity or settings.hsm.lanes > 1 or not 2 <= settings.workers <= len(allowed):
        return
    # Several installations of one machine, or containers that see all of it, should not begin at the same core.
    start = zlib.crc32(f"{os.uname().nodename} {settings.appliance.state}".encode())
    core = core_of(slot, start, allowed)
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:  # a sandbox may forbid it: slower, and no reason to stay away
        _log.warn(event="core_refused", core=core, problem=error.strerror)


def core_of(slot: int, start: int, allowed: set[int]) -> int:
    """Return the core of a slot: one thread of each physical core before the second of any, begun at the `start`-th."""
    ranks: dict[int, list[int]] = {}
    for core in sorted(allowed):
        ranks.setdefault([one for one in _siblings(core) if one in allowed].index(core), []).append(core)
    dealt = [cores[(start + turn) % len(cores)] for _, cores in sorted(ranks.items()) for turn in range(len(cores))]
    return dealt[slot]


def _siblings(core: int) -> list[int]:
    """Return the logical CPUs of one physical core, itself among them; alone where the system does not say."""
    try:
        text = Path(_SIBLINGS.format(core)).read_text(encoding="ascii").strip()
        bounds = [part.partition("-") for part in text.split(",")]
        found = [number for low, _, high in bounds for number in range(int(low), int(high or low) + 1)]
    except (OSError, ValueError):
        return [core]
    return found if core in found else [core]
