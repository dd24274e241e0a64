"""A token with moods: the server's own behind `slow_token.c`, compiled for the run; and the watch on how fast a server answers."""

import statistics
import subprocess
import threading
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.live.device import get

SOURCE = Path(__file__).with_name("slow_token.c")
PAUSE = 0.01  # seconds between two requests of the watch


@attrs.frozen
class Moods:
    """What the token of one server does next."""

    directory: Path

    def slow(self, seconds):
        """Let every signature and decryption wait."""
        (self.directory / "delay").write_text(str(int(seconds * 1000)))

    def quick(self):
        """Let them wait no more."""
        (self.directory / "delay").unlink()

    def lose(self, what):
        """Lose one "session" or all "sessions" of the worker that signs next."""
        (self.directory / f"lose-{what}").touch()

    def holds(self, what):
        """Whether that loss is still to come."""
        return (self.directory / f"lose-{what}").exists()

    @property
    def logins(self):
        """The token's answers to C_Login so far, as text of the return codes."""
        path = self.directory / "logins"
        return path.read_text().split() if path.exists() else []


def compile_module(directory):
    """Compile the module; its directory must not be writable by others."""
    path = directory / "slow_token.so"
    command = [
        "cc",
        "-Wall",
        "-Werror",
        "-Wno-cast-function-type",
        "-O1",
        "-shared",
        "-fPIC",
        "-o",
        path,
        SOURCE,
        "-ldl",
    ]
    subprocess.run(command, check=True, timeout=60)
    path.chmod(0o755)
    return path


def module_of(server):
    """The PKCS#11 module that the configuration names."""
    return tomllib.loads(server.config.read_text())["hsm"]["module"]


def give_moods(server, module, monkeypatch):
    """Put the module between a server and its token; returns its moods."""
    moods = Moods(server.directory / "moods")
    moods.directory.mkdir(exist_ok=True)
    monkeypatch.setenv("SLOW_TOKEN_MODULE", module_of(server))
    monkeypatch.setenv("SLOW_TOKEN_MOODS", str(moods.directory))
    server.edit(r'^module = ".*"', f'module = "{module}"')
    return moods


@contextmanager
def watched(server):
    """Ask for GetCACaps all the while, each on a connection of its own; yields the list of seconds that it fills."""
    seconds, faults, over = [], [], threading.Event()

    def watch():
        try:
            while not over.is_set():
                reply = get(server, "GetCACaps", timeout=10)
                assert reply.status == 200
                assert b"SHA-256" in reply.body
                seconds.append(reply.seconds)
                time.sleep(PAUSE)
        except (OSError, AssertionError) as fault:
            faults.append(fault)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join(30)
    assert faults == []


def percentile(seconds, part):
    """The percentile in milliseconds."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[part - 1] * 1000
