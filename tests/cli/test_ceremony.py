import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.ca.ceremony import Ceremony, Fingerprints
from scepd.records import GeneralName
from scepd.refusal import OperatorError, Reject
from scepd.x509.certificate import IssuerCertificate
from scepd.x509.lint import lint
from scepd.x509.names import from_text
from tests.vouching import first_responder, next_responder

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
YEARS = timedelta(days=3650)
RSA = rsa.generate_private_key(65537, 2048)
OURS = rsa.generate_private_key(65537, 2048)


def counting(size):
    return bytes(range(1, size + 1))


@pytest.fixture(params=["rsa", "p256", "p384"])
def ceremony(request):
    keys = {"rsa": lambda: RSA, "p256": lambda: ec.generate_private_key(ec.SECP256R1()), "p384": lambda: ec.generate_private_key(ec.SECP384R1())}
    return Ceremony(keys[request.param](), NOW, counting)


def test_a_ca_of_its_own(ceremony):
    der = ceremony.found_ca(from_text("CN=Example CA,O=Example"), YEARS)
    certificate = x509.load_der_x509_certificate(der)
    certificate.verify_directly_issued_by(certificate)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert certificate.not_valid_before_utc <= NOW < NOW + YEARS == certificate.not_valid_after_utc
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert lint(der, None, "ca") == []


def test_ra_and_tls_certificates_below_it(ceremony):
    issuer = IssuerCertificate.load(ceremony.found_ca(from_text("CN=Example CA"), YEARS))
    made = {
        "sign": ceremony.certify_ra(issuer, from_text("CN=RA"), OURS.public_key(), "sign"),
        "decrypt": ceremony.certify_ra(issuer, from_text("CN=RA"), OURS.public_key(), "decrypt"),
        "tls": ceremony.certify_tls(issuer, [GeneralName("dns", "pki.example")], OURS.public_key(), timedelta(days=90)),
    }
    for kind, der in made.items():
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(issuer.certificate)
        assert certificate.not_valid_after_utc <= issuer.not_after
        assert lint(der, issuer, "tls" if kind == "tls" else "ra") == []


def test_S109_the_responders_certificate_vouches_for_answers_and_nothing_else(ceremony, tmp_path):
    issuer = IssuerCertificate.load(ceremony.found_ca(from_text("CN=Example CA"), YEARS))
    two_weeks = {"now": NOW, "valid": timedelta(days=14), "random": counting}
    first = first_responder(issuer, ceremony.key, OURS.public_key(), **two_weeks)
    der = next_responder(first, issuer, ceremony.key, **two_weeks)
    assert lint(first, issuer, "ocsp") == []
    certificate = x509.load_der_x509_certificate(der)
    certificate.verify_directly_issued_by(issuer.certificate)
    assert certificate.extensions.get_extension_for_class(x509.OCSPNoCheck).critical is False
    assert certificate.not_valid_after_utc == NOW + timedelta(days=14)
    assert lint(der, issuer, "ocsp") == []
    for name, one in (("ca", issuer.certificate), ("ocsp", certificate)):
        (tmp_path / f"{name}.pem").write_bytes(one.public_bytes(Encoding.PEM))
    told = subprocess.run(
        ["openssl", "verify", "-purpose", "ocsphelper", "-x509_strict", "-attime", str(int(NOW.timestamp())),
         "-CAfile", tmp_path / "ca.pem", tmp_path / "ocsp.pem"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr


def test_an_elliptic_key_is_no_decryption_key(ceremony):
    issuer = IssuerCertificate.load(ceremony.found_ca(from_text("CN=Example CA"), YEARS))
    with pytest.raises(OperatorError):
        ceremony.certify_ra(issuer, from_text("CN=RA"), ec.generate_private_key(ec.SECP256R1()).public_key(), "decrypt")


def test_a_name_that_no_certificate_may_carry_is_refused(ceremony):
    with pytest.raises((Reject, OperatorError)):
        ceremony.found_ca(from_text("2.5.4.99=strange"), YEARS)


def test_C053_fingerprints_are_over_the_whole_certificate():
    der = Ceremony(RSA, NOW, counting).found_ca(from_text("CN=Example CA"), YEARS)
    certificate, found = x509.load_der_x509_certificate(der), Fingerprints.of(der)
    pairs = ((found.sha256, hashes.SHA256()), (found.sha1, hashes.SHA1()), (found.md5, hashes.MD5()))
    for text, algorithm in pairs:
        assert text == certificate.fingerprint(algorithm).hex(":").upper()
