"""OCSP of a running server, asked by openssl and stapled by nginx; visible on every worker within a second."""

import base64
import subprocess
import time
import urllib.request
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from scepd.message import tlv
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.ocsp import issuer_hashes
from scepd.x509.ocsp_request import SHA1, write_cert_id
from tests.live import clients
from tests.live.killing import wait_until
from tests.live.nginx import Nginx
from tests.live.server import STATIC, copy_of, run
from tests.ports import free_port
from tests.tokens import CHOSEN

pytestmark = pytest.mark.live
WORKERS = 2
CONNECTIONS = 6 * WORKERS  # each may reach another worker
SERVERS = """
[profile.servers]
issuer = "devices"
validity = "90d"
must_staple = "always"
extended_key_usage = ["serverAuth"]
challenge = [{ method = "static", secret = { file = "static-challenge" } }]
names = { dns = ["*"] }
"""


@pytest.fixture(scope="module")
def answering(template, place):
    server = copy_of(template, place / "ocsp")
    server.edit(r"^workers = \d+", f"workers = {WORKERS}")
    kind = () if CHOSEN.elliptic else ("--key-type", "rsa:2048")
    server.scepd("ca", "responder", "devices", "--yes", "--write", *kind)
    server.edit(r"^(crl = [^#\n]*).*$", rf"\1\n{urls(server)}")
    with server.config.open("a") as config:
        config.write(SERVERS)
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


def enrol(server, directory, profile="static", cn="moon"):
    directory.mkdir()
    result = clients.strongswan(f"{server.url}/{profile}", directory, STATIC, ca=server.ca, cn=cn)
    assert result.certificate, result.words
    return result.certificate


def serial_of(certificate):
    return x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number


def ask(server, *about, options=()):
    """Ask `openssl ocsp` by POST; the answer must verify."""
    said = run(
        "openssl", "ocsp", "-issuer", server.ca, *about, "-url", ocsp_url(server), "-CAfile", server.ca, *options
    )
    assert "Response verify OK" in said.stderr, said.stderr
    assert "WARNING" not in said.stderr, said.stderr  # a nonce that was sent came back
    return said.stdout


def get(server, der):
    """What a GET on a new connection is answered with."""
    target = f"{ocsp_url(server)}/{quote(base64.b64encode(der).decode(), safe='')}"
    with urllib.request.urlopen(target, timeout=5) as reply:
        assert reply.headers["Content-Type"] == "application/ocsp-response"
        return reply.read()


def state(der):
    return ocsp.load_der_ocsp_response(der).certificate_status.name


def plain_request(server, serial):
    """A request without a nonce, which prepared answers answer."""
    ca = IssuerCertificate.load(x509.load_pem_x509_certificate(server.ca.read_bytes()).public_bytes(Encoding.DER))
    cert_id = write_cert_id(*next(one for one in issuer_hashes(ca) if one[0] == SHA1), serial)
    return tlv.sequence(tlv.sequence(tlv.sequence(tlv.sequence(cert_id))))


def is_everywhere(server, request, word):
    return all(state(get(server, request)) == word for _ in range(CONNECTIONS))


def seconds_until(server, request, word):
    begun = time.monotonic()
    wait_until(lambda: is_everywhere(server, request, word), patience=10, what=word)
    return time.monotonic() - begun


@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
def test_C300_C302_C303_C307_openssl_asks_by_post_with_both_digests_and_a_nonce(answering, tmp_path, digest):
    certificate = enrol(answering, tmp_path / "one")
    assert ": good" in ask(answering, digest, "-cert", certificate, options=["-nonce"])
    assert ": good" in ask(answering, digest, "-cert", certificate, options=["-no_nonce"])
    never = ask(answering, digest, "-serial", "0x5c0badc0de", options=["-nonce"])
    assert ": revoked" in never
    assert "certificateHold" in never
    assert "1970" in never


