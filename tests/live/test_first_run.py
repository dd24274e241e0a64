"""The first minutes of an operator: `make run`, its words, its command, its end; and a start that must not happen."""

import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import attrs
import pytest

from tests.live.killing import wait_until
from tests.live.processes import descendants
from tests.live.server import BIN, Server, copy_of, run
from tests.ports import free_port

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
LONGEST_END = 15.0  # seconds


def recipe(**variables):
    """The commands of `make run` as make itself expands them, with this environment's programs."""
    words = [f"{name}={value}" for name, value in variables.items()]
    lines = run("make", "--no-print-directory", "--dry-run", "-C", ROOT, "run", *words).stdout.splitlines()
    ours = [line for line in lines if re.search(r"\.venv/bin/scepd (init|run)\b", line)]
    assert len(ours) == 2, lines
    return [line.replace(".venv/bin/", f"{BIN}/") for line in ours]


@attrs.define
class Welcome:
    """`scepd run --welcome` in a directory of its own, and what it says."""

    directory: Path
    commands: list
    process: subprocess.Popen | None = None

    @property
    def words(self):
        return self.directory / "words"

    def make_run(self):
        """Do what `make run` does, line by line, until it has said how to enrol."""
        *before, last = self.commands
        for command in before:
            run("sh", "-c", command, cwd=self.directory)
        with self.words.open("wb") as words:
            self.process = subprocess.Popen(
                ["sh", "-c", last], cwd=self.directory, stdout=words, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            )
        wait_until(lambda: self.command is not None or self.process.poll() is not None, patience=60, what=self.words)
        assert self.process.poll() is None, self.words.read_text()
        return self.words.read_text()

    @property
    def command(self):
        """The line that enrols."""
        lines = self.words.read_text().splitlines(keepends=True)
        found = [line.rstrip("\n") for line in lines if " client enroll " in line and line.endswith("\n")]
        return found[0] if found else None

    def end(self, number):
        """End it with a signal; return exit status and seconds."""
        pids = descendants(self.process.pid)
        begun = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(LONGEST_END + 10)
        wait_until(lambda: not any(_is_alive(pid) for pid in pids), patience=5, what=pids)
        return status, time.monotonic() - begun


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def welcome(place):
    directory = place / "first"
    directory.mkdir()
    ports = free_port(), free_port()
    commands = recipe(DIR="var", HTTP=f"127.0.0.1:{ports[0]}", HTTPS=f"127.0.0.1:{ports[1]}", WORKERS="1")
    found = Welcome(directory, commands)
    yield found, ports
    if found.process is not None and found.process.poll() is None:
        found.process.terminate()
        found.process.wait(30)


def fingerprint(certificate, digest):
    printed = run("openssl", "x509", "-in", certificate, "-noout", "-fingerprint", f"-{digest}").stdout
    return printed.strip().rpartition("=")[2]


def test_C053_make_run_says_where_it_serves_and_its_command_enrols_verbatim(welcome, tmp_path):
    first, (http, https) = welcome
    words = first.make_run()
    assert re.search(rf"^\s+SCEP +http://127\.0\.0\.1:{http}/scep$", words, re.MULTILINE)
    assert re.search(rf"^\s+https://127\.0\.0\.1:{https}/scep$", words, re.MULTILINE)
    ca = first.directory / "var" / "devices-ca.pem"
    for label, digest in (("SHA-256", "sha256"), ("SHA-1", "sha1"), ("MD5", "md5")):
        assert re.search(rf"\b{label} +{fingerprint(ca, digest)}$", words, re.MULTILINE), digest
    assert words.count(" client enroll ") == 1
    run("sh", "-c", first.command, cwd=tmp_path)  # from anywhere, with nothing set
    out = Path(shlex.split(first.command)[-1])
    run("openssl", "verify", "-CAfile", ca, out)
    another = first.command.replace(str(out.with_suffix("")), str(tmp_path / "again"))  # with a key of its own
    again = run("sh", "-c", another, cwd=tmp_path, check=False)
    assert again.returncode == 1  # a one-time challenge
    assert (tmp_path / "again.key").exists()
    assert not (tmp_path / "again.pem").exists()


def test_the_first_runs_configuration_passes_check_while_it_serves_and_after(welcome):
    first, _ = welcome
    config = first.directory / "var" / "scepd.toml"
    assert first.process.poll() is None
    while_it_serves = run(BIN / "scepd", "check", "--config", config)
    second = run(BIN / "scepd", "run", "--welcome", "--config", config, check=False)
    assert second.returncode == 1
    assert "another scepd runs" in second.stderr
    status, seconds = first.end(signal.SIGTERM)
    assert (status, seconds < LONGEST_END) == (0, True), (status, seconds)
    after = run(BIN / "scepd", "check", "--hsm", "--config", config)
    assert "configuration" in while_it_serves.stdout
    assert "token" in after.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_again_reuses_what_is_there_and_ends_cleanly(welcome, number):
    first, (http, https) = welcome
    var = first.directory / "var"
    kept = {path: path.read_bytes() for path in var.glob("*") if path.is_file() and not path.name.startswith("first-")}
    assert len(kept) >= 9
    words = first.make_run()
    assert fingerprint(var / "devices-ca.pem", "sha256") in words
    assert {path: path.read_bytes() for path in kept} == kept
    run("sh", "-c", first.command)
    status, seconds = first.end(number)
    assert status == 0
    assert seconds < LONGEST_END
    for port in (http, https):
        assert not answers(port)
    assert sorted(path.name for path in (var / "run").glob("*.sock")) == []


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# Starts that must not happen ------------------------------------------------------------------------------------


