"""What a command needs beside a running service: where it is, and nothing else."""

import http.server
import json
import socketserver
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from scepd.app.service import DESK_SOCKET, ask_desk
from scepd.cli.main import program


class Desk(http.server.BaseHTTPRequestHandler):
    """Answers every request with one challenge."""

    def do_POST(self):
        self.server.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        body = json.dumps([{"id": 1, "challenge": "abcd-efgh", "expires": "2030-01-01T00:00:00Z"}]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *_arguments):
        pass


class DeskServer(socketserver.UnixStreamServer):
    """The desk's socket, and what was asked there."""

    def __init__(self, path):
        super().__init__(str(path), Desk)
        self.asked = []


@pytest.fixture
def site(tmp_path):
    """A configuration that is whole in [appliance] alone."""
    config = tmp_path / "scepd.toml"
    config.write_text(f'[appliance]\nruntime = "{tmp_path}/run"\nstate = "{tmp_path}/state"\n[profile.x]\nnonsense = 1\n')
    config.chmod(0o600)
    (tmp_path / "run").mkdir(mode=0o700)
    return config


@pytest.fixture
def desk(site):
    with DeskServer(site.with_name("run") / DESK_SOCKET) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def test_beside_a_service_only_the_appliance_table_is_read(site, desk):
    result = CliRunner().invoke(program, ["challenge", "new", "x", "--cn", "r1", "--config", str(site)])
    assert result.exit_code == 0, result.output
    assert "abcd-efgh" in result.output
    assert desk.asked == [("/api/v1/challenges", {"profile": "x", "count": 1, "uses": 1, "names": [], "cn": "r1"})]


class Deaf(socketserver.BaseRequestHandler):
    """Says no and closes, without reading a word."""

    def handle(self):
        body = b'{"problem": "not for you", "hint": "ask ann"}'
        self.request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def test_S09_what_a_desk_says_that_does_not_listen_is_heard(site):
    desk = socketserver.UnixStreamServer(str(site.with_name("run") / DESK_SOCKET), Deaf)
    with desk:
        thread = threading.Thread(target=desk.handle_request, daemon=True)
        thread.start()
        answer = ask_desk(site.with_name("run"), "POST", "/api/v1/entities", {"entities": ["x" * 4_000_000]})
        thread.join(10)
    assert answer == (403, {"problem": "not for you", "hint": "ask ann"})


def test_without_a_service_the_whole_configuration_must_be_right(site):
    result = CliRunner().invoke(program, ["challenge", "new", "x", "--config", str(site)])
    assert result.exit_code == 78
    assert "$.profile.x.nonsense" in result.output


@pytest.mark.parametrize("module", ["challenge", "cert", "request"])
def test_the_store_is_loaded_only_where_it_is_needed(module):
    code = f"import sys, scepd.cli.{module}; print([name for name in ('sqlalchemy', 'twisted', 'pkcs11') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