@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
def test_C300_C303_what_a_get_is_answered_with_openssl_verifies(answering, tmp_path, digest):
    certificate = enrol(answering, tmp_path / "one")
    asked, answer = tmp_path / "request.der", tmp_path / "answer.der"
    about = ("-issuer", answering.ca, digest, "-cert", certificate)
    run("openssl", "ocsp", *about, "-reqout", asked, "-no_nonce")
    answer.write_bytes(get(answering, asked.read_bytes()))
    said = run("openssl", "ocsp", *about, "-respin", answer, "-CAfile", answering.ca)
    assert "Response verify OK" in said.stderr
    assert ": good" in said.stdout


def test_C296_C309_hold_release_and_revocation_are_seen_by_every_worker_within_a_second(answering, tmp_path):
    certificate = enrol(answering, tmp_path / "one")
    serial = serial_of(certificate)
    request, number = plain_request(answering, serial), f"{serial:x}"
    assert is_everywhere(answering, request, "GOOD")  # each worker has an answer ready now
    answering.scepd("cert", "revoke", number, "--reason", "certificateHold")
    assert seconds_until(answering, request, "REVOKED") <= 1.0
    answering.scepd("cert", "release", number)
    assert seconds_until(answering, request, "GOOD") <= 1.0
    answering.scepd("cert", "revoke", number, "--reason", "keyCompromise")
    assert seconds_until(answering, request, "REVOKED") <= 1.0
    assert "keyCompromise" in ask(answering, "-cert", certificate)


def test_C292_C296_what_was_released_is_on_no_crl_and_good_to_openssl(answering, tmp_path):
    certificate = enrol(answering, tmp_path / "one")
    number = f"{serial_of(certificate):x}"

    def verify():
        return run(
            "openssl", "verify", "-x509_strict", "-crl_check", "-crl_download", "-CAfile", answering.ca, certificate,
            check=False,
        )  # fmt: skip

    answering.scepd("cert", "revoke", number, "--reason", "certificateHold")
    wait_until(lambda: "certificate revoked" in verify().stderr, what="the hold on the CRL")
    answering.scepd("cert", "release", number)
    wait_until(lambda: verify().returncode == 0, what="the release on the CRL")
    assert ": good" in ask(answering, "-cert", certificate)


def test_C283_certificates_name_all_three_places(answering, tmp_path):
    text = run("openssl", "x509", "-in", enrol(answering, tmp_path / "one"), "-noout", "-text").stdout
    base = f"http://127.0.0.1:{answering.http}"
    assert f"OCSP - URI:{base}/ocsp" in text
    assert f"CA Issuers - URI:{base}/ca/devices.cer" in text
    assert f"URI:{base}/crl/devices.crl" in text


def handshake(port, ca):
    """What s_client is told about the stapled answer; it ends with the handshake."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-status", "-CAfile", ca, "-verify_return_error"],
        input="Q\n", capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_C315_C318_nginx_staples_what_ocsp_says(answering, tmp_path):
    certificate = enrol(answering, tmp_path / "web", profile="servers", cn="web.example.net")
    assert "TLS Feature" in run("openssl", "x509", "-in", certificate, "-noout", "-text").stdout
    # The answer was ready before the certificate: it is older than this first question about it.
    first = ocsp.load_der_ocsp_response(get(answering, plain_request(answering, serial_of(certificate))))
    assert first.certificate_status.name == "GOOD"
    port = free_port()
    body = f"""
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {tmp_path / "web" / "key.pem"};
        ssl_stapling on;
        ssl_stapling_verify on;
        ssl_trusted_certificate {answering.ca};
    """
    nginx = Nginx.start(answering.directory / "nginx", body)
    try:
        wait_until(
            lambda: "OCSP Response Status: successful" in handshake(port, answering.ca), pause=0.2, what="a staple"
        )
        told = handshake(port, answering.ca)
        assert "Cert Status: good" in told
        assert "Verify return code: 0 (ok)" in told
    finally:
        nginx.stop()
    assert "OCSP" not in (answering.directory / "nginx" / "error.log").read_text()

