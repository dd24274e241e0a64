"""The other forms of an RA with the real server and real clients: CA = RA, one key with both roles, an EC key."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.message.certrep import read_certs_only
from tests.founding import found
from tests.live import clients
from tests.live.http_wire import exchange, request
from tests.live.server import copy_of, run

pytestmark = pytest.mark.live


def serve(template, place, form, *, password=False):
    """Start a copy whose issuer has that form of RA."""
    copy = copy_of(template, place / f"ra-{form}")
    found(copy.config, form)
    if password:
        copy.edit(r'^issuer = "devices"', 'issuer = "devices"\npassword_encryption = true')
    return copy.start()


@pytest.fixture(scope="module")
def authority(template, place):
    """A CA that is its own RA."""
    server = serve(template, place, "ca")
    yield server
    server.stop()
    server.check_store()


@pytest.fixture(scope="module")
def single(template, place):
    """One RA key that signs and decrypts."""
    server = serve(template, place, "both")
    yield server
    server.stop()
    server.check_store()


@pytest.fixture(scope="module")
def signing(template, place):
    """An EC RA key: requests come by password."""
    server = serve(template, place, "sign", password=True)
    yield server
    server.stop()
    server.check_store()


def der(path):
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def ca_certificates(server):
    return exchange(server.http, request("GET", "/scep?operation=GetCACert"))


def check(result, ca_der):
    assert result.certificate is not None, result.words
    certificate = x509.load_pem_x509_certificate(result.certificate.read_bytes())
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(ca_der))
    return certificate


def fingerprint(ca):
    return run("openssl", "x509", "-in", ca, "-noout", "-fingerprint", "-sha256").stdout.strip().rpartition("=")[2]


def own_client(server, ca, directory, *options, check=True):
    done = run(
        *server.client("enroll"), "--url", server.url, "--challenge", server.challenge(), "--cn", "own",
        "--fingerprint", fingerprint(ca), "--out", directory / "cert.pem", "--key", directory / "key.pem", *options,
        check=check,
    )  # fmt: skip
    return clients.Result(directory / "cert.pem" if done.returncode == 0 else None, None, done.stdout + done.stderr)


def test_C045_C051_E12_a_ca_that_is_its_own_ra_is_one_der_certificate(authority):
    reply = ca_certificates(authority)
    assert reply.headers["content-type"] == "application/x-x509-ca-cert"
    assert reply.body == der(authority.directory / "single.pem")
    assert "event=insecure switch=issuer.devices.insecurely_ca_is_ra" in authority.log.read_text()


def test_C045_E12_nothing_but_openssl_enrols_with_a_ca_that_is_its_own_ra(authority, tmp_path):
    result = clients.openssl(authority.url, tmp_path, authority.challenge())
    check(result, der(authority.directory / "single.pem"))


def test_C045_E12_strongswan_enrols_with_a_ca_that_is_its_own_ra(authority, tmp_path):
    result = clients.strongswan(authority.url, tmp_path, authority.challenge(), ca=authority.directory / "single.pem")
    check(result, der(authority.directory / "single.pem"))


def test_C045_E12_our_own_client_enrols_with_a_ca_that_is_its_own_ra(authority, tmp_path):
    ca = authority.directory / "single.pem"
    check(own_client(authority, ca, tmp_path), der(ca))


def test_C046_one_ra_key_with_both_roles_is_served_and_enrols(single, tmp_path):
    ca = der(single.directory / "devices-ca.pem")
    assert read_certs_only(ca_certificates(single).body) == [der(single.directory / "single.pem"), ca]
    check(clients.strongswan(single.url, tmp_path, single.challenge(), ca=single.ca), ca)


def test_N7_with_an_ec_ra_key_requests_come_by_password(signing, tmp_path):
    ca = signing.directory / "devices-ca.pem"
    assert read_certs_only(ca_certificates(signing).body) == [der(signing.directory / "single.pem"), der(ca)]
    options = ("--transport", "pwri", "--key-type", "ec:P-256")
    certificate = check(own_client(signing, ca, tmp_path, *options), der(ca))
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_C267_an_rsa_only_client_enrols_with_an_ec_ca_behind_rsa_ra_keys(elliptic_template, place, tmp_path):
    server = copy_of(elliptic_template, place / "ec-ca").start()
    try:
        result = clients.openssl(server.url, tmp_path, server.challenge())
        certificate = check(result, der(server.ca))
    finally:
        server.stop()
    assert certificate.signature_algorithm_oid.dotted_string == "1.2.840.10045.4.3.2"
    server.check_store()
