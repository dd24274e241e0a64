"""What an enrolment costs over HTTP: a server with one worker and one with two, by turns; the rim alone; memory."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from bench.connections import drive
from bench.installation import CHALLENGE, pids, resident_kib, serve, url, worker_pids
from bench.load import enrol, measure
from bench.middle import TURNS, middle
from bench.report import Broken, say
from bench.target import Target
from tests.live.server import Server

CLIENTS = (1, 4, 16, 64)
WORKERS = (1, 2)
OK = 200
_RIM_REQUESTS = 2000
_CHUNK = 2500  # enrolments between two looks at memory
_LONG_CLIENTS = 16


@contextmanager
def serving(
    template: Server, directory: Path, workers: int, change: Callable[[Server], None] | None = None
) -> Iterator[Server]:
    """Serve a copy of an installation, changed if so wanted, for the block; it must stop in order."""
    server = serve(template, directory, workers, change)
    try:
        yield server
    finally:
        status = server.stop(wait=60)
    if status not in {0, -signal.SIGTERM}:  # twistd ends with the signal that asked for it
        raise Broken(f"scepd ended with {status}; {server.log}")


def over_http(template: Server, place: Path, keys: Sequence[rsa.RSAPrivateKey], count: int) -> list[dict[str, Any]]:
    """Return a row for each number of workers and clients: of each figure the median of the turns.

    Both servers are up all the while and are loaded by turns, so that what slows the machine slows both.
    """
    rows: list[dict[str, Any]] = []
    with (
        serving(template, place.with_name(place.name + "-1"), 1) as one,
        serving(template, place.with_name(place.name + "-2"), 2) as two,
    ):
        targets = {1: Target.find(url(one), CHALLENGE), 2: Target.find(url(two), CHALLENGE)}
        watched = {1: pids(one), 2: pids(two)}
        for target in targets.values():
            measure(target, keys, clients=4, count=40)  # each worker has enrolled before the clock starts
        for clients in CLIENTS:
            runs: dict[int, list[dict[str, float]]] = {workers: [] for workers in targets}
            for _ in range(TURNS):
                for workers, target in targets.items():
                    amount = count if clients > 1 else count // 2
                    run = measure(target, keys, clients=clients, count=amount, pids=watched[workers])
                    runs[workers].append(run.figures())
            for workers, found in runs.items():
                rows.append({"workers": workers, "clients": clients, **middle(found)})
                say("  " + "  ".join(f"{name}={value}" for name, value in rows[-1].items()))
    return rows


def rim(answer: bytes, request: bytes, place: Path) -> dict[str, float]:
    """Return the server's CPU milliseconds a request for HTTP and log alone, without and with the hop into a lane."""
    place.mkdir(exist_ok=True)
    (place / "answer").write_bytes(answer)
    found = {}
    for name, options in (("http_and_log", ()), ("with_lane", ("--lane",))):
        command = [sys.executable, "-m", "bench.rim", str(place / "answer"), str(place / "rim.log"), *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
            try:
                assert process.stdout is not None
                port = process.stdout.readline().strip()
                if not port:
                    raise Broken("the HTTP rim did not start")
                found[name] = _drive_rim(f"http://127.0.0.1:{port}/scep/static", request, process.pid)
            finally:
                process.terminate()
    return found


def _drive_rim(address: str, request: bytes, pid: int) -> float:
    target = Target(address, "", None, ())
    canned: Any = _Canned(request)
    asyncio.run(drive(target, [canned] * 100, 1))
    run = asyncio.run(drive(target, [canned] * _RIM_REQUESTS, 4, (pid,)))
    if any(status != OK for _, status, _ in run.replies):
        raise Broken("the HTTP rim refused a request")
    return run.figures()["cpu_ms"]


class _Canned:
    def __init__(self, body: bytes) -> None:
        self.body = body


def memory(template: Server, place: Path, keys: Sequence[rsa.RSAPrivateKey], count: int) -> list[dict[str, Any]]:
    """Return the workers' resident memory over that many enrolments, sampled."""
    samples: list[dict[str, Any]] = []
    with serving(template, place, 2) as server:
        target, workers = Target.find(url(server), CHALLENGE), worker_pids(server)
        for done in range(0, count, _CHUNK):
            enrol(target, target.requests(keys, min(_CHUNK, count - done)), _LONG_CLIENTS)
            if worker_pids(server) != workers:
                raise Broken("a worker was replaced")
            sample = [resident_kib(pid) for pid in workers]
            samples.append({"enrolments": done + _CHUNK, "resident_kib": sample})
            say(f"  {done + _CHUNK} enrolments: {', '.join(f'{kib} KiB' for kib in sample)}")
    return samples
