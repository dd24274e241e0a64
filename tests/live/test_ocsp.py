"""OCSP of a running server, asked by openssl and stapled by nginx; visible on every worker within a second."""


import pytest

from tests.live import clients
from tests.live.killing import wait_until
from tests.live.server import STATIC, copy_of, run

pytestmark = pytest.mark.live
WORKERS = 2


@pytest.fixture(scope="module")
def answering(template, place):
    server = copy_of(template, place / "ocsp")
    server.edit(r"^workers = \d+", f"workers = {WORKERS}")
    server.scepd("ca", "responder", "devices", "--write")
    server.edit(r"^(crl = [^#\n]*).*$", rf"\1\n{urls(server)}")
    server.start()
    wait_until(lambda: server.log_lines("crl_published"), what="the first CRL")
    yield server
    server.stop()
    server.check_store()


def urls(server):
    base = f"http://127.0.0.1:{server.http}"
    return f'crl_urls = ["{base}/crl/devices.crl"]\nocsp_urls = ["{base}/ocsp"]\nissuer_urls = ["{base}/ca/devices.cer"]'


def ocsp_url(server):
    return f"http://127.0.0.1:{server.http}/ocsp"


def enrol(server, directory):
    directory.mkdir()
    result = clients.strongswan(f"{server.url}/static", directory, STATIC, ca=server.ca)
    assert result.certificate, result.words
    return result.certificate


def serial_of(certificate):
    return int(run("openssl", "x509", "-in", certificate, "-noout", "-serial").stdout.strip().partition("=")[2], 16)


def ask(server, *about, options=()):
    """Ask `openssl ocsp` by POST; the answer must verify."""
    said = run("openssl", "ocsp", "-issuer", server.ca, *about, "-url", ocsp_url(server), "-CAfile", server.ca, *options)
    assert "Response verify OK" in said.stderr, said.stderr
    return said.stdout


def test_smoke(answering, tmp_path):
    certificate = enrol(answering, tmp_path / "one")
    print(ask(answering, "-cert", certificate))
