"""Killing workers, at a named checkpoint or at any instant, and waiting for those who replace them."""

import os
import re
import signal
import statistics
import time
from contextlib import contextmanager
from pathlib import Path

from scepd.app import service
from tests.live.device import running

PACKAGE = Path(__file__).parents[2] / "scepd"

# Every checkpoint that an enrolment passes, in its order, and what the store holds of it there:
# the state of the transaction (None: no row) and of the one-time challenge.
POINTS = {
    "before_intent": (None, "FREE"),
    "claim.before_commit": (None, "FREE"),
    "claim.after_commit": ("ISSUING", "RESERVED"),
    "after_intent": ("ISSUING", "RESERVED"),
    "after_sign": ("ISSUING", "RESERVED"),
    "record.before_commit": ("ISSUING", "RESERVED"),
    "record.after_commit": ("ISSUED", "SPENT"),
    "after_record": ("ISSUED", "SPENT"),
    "before_reply": ("ISSUED", "SPENT"),
}
# Those that the recovery from a death after the intent passes again.
RECOVERY = ("after_sign", "record.before_commit", "record.after_commit", "after_record")
# What an ordinary enrolment writes; the other acts have their crash points in tests/store and tests/contract.
ENROLMENT = frozenset({"claim", "record"})


def named_checkpoints():
    """Return every checkpoint that the product's text names, those of the store's acts by act."""
    # Those of a recovery have their crashes in tests/store.
    texts = [path.read_text() for path in PACKAGE.rglob("*.py") if path.parts[-2:] != ("store", "recovery.py")]
    direct = {name for text in texts for name in re.findall(r'checkpoint\("([^"]+)"\)', text)}
    suffixes = {name for text in texts for name in re.findall(r'checkpoint\(f"\{name\}(\.[a-z_]+)"\)', text)}
    acts = {name for text in texts for name in re.findall(r'_act\("([^"]+)"\)', text)}
    calls = sum(len(re.findall(r"checkpoint\((?!self|name|_name)", text)) for text in texts)
    return direct, suffixes, acts, calls


def arm(path, point):
    """Let the next worker that comes to the point die there."""
    fresh = path.with_suffix(".new")
    fresh.write_text(point)
    fresh.replace(path)


def wait_until(is_so, *, patience=30.0, pause=0.02, what=""):
    """Wait for a condition; fails after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < deadline, f"not in {patience} s: {what}"
        time.sleep(pause)


def workers(server):
    """The supervisor's words on its workers."""
    return service.status(running(server))["workers"]


def ready_pids(server):
    """The process ids of the workers that serve."""
    return [row["pid"] for row in workers(server) if row["state"] == "ready"]


def wait_ready(server, *, patience=60.0):
    """Wait until every worker serves."""
    wait_until(lambda: service.status(running(server))["ready"], patience=patience, what="every worker ready")


def is_dead(pid):
    """Whether the process has ended (a zombie has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rsplit(")", 1)[1].split()[0] in "ZX"


@contextmanager
def frozen(pid):
    """Stop a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kills(server):
    """How many workers ended by SIGKILL, as the supervisor's log says."""
    return sum('ending="signal SIGKILL"' in line and "kind=worker" in line for line in server.log_lines("child_ended"))


def startup_times(server):
    """Milliseconds from spawn to READY of every worker of this server's life."""
    lines = [line for line in server.log_lines("child_ready") if "kind=worker" in line]
    return [int(re.search(r"\bms=(\d+)", line)[1]) for line in lines]


def startup_words(times):
    """Describe start-up times."""
    return f"worker start-up: median {statistics.median(times):.0f} ms, max {max(times)} ms, of {len(times)}"
