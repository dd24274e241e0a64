"""A scepd of one's own for a test: made by `scepd init`, served by `twistd scepd`, on loopback, with the token that tests/tokens.py chose."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs

from tests.ports import free_port
from tests.tokens import CHOSEN, SoftHsm

BIN = Path(sys.executable).parent
PATIENCE = float(os.environ.get("PATIENCE", "1"))  # a busy machine starts a server in minutes
STATIC = "a-static-challenge-for-many-uses"


def run(*command, check=True, timeout=60, **options):
    """Run a command and return its result; its output is shown when it fails."""
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=timeout * PATIENCE, check=False, **options
    )
    if check and result.returncode != 0:
        raise AssertionError(f"{command} ended with {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


@attrs.define
class Server:
    """One installation in a directory; `start` and `stop` as often as a test likes."""

    directory: Path
    http: int
    https: int
    process: subprocess.Popen | None = None
    arguments: tuple[str, ...] = ()
    lifts_limits: bool = True  # of failures: all devices of a test come from one address, and share a few keys
    token: SoftHsm = CHOSEN

    @property
    def config(self):
        return self.directory / "scepd.toml"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http}/scep"

    @property
    def tls_url(self):
        return f"https://127.0.0.1:{self.https}/scep"

    @property
    def log(self):
        return self.directory / "server.log"

    @property
    def pin(self):
        """The file with the token's PIN."""
        return self.token.pins(self.directory) / "hsm-pin"

    def hide_token(self):
        """Take the token away, as far as a worker can tell."""
        self.token.hide(self.directory)

    def bring_token_back(self):
        """Let it be there again."""
        self.token.bring_back(self.directory)

    @property
    def ca(self):
        """The CA certificate, PEM."""
        return next(iter(self.directory.glob("*-ca.pem")))

    def scepd(self, *arguments, check=True, timeout=60, **options):
        """Run the scepd command against this installation."""
        return run(BIN / "scepd", *arguments, "--config", self.config, check=check, timeout=timeout, **options)

    def start(self, *, wait=60.0):
        """Start `twistd scepd` and wait until it is ready."""
        if self.lifts_limits:
            self._lift_limits()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "twistd", "--nodaemon", "--pidfile=", "scepd", "--config", self.config, *self.arguments],
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        deadline = time.monotonic() + wait * PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"scepd ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
            if self.scepd("status", check=False).returncode == 0:
                return self
            time.sleep(0.1)
        raise AssertionError(f"scepd is not ready after {wait} s:\n{self.log.read_text()[-4000:]}")

    def _lift_limits(self):
        """Switch off the limits of failures that no test has set."""
        text = self.config.read_text()
        if "[limits]" not in text:
            text += "\n[limits]\n"
        names = ("failures_per_network", "failures_per_key", "requests_after_failure")
        missing = [name for name in names if not re.search(rf"^{name} =", text, re.MULTILINE)]
        lines = "".join(f"{name} = 0\n" for name in missing)
        self.config.write_text(text.replace("[limits]\n", f"[limits]\n{lines}", 1))

    def stop(self, *, wait=20.0):
        """Stop it and return its exit status."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self.process = None
        return status

    def client(self, verb):
        """The beginning of a `scepd client` command."""
        return BIN / "scepd", "client", verb

    def fingerprint(self):
        """The SHA-256 fingerprint of the CA certificate."""
        words = run("openssl", "x509", "-in", self.ca, "-noout", "-fingerprint", "-sha256").stdout
        return words.strip().rpartition("=")[2]

    def check_store(self):
        """Verify everything that the store holds, its seals with the audit key and with their file."""
        from scepd.config.load import load
        from scepd.observe.seal_file import SealFile
        from scepd.observe.signature import audit_keys
        from scepd.observe.trail import Trail
        from scepd.store.check import check_store
        from tests.live.opened import opened

        audit = load(self.config).audit
        copies = SealFile(audit.seals).lines() if audit.seals.exists() else None
        trail = Trail(audit_keys(audit.public_keys), copies)
        with opened(self) as (repository, issuers):
            found = check_store(repository, issuers, trail=trail)
        assert not found, "\n".join(found)

    def status(self):
        """The supervisor's own words."""
        return json.loads(self.scepd("status", "--json", check=False).stdout)

    def challenge(self, *options, profile="default"):
        """A fresh one-time challenge."""
        return json.loads(self.scepd("challenge", "new", profile, *options, "--json").stdout)["challenge"]

    def edit(self, pattern, replacement):
        """Change the configuration by a regular expression that must match."""
        text, count = re.subn(pattern, replacement, self.config.read_text(), flags=re.MULTILINE)
        assert count, f"{pattern} is not in {self.config}"
        self.config.write_text(text)

    def log_lines(self, event="scep_request"):
        """The log lines of one kind."""
        return [line for line in self.log.read_text().splitlines() if f"event={event}" in line]


def make_server(directory, *, workers=1, options=(), token=CHOSEN):
    """Make an installation under a short directory (a Unix socket's path has 107 octets)."""
    http, https, known = free_port(), free_port(), token.make(Path(directory))
    run(
        BIN / "scepd", "init", "--if-needed", "--directory", directory,
        "--http", f"127.0.0.1:{http}", "--https", f"127.0.0.1:{https}", "--workers", workers, *(known.options if known else ()), *options,
    )  # fmt: skip
    return Server(Path(directory), http, https, token=token)


def copy_of(template, directory):
    """Return a copy of an installation on ports of its own."""
    shutil.copytree(template.directory, directory, ignore=shutil.ignore_patterns("*.sock", "server.log", "socket"))
    copy = Server(Path(directory), free_port(), free_port(), token=template.token)
    text = copy.config.read_text().replace(str(template.directory), str(directory))
    text = text.replace(f"127.0.0.1:{template.http}", f"127.0.0.1:{copy.http}")
    copy.config.write_text(text.replace(f"127.0.0.1:{template.https}", f"127.0.0.1:{copy.https}"))
    copy.token.copy(template.directory, copy.directory)
    return copy


def environment(server):
    """The environment in which tools see this server's token."""
    return {**os.environ, **server.token.environment(server.directory)}
