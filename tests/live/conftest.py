"""Servers for the live tests: a template is made once, each module serves a copy of its own."""

import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from tests.live.server import STATIC, copy_of, make_server
from tests.tokens import CHOSEN


@pytest.fixture(scope="session")
def place():
    """A short directory: the path of a Unix socket has at most 107 octets."""
    path = Path(tempfile.mkdtemp(prefix="scepd-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def template(place):
    """An installation with an RSA issuing key, a static challenge beside the one-time ones, never started."""
    return with_static_challenge(make_server(place / "rsa", options=("--ca-key", f"rsa-{min(CHOSEN.largest, 3072)}")))


@pytest.fixture(scope="session")
def elliptic_template(place):
    """The same with a P-256 issuing key; where the token has no such keys, with another RSA key."""
    kind = "ec-p256" if CHOSEN.elliptic else "rsa-2048"
    return with_static_challenge(make_server(place / "ec", options=("--ca-key", kind)))


def with_static_challenge(server):
    """Let a profile of its own take one challenge many times, for tests that enrol often."""
    secret = server.directory / "static-challenge"
    secret.write_text(STATIC)
    secret.chmod(0o600)
    with server.config.open("a") as config:
        config.write(
            '\n[profile.static]\npath = "static"\nissuer = "devices"\nvalidity = "90d"\n'
            'challenge = [{ method = "static", secret = { file = "static-challenge" } }]\n'
            'names = { dns = ["*"] }\n'
        )
    return server


@pytest.fixture(scope="module")
def server(template, place, request):
    """A running copy of the template with two workers; stopped and checked at the end of the module."""
    copy = copy_of(template, place / request.module.__name__.rpartition(".")[2][-16:])
    copy.edit(r"^workers = \d+", "workers = 2")
    copy.start()
    yield copy
    assert copy.stop() in {0, -signal.SIGTERM}  # twistd ends with the signal that asked for it
    copy.check_store()
