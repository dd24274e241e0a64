"""A CRL in shards: certificates of one running server name different CRLs, and openssl checks each by its own."""

import urllib.request

import pytest
from cryptography import x509

from tests.live import clients
from tests.live.killing import wait_until
from tests.live.server import STATIC, copy_of, run

pytestmark = pytest.mark.live
SIZE = 2


@pytest.fixture(scope="module")
def dealing(template, place):
    server = copy_of(template, place / "shards")
    server.edit(r"^workers = \d+", "workers = 2")
    base = f"http://127.0.0.1:{server.http}/crl/devices.crl"
    crl = f'crl = {{ valid = "7d", every = "1d", shard_size = {SIZE} }}\ncrl_urls = ["{base}"]'
    server.edit(r"^crl = [^\n]*$", crl)
    server.start()
    yield server
    server.stop()
    server.check_store()


def enrol(server, directory):
    directory.mkdir()
    result = clients.strongswan(f"{server.url}/static", directory, STATIC, ca=server.ca)
    assert result.certificate, result.words
    return result.certificate


def place_of_crl(certificate):
    read = x509.load_pem_x509_certificate(certificate.read_bytes())
    (point,) = read.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    return point.full_name[0].value


def published(server, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/crl/{name}.crl", timeout=5) as reply:
        return x509.load_der_x509_crl(reply.read())


def verify(server, certificate):
    return run(
        "openssl", "verify", "-x509_strict", "-crl_check", "-crl_download", "-CAfile", server.ca, certificate,
        check=False,
    )  # fmt: skip


def test_C290_C294_each_certificate_names_the_crl_of_its_shard_and_openssl_agrees(dealing, tmp_path):
    olds = [enrol(dealing, tmp_path / f"old{number}") for number in range(SIZE)]
    wait_until(lambda: len(dealing.log_lines("crl_published")) >= 3, what="the CRL of a second shard")
    base = f"http://127.0.0.1:{dealing.http}/crl/devices"
    younger = (enrol(dealing, tmp_path / f"young{number}") for number in range(20))
    young = next((one for one in younger if place_of_crl(one) != f"{base}.crl"), None)  # each worker hears of it for itself
    assert young is not None
    assert [place_of_crl(one) for one in (*olds, young)] == [f"{base}.crl"] * SIZE + [f"{base}.1.crl"]
    for certificate in (olds[0], young):
        assert verify(dealing, certificate).returncode == 0
    dealing.scepd("cert", "revoke", f"{x509.load_pem_x509_certificate(young.read_bytes()).serial_number:x}")
    wait_until(lambda: "certificate revoked" in verify(dealing, young).stderr, what="the revocation on its CRL")
    assert verify(dealing, olds[0]).returncode == 0
    crls = []

    def is_published():  # each of the workers reads the news for itself
        crls[:] = [published(dealing, name) for name in ("devices", "devices.1")]
        return [len(crl) for crl in crls] == [0, 1]

    wait_until(is_published, what="the revocation on the CRL of one shard alone")
    assert [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in crls] == [2, 2]
    # The CRL of one shard says nothing about a certificate of another.
    wrong = tmp_path / "wrong.pem"
    run("openssl", "crl", "-in", f"{base}.crl", "-inform", "der", "-out", wrong)
    told = run(
        "openssl", "verify", "-crl_check", "-CRLfile", wrong, "-CAfile", dealing.ca, young, check=False
    )
    assert "different CRL scope" in told.stderr
