"""A server whose token has faults (`tests.faulty_token`); and the watch on how fast a server answers."""

import statistics
import threading
import time
import tomllib
from contextlib import contextmanager

from tests.faulty_token import Board
from tests.live.device import get

PAUSE = 0.01  # seconds between two requests of the watch


def module_of(server):
    """The PKCS#11 module that the configuration names."""
    return tomllib.loads(server.config.read_text())["hsm"]["module"]


def label_of(server):
    """The label of the token that the configuration names: where several share a module, each has its own."""
    return tomllib.loads(server.config.read_text())["hsm"]["token"]


def give_board(server, module, monkeypatch):
    """Put the faulty module between a server and its token; returns its board."""
    board = Board(server.directory / "board")
    monkeypatch.setenv("FAULTY_TOKEN_MODULE", module_of(server))
    monkeypatch.setenv("FAULTY_TOKEN_BOARD", str(board.path))
    server.edit(r'^module = ".*"', f'module = "{module}"')
    return board


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
