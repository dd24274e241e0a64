"""CRLs of a running server: on revocation, at the place that certificates name, through the death of a worker."""

import json
import os
import signal
import sqlite3
import threading
import time
import urllib.request

import pytest
from cryptography import x509

from tests.live import clients
from tests.live.killing import ready_pids, wait_ready, wait_until
from tests.live.server import STATIC, copy_of, run

pytestmark = pytest.mark.live
WORKERS = 2


@pytest.fixture(scope="module")
def publishing(template, place):
    server = copy_of(template, place / "crl")
    server.edit(r"^workers = \d+", f"workers = {WORKERS}")
    server.edit(r"^(crl = [^#\n]*).*$", rf'\1\ncrl_urls = ["{crl_url(server)}"]')
    server.edit(r"^\[audit\]$", '[audit]\nseal_every = "1s"')
    server.start()
    wait_until(lambda: server.log_lines("crl_published"), what="the first CRL")
    time.sleep(1)  # until each worker has heard of it
    yield server
    server.stop()
    server.check_store()


def crl_url(server):
    return f"http://127.0.0.1:{server.http}/crl/devices.crl"


def served(server):
    """What a new connection gets: each may be another worker's."""
    with urllib.request.urlopen(crl_url(server), timeout=5) as reply:
        assert reply.headers["Content-Type"] == "application/pkix-crl"
        return x509.load_der_x509_crl(reply.read())


def number(crl):
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def is_everywhere(server, serial):
    return all(served(server).get_revoked_certificate_by_serial_number(serial) for _ in range(6 * WORKERS))


def enrol(server, directory):
    directory.mkdir()
    result = clients.strongswan(f"{server.url}/static", directory, STATIC, ca=server.ca)
    assert result.certificate, result.words
    return result.certificate


def serial_of(certificate):
    return int(run("openssl", "x509", "-in", certificate, "-noout", "-serial").stdout.strip().partition("=")[2], 16)


def download_and_verify(server, certificate):
    """Let openssl fetch the CRL from where the certificate says, and check with it."""
    return run(
        "openssl", "verify", "-x509_strict", "-crl_check", "-crl_download", "-CAfile", server.ca, certificate,
        check=False,
    )  # fmt: skip


def test_C283_C290_a_revocation_is_on_every_workers_crl_at_the_place_the_certificate_names(publishing, tmp_path):
    certificate = enrol(publishing, tmp_path / "one")
    before = number(served(publishing))
    sound = download_and_verify(publishing, certificate)
    assert sound.returncode == 0, sound.stderr
    publishing.scepd("cert", "revoke", f"{serial_of(certificate):x}", "--reason", "keyCompromise")
    wait_until(lambda: is_everywhere(publishing, serial_of(certificate)), what="the revocation on the CRL")
    assert number(served(publishing)) == before + 1
    revoked = download_and_verify(publishing, certificate)
    assert revoked.returncode != 0
    assert "certificate revoked" in revoked.stderr


def test_C290_S106_numbers_rise_by_one_through_the_death_of_every_worker(publishing, tmp_path):
    certificates = [enrol(publishing, tmp_path / f"r{count}") for count in range(WORKERS)]
    for certificate, slot in zip(certificates, range(WORKERS), strict=True):
        before = number(served(publishing))
        os.kill(ready_pids(publishing)[slot], signal.SIGKILL)
        publishing.scepd("cert", "revoke", f"{serial_of(certificate):x}")
        wait_ready(publishing)
        wait_until(
            lambda certificate=certificate: is_everywhere(publishing, serial_of(certificate)),
            patience=40,
            what="the revocation on the CRL",
        )
        assert number(served(publishing)) == before + 1


def test_C231_the_ca_certificate_is_served_beside_it(publishing):
    with urllib.request.urlopen(f"http://127.0.0.1:{publishing.http}/ca/devices.cer", timeout=5) as reply:
        assert reply.headers["Content-Type"] == "application/pkix-cert"
        assert x509.load_der_x509_certificate(reply.read()) == x509.load_pem_x509_certificate(
            publishing.ca.read_bytes()
        )


def test_S124_G03_the_running_service_s_trail_is_sealed_in_the_token_and_its_store_is_sound(publishing, tmp_path):
    busy = threading.Thread(target=lambda: [enrol(publishing, tmp_path / f"busy{turn}") for turn in range(4)])
    busy.start()
    try:
        assert publishing.scepd("fsck").stdout.startswith("the store is sound")
        verified = json.loads(publishing.scepd("audit", "verify", "--json").stdout)
    finally:
        busy.join()
    assert verified["ok"]
    assert verified["seals"] >= 1
    copied = tmp_path / "scepd.sqlite"
    source = sqlite3.connect(publishing.directory / "state" / "scepd.sqlite")
    target = sqlite3.connect(copied, isolation_level=None)
    source.backup(target)
    source.close()
    offline = ("audit", "verify", "--store", copied, "--key", publishing.directory / "scepd-audit.pem")
    assert publishing.scepd(*offline).stdout.startswith("the audit trail is sound")
    target.execute("DELETE FROM audit WHERE owner = 'n1/0.duties' OR owner = 'n1/1.duties'")
    target.execute("DELETE FROM audit_head WHERE owner = 'n1/0.duties' OR owner = 'n1/1.duties'")
    target.close()
    found = publishing.scepd(*offline, check=False)
    assert (found.returncode, "row 1: cut off; seal" in found.stdout) == (1, True), found.stdout
