"""`scepd networks refresh` against a server of lists on loopback."""

import contextlib
import datetime as dt
import ipaddress
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.cli.main import program

LISTS = {"/v4": (200, b"192.0.2.0/24\n198.51.100.0/24"), "/v6": (200, b"2001:db8::/32\n")}


class Published(BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = self.server.lists.get(self.path, (404, b"none"))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/v4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *arguments):
        """Say nothing."""


def certify(place):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(names, critical=False).add_extension(
        x509.BasicConstraints(True, None), critical=True
    )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (place / "ca.pem").write_bytes(pem)
    (place / "server.pem").write_bytes(pem + key.private_bytes(encoding, form, serialization.NoEncryption()))


@pytest.fixture
def publisher(tmp_path):
    certify(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Published)
    server.lists = dict(LISTS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def refresh(publisher, tmp_path, *paths, trust=True, scheme="https"):
    arguments = ["networks", "refresh", "--cloudflare", str(tmp_path / "networks.txt")]
    for path in paths or ("/v4", "/v6"):
        arguments += ["--url", f"{scheme}://127.0.0.1:{publisher.server_address[1]}{path}"]
    if trust:
        arguments += ["--trust", str(tmp_path / "ca.pem")]
    return CliRunner().invoke(program, arguments)


def test_the_lists_become_one_file(publisher, tmp_path):
    done = refresh(publisher, tmp_path)
    assert done.exit_code == 0, done.output
    file = tmp_path / "networks.txt"
    assert file.read_text() == "192.0.2.0/24\n198.51.100.0/24\n2001:db8::/32\n"
    assert file.stat().st_mode & 0o777 == 0o644
    assert "3 networks" in done.output
    inode = file.stat().st_ino
    assert "as before" in refresh(publisher, tmp_path).output
    assert file.stat().st_ino == inode
    publisher.lists["/v6"] = (200, b"2001:db8:1::/48\n")
    refresh(publisher, tmp_path)
    assert "2001:db8:1::/48" in file.read_text()
    assert file.stat().st_ino != inode  # replaced, never written over


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>busy</html>"),
        (200, b""),
        (200, b"0.0.0.0/0"),
        (200, b"\xff\xfe"),
        (200, b"192.0.2.0/24\n" * 30_000),
        (302, b""),
        (404, b"192.0.2.0/24"),
        (500, b"192.0.2.0/24"),
    ],
)
def test_S77_what_is_no_list_leaves_the_old_file(publisher, tmp_path, answer):
    refresh(publisher, tmp_path)
    before = (tmp_path / "networks.txt").read_bytes()
    publisher.lists["/v6"] = answer
    done = refresh(publisher, tmp_path)
    assert (done.exit_code, "try:" in done.output) == (1, True)
    assert (tmp_path / "networks.txt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_S77_only_https_and_only_from_whom_we_trust(publisher, tmp_path):
    assert refresh(publisher, tmp_path, trust=False).exit_code == 1
    done = refresh(publisher, tmp_path, scheme="http")
    assert (done.exit_code, "no https URL" in done.output) == (1, True)
    assert not (tmp_path / "networks.txt").exists()


def test_a_directory_that_is_not_there(publisher, tmp_path):
    arguments = ["networks", "refresh", "--cloudflare", str(tmp_path / "no" / "networks.txt"), "--trust"]
    arguments += [str(tmp_path / "ca.pem"), "--url", f"https://127.0.0.1:{publisher.server_address[1]}/v4"]
    done = CliRunner().invoke(program, arguments)
    assert (done.exit_code, "cannot be written" in done.output) == (1, True)
