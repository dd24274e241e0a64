"""`scepd run --welcome` as a person sees it: it serves, and the printed command enrols."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.conftest import initialise, scepd


class Shown:
    """The output of a process, line by line, with a deadline."""

    def __init__(self, process):
        self.lines = []
        self._thread = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._thread.start()

    def _read(self, stream):
        self.lines.extend(iter(stream.readline, ""))

    def wait_for(self, words, process, seconds=90):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if words in line:
                    return line.strip()
            assert process.poll() is None, "".join(self.lines)
            time.sleep(0.1)
        raise AssertionError(f"{words!r} did not come:\n" + "".join(self.lines))


@pytest.fixture
def welcomed(tmp_path):
    installation = initialise(tmp_path / "v", "ec-p256")
    process = subprocess.Popen(
        [sys.executable, "-m", "scepd.cli.main", "run", "--welcome", "--config", str(installation.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    yield installation, process, Shown(process)
    if process.poll() is None:
        process.terminate()
    process.wait(30)


def test_the_printed_command_enrols_and_the_service_stops_in_good_order(welcomed):
    installation, process, shown = welcomed
    line = shown.wait_for("client enroll", process)
    assert line.startswith("scepd client enroll ")  # on a line of its own
    words = "".join(shown.lines)
    fingerprint = x509.load_pem_x509_certificate((installation.directory / "devices-ca.pem").read_bytes())
    from cryptography.hazmat.primitives import hashes

    for algorithm in (hashes.SHA256(), hashes.SHA1(), hashes.MD5()):
        assert fingerprint.fingerprint(algorithm).hex(":").upper() in words
    assert "http://127.0.0.1:" in words
    assert "https://127.0.0.1:" in words

    command = shlex.split(line)[1:]
    scepd(*command)
    out = Path(command[command.index("--out") + 1])
    name = command[command.index("--cn") + 1]
    assert x509.load_pem_x509_certificate(out.read_bytes()).subject.rfc4514_string() == f"CN={name}"

    again = scepd(*command[: command.index("--out")], "--out", out.with_suffix(".again"), check=False)
    assert again.returncode == 0, again.stderr  # the same key in the same transaction: the same certificate
    assert out.with_suffix(".again").read_bytes() == out.read_bytes()

    assert installation.scepd("status").returncode == 0
    second = installation.scepd("run", "--welcome", check=False)
    assert second.returncode == 1
    assert "another scepd runs" in second.stderr
    challenge = command[command.index("--challenge") + 1]
    assert sum(challenge in shown_line for shown_line in shown.lines) == 1

    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert installation.scepd("status", check=False).returncode == 2


def test_the_service_does_not_outlive_a_killed_welcome(welcomed):
    installation, process, shown = welcomed
    shown.wait_for("client enroll", process)
    process.kill()
    process.wait(10)
    deadline = time.monotonic() + 30
    while installation.scepd("status", check=False).returncode != 2:
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_a_start_that_fails_leaves_with_its_status(tmp_path):
    installation = initialise(tmp_path / "v", "ec-p256")
    (installation.directory / "hsm-pin").write_text("wrong\n")
    result = installation.scepd("run", "--welcome", check=False, timeout=90, env={**os.environ})
    assert result.returncode not in (0, None)
    assert "client enroll" not in result.stdout