def line(pattern, replacement):
    """A change of the configuration."""
    return lambda server: server.edit(pattern, replacement)


def mode(name, bits):
    return lambda server: (server.directory / name).chmod(bits)


def remove(name):
    return lambda server: (server.directory / name).unlink()


def write(name, text):
    def change(server):
        (server.directory / name).write_text(text)

    return change


# What is broken, how, and the place that the problem must name.
FAULTS = {
    "unknown key": (line(r"^workers = \d+", "wrokers = 2"), "$.wrokers"),
    "type": (line(r'^name = "scepd"', "name = 7"), "appliance.name"),
    "missing module": (line(r"^module = .*", 'module = "/nowhere/libnone.so"'), "hsm.module"),
    "open PIN file": (mode("hsm-pin", 0o644), "hsm.pin"),
    "short store key": (write("store-key", "short"), "store.key"),
    "missing certificate": (remove("devices-ra-sign.pem"), "issuer.devices.ra_sign.certificate"),
    "no certificate": (write("devices-ra-decrypt.pem", "no PEM"), "issuer.devices.ra_decrypt.certificate"),
    "address": (line(r'^address = \["(127.0.0.1:\d+)"\]\n\n\[profile', 'address = ["\\1", "localhost"]\n\n[profile'), "listener.plain.address"),
    "unreadable TLS key": (write("tls.key", "no key"), "listener.public.tls.key"),
    "duration": (line(r'^validity = "1y"', 'validity = "soon"'), "profile.default.validity"),
    "challenge method": (line(r'method = "one-time", valid = "1h"', 'method = "trust-me"'), "profile.default.challenge"),
    "unknown issuer": (line(r'^path = "static"\nissuer = "devices"', 'path = "static"\nissuer = "nobody"'), "profile.static.issuer"),
}
# What hides everything else until it is mended.
ALONE = {
    "no TOML": (line(r"^\[appliance\]", "[appliance"), "scepd.toml"),
    "no file": (remove("scepd.toml"), "scepd.toml"),
    "empty": (write("scepd.toml", ""), "hsm"),
    "no bytes of text": (lambda server: server.config.write_bytes(b"\xff\xfe\0"), "scepd.toml"),
}


def fails_to_start(server):
    """Start it; return what it said. Nothing may be left behind by it, nothing may have listened meanwhile."""
    before = everything(server)
    process = subprocess.Popen(
        [BIN / "twistd", "--nodaemon", "--pidfile=", "scepd", "--config", server.config],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=server.directory,
    )  # fmt: skip
    heard = False
    while process.poll() is None:
        heard = heard or answers(server.http) or answers(server.https)
        time.sleep(0.02)
    words = process.stdout.read()
    assert process.returncode == 78, words
    assert not heard
    assert not answers(server.http)
    assert everything(server) == before
    assert "Traceback" not in words
    return words


def everything(server):
    """Every file, directory and socket of an installation."""
    return sorted(
        (str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in server.directory.rglob("*")
    )


@pytest.fixture
def broken(template, tmp_path_factory, place):
    server = copy_of(template, place / "broken")
    yield server
    shutil.rmtree(server.directory)


@pytest.mark.parametrize("fault", [*FAULTS, *ALONE])
def test_each_kind_of_bad_configuration_ends_with_78_and_nothing_half_started(broken, fault):
    change, where = {**FAULTS, **ALONE}[fault]
    change(broken)
    words = fails_to_start(broken)
    told = [line for line in words.splitlines() if " · " in line]
    assert [line.count(" · ") for line in told] == [2] * len(told)  # what, where, what to try
    assert len([line for line in told if where in line.split(" · ")[1]]) == 1 or fault == "empty"
    assert any(where in line for line in told), words


def test_all_problems_of_a_bad_configuration_are_told_at_once(broken):
    for change, _ in FAULTS.values():
        change(broken)
    words = fails_to_start(broken)
    for fault, (_, where) in FAULTS.items():
        assert where in words, fault
    assert len([told for told in words.splitlines() if told.count(" · ") == 2]) >= len(FAULTS)
    checked = broken.scepd("check", check=False)
    assert checked.returncode == 78
    for _, where in FAULTS.values():
        assert where in checked.stdout + checked.stderr


def test_the_same_configuration_mended_starts(broken):
    assert isinstance(broken, Server)
    assert broken.start().status()["ready"]
    assert broken.stop() in {0, -signal.SIGTERM}
    assert list((broken.directory / "run").glob("*.sock")) == []
