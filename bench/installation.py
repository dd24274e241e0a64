"""Installations to measure: made by `scepd init`, with a static challenge, served on loopback."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.report import Broken
from scepd.cli.init_answers import Answers
from tests.live.server import STATIC, Server, copy_of, make_server

ISSUING_KEYS = ("rsa-2048", "ec-p256")
DEFAULT_KEY = Answers().ca_key  # what `scepd init` makes unless told otherwise
CHALLENGE = STATIC
_SETTINGS = """
[limits]
requests_per_network = 0
connections_per_address = 1000

[profile.static]
path = "static"
issuer = "devices"
validity = "90d"
challenge = [{ method = "static", secret = { file = "static-challenge" } }]
names = { dns = ["*"] }
renewal = { earliest = 0.0 }

[profile.waiting]
path = "waiting"
issuer = "devices"
validity = "90d"
challenge = [{ method = "static", secret = { file = "static-challenge" } }]
names = { dns = ["*"] }
approval = { most = 100000 }
"""
_NEXT = timedelta(days=365)  # from now a next CA will serve


@contextmanager
def workplace(directory: Path, program: str) -> Iterator[Path]:
    """Yield a new directory for one benchmark, which is removed at the end; `Broken` ends the program with its words."""
    work = directory / program.replace(".", "-")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    except Broken as broken:
        sys.exit(f"{program}: {broken}")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def install(directory: Path, issuing_key: str) -> Server:
    """Make an installation with that kind of issuing key; raises `Broken`."""
    try:
        server: Server = make_server(directory, options=("--ca-key", issuing_key))
    except AssertionError as error:
        raise Broken(f"scepd init: {error}") from error
    secret = server.directory / "static-challenge"
    secret.touch(mode=0o600)
    secret.write_text(CHALLENGE)
    with server.config.open("a") as config:
        config.write(_SETTINGS)
    return server


def announce_next_ca(server: Server) -> None:
    """Make a next CA, which serves in a year."""
    begin = f"{datetime.now(UTC) + _NEXT:%Y-%m-%dT%H:%M:%SZ}"
    server.scepd("ca", "rollover", "devices", "--from", begin, "--write", "--yes")


def serve(server: Server, directory: Path, workers: int, change: Callable[[Server], None] | None = None) -> Server:
    """Start a copy of an installation with that many workers, changed if so wanted; raises `Broken`."""
    copy: Server = copy_of(server, directory)
    copy.edit(r"^workers = \d+", f"workers = {workers}")
    try:
        if change is not None:
            change(copy)
        copy.start(wait=60)
    except AssertionError as error:
        copy.stop()
        raise Broken(str(error)) from error
    return copy


def url(server: Server) -> str:
    """Return where its static challenge is taken."""
    return f"{server.url}/static"


def waiting_url(server: Server) -> str:
    """Return where the same challenge is taken, and a person decides."""
    return f"{server.url}/waiting"


def worker_pids(server: Server) -> list[int]:
    """Return the processes that serve requests."""
    return [int(worker["pid"]) for worker in server.status()["workers"]]


def pids(server: Server) -> list[int]:
    """Return the workers and their supervisor."""
    assert server.process is not None
    return [server.process.pid, *worker_pids(server)]


def resident_kib(pid: int) -> int:
    """Return the anonymous resident memory of a process (proc(5), RssAnon): what it grew itself."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise Broken(f"process {pid} has no memory")
