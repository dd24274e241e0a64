import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tests.ports import free_port


def scepd(*arguments, check=True, timeout=60, **options):
    """Run the command in a process of its own: a PKCS#11 module is loaded once per process."""
    result = subprocess.run(
        [sys.executable, "-m", "scepd.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


@attrs.frozen
class Installation:
    """What one `scepd init` made, and how it was asked."""

    directory: Path
    kind: str
    output: str

    @property
    def config(self):
        return self.directory / "scepd.toml"

    def scepd(self, *arguments, **options):
        return scepd(*arguments, "--config", self.config, **options)


def initialise(directory, kind):
    listeners = ("--http", f"127.0.0.1:{free_port()}", "--https", f"127.0.0.1:{free_port()}")
    result = scepd("init", "--directory", directory, "--ca-key", kind, "--workers", "1", *listeners)
    return Installation(directory, kind, result.stdout)


@pytest.fixture(scope="session", params=["rsa-3072", "ec-p256"])
def installation(request, tmp_path_factory):
    """A first run with a real SoftHSM token, one for each kind of CA key."""
    return initialise(tmp_path_factory.mktemp(request.param[:3]) / "var", request.param)


@pytest.fixture(scope="session")
def elliptic(tmp_path_factory):
    """A first run for tests to which the kind of key does not matter."""
    return initialise(tmp_path_factory.mktemp("one") / "var", "ec-p256")
