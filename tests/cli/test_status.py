"""`status`, `reload` and `stop` against a control socket that answers what a test wants."""

import contextlib
import json
import socket
import threading

import pytest
from click.testing import CliRunner

from scepd.app.service import CONTROL_SOCKET
from scepd.cli.main import program

READY = {
    "ok": True,
    "state": "running",
    "ready": True,
    "hsm": "up",
    "listeners": [{"listener": "plain", "host": "127.0.0.1", "port": 8080, "tls": False}],
    "workers": [{"slot": 0, "pid": 7, "state": "ready", "restarts": 0}],
    "desk": [],
    "leaving": [],
    "last_reload": None,
}


@contextlib.contextmanager
def answering(runtime, reply):
    """Answer one connection of the control socket; the commands asked are collected."""
    asked = []
    runtime.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime / CONTROL_SOCKET))
        listener.listen()

        def answer():
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as stream:
                asked.append(json.loads(stream.readline())["command"])
                stream.write(json.dumps(reply).encode() + b"\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield asked
        thread.join(5)


@pytest.fixture
def site(tmp_path):
    config = tmp_path / "scepd.toml"
    config.write_text(f'[appliance]\nruntime = "{tmp_path}/run"\nstate = "{tmp_path}/state"\n')
    config.chmod(0o600)
    return config


def run(site, *arguments):
    return CliRunner().invoke(program, [*arguments, "--config", str(site)])


def test_ready_is_0(site):
    with answering(site.with_name("run"), READY) as asked:
        result = run(site, "status")
    assert result.exit_code == 0, result.output
    assert asked == ["status"]
    assert "http://127.0.0.1:8080" in result.output


def test_degraded_is_1_in_json_too(site):
    with answering(site.with_name("run"), {**READY, "ready": False, "hsm": "down"}):
        result = run(site, "status", "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["hsm"] == "down"


def test_not_running_is_2(site):
    result = run(site, "status")
    assert result.exit_code == 2
    assert "no scepd runs" in result.output


def test_a_reload_that_is_refused_prints_every_problem(site):
    problems = [{"problem": "first", "hint": "do this"}, {"problem": "second", "hint": "do that"}]
    with answering(site.with_name("run"), {"ok": False, "problems": problems}) as asked:
        result = run(site, "reload")
    assert asked == ["reload"]
    assert result.exit_code == 1
    for words in ("error: first", "try: do this", "error: second", "try: do that"):
        assert words in result.output


def test_reload_and_stop_say_that_it_is_done(site):
    with answering(site.with_name("run"), {"ok": True, "generation": 2}):
        assert run(site, "reload").output == "reloaded\n"
    (site.with_name("run") / CONTROL_SOCKET).unlink()
    with answering(site.with_name("run"), {"ok": True}):
        assert run(site, "stop").output == "stopping\n"
