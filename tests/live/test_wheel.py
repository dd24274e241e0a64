"""The wheel, installed where nothing else is: it has its migrations, its plugin and its data, and serves."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.live.killing import wait_until
from tests.live.server import run
from tests.ports import free_port

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
SOURCES = ("setup.py", "pyproject.toml", "README.md", "scepd", "twisted")
LONGEST = 300  # seconds; the packages may have to be fetched


@pytest.fixture(scope="module")
def wheel(place):
    """The wheel, built from a copy, so that nothing lands in the checkout and nothing stale comes from it."""
    source = place / "source"
    source.mkdir()
    for name in SOURCES:
        origin = ROOT / name
        if origin.is_dir():
            shutil.copytree(origin, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        else:
            shutil.copy(origin, source / name)
    out = place / "wheel"
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source,
        timeout=LONGEST,
    )  # fmt: skip
    (built,) = out.glob("scepd-*.whl")
    return built


def outside(directory):
    """An environment in which no Python finds the checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "SCEPD_CONFIG", "VIRTUAL_ENV"}}
    return {**kept, "HOME": str(directory), "PIP_CACHE_DIR": pip_cache()}


def pip_cache():
    """Where pip keeps what it has fetched once."""
    return run(sys.executable, "-m", "pip", "cache", "dir", check=False).stdout.strip() or "/tmp/pip-cache"


class Installation:
    """An empty environment with the wheel in it, in a directory of its own."""

    def __init__(self, directory, wheel):
        self.directory = directory
        self.bin = directory / "venv" / "bin"
        self.environment = outside(directory)
        venv.create(directory / "venv", with_pip=True, symlinks=True)
        self.run("pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary", wheel, timeout=LONGEST)

    def run(self, program, *arguments, **options):
        return run(self.bin / program, *arguments, cwd=self.directory, env=self.environment, **options)

    def python(self, text):
        return self.run("python", "-P", "-c", text).stdout


@pytest.fixture(scope="module")
def installed(place, wheel):
    directory = place / "installed"
    directory.mkdir()
    return Installation(directory, wheel)


def test_the_wheel_holds_every_module_migration_and_plugin_and_nothing_else(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    here = {
        str(path.relative_to(ROOT))
        for name in ("scepd", "twisted")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "dropin.cache"
    }
    assert inside == here
    assert "twisted/plugins/scepd_plugin.py" in inside
    assert any(name.startswith("scepd/store/migrations/versions/") for name in inside)


def test_what_runs_is_what_the_wheel_brought(installed):
    words = installed.python(
        "import json, scepd, twisted.plugin, scepd.store.migrate as m;"
        "from twisted.application.service import IServiceMaker;"
        "makers = [p for p in twisted.plugin.getPlugins(IServiceMaker) if p.tapname == 'scepd'];"
        "print(json.dumps([scepd.__file__, m.__file__, len(makers)]))"
    )
    package, migrate, makers = json.loads(words)
    assert makers == 1
    for path in (package, migrate):
        assert Path(path).is_relative_to(installed.directory / "venv"), path
    assert "pytest" not in installed.run("pip", "list").stdout  # an empty environment indeed


def test_the_installed_package_serves_and_enrols(installed):
    http, https = free_port(), free_port()
    config = installed.directory / "var" / "scepd.toml"
    installed.run(
        "scepd", "init", "--directory", "var", "--workers", "1",
        "--http", f"127.0.0.1:{http}", "--https", f"127.0.0.1:{https}",
    )  # fmt: skip
    log = installed.directory / "server.log"
    with log.open("wb") as lines:
        server = subprocess.Popen(
            [installed.bin / "twistd", "--nodaemon", "--pidfile=", "scepd", "--config", config],
            cwd=installed.directory, env=installed.environment, stdout=lines, stderr=lines,
        )  # fmt: skip
    try:
        wait_until(
            lambda: installed.run("scepd", "status", "--config", config, check=False).returncode == 0,
            patience=40, what=log,
        )  # fmt: skip
        enrol(installed, config, f"http://127.0.0.1:{http}/scep")
        enrol(installed, config, f"https://127.0.0.1:{https}/scep", "--ca-file", "var/devices-ca.pem")
    finally:
        server.terminate()
        server.wait(20)
    assert server.returncode in {0, -15}, log.read_text()
    assert "Traceback" not in log.read_text()


def enrol(installed, config, url, *trust):
    name = url.partition(":")[0]
    made = installed.run("scepd", "challenge", "new", "default", "--config", config, "--json").stdout
    printed = run("openssl", "x509", "-in", config.with_name("devices-ca.pem"), "-noout", "-fingerprint", "-sha256")
    installed.run(
        "scepd", "client", "enroll", "--url", url, "--challenge", json.loads(made)["challenge"], *trust,
        "--fingerprint", printed.stdout.strip().rpartition("=")[2], "--cn", "wheel", "--out", f"{name}.pem",
    )  # fmt: skip
    run("openssl", "verify", "-CAfile", config.with_name("devices-ca.pem"), installed.directory / f"{name}.pem")
