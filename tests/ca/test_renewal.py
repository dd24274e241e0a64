"""A TLS certificate is drafted again as it was, in time."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from scepd.ca.ceremony import Ceremony
from scepd.ca.renewal import draft_renewal, is_due
from scepd.records import GeneralName
from scepd.refusal import OperatorError
from scepd.x509.certificate import IssuerCertificate, Locations
from scepd.x509.draft import seal
from scepd.x509.names import from_text

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
OWN = ec.generate_private_key(ec.SECP256R1())
NAMES = [GeneralName("dns", "pki.example.net"), GeneralName("ip", "192.0.2.1"), GeneralName("ip", "2001:db8::1")]


def counting(size):
    return bytes(range(1, size + 1))


@pytest.fixture(scope="module")
def issuer():
    return IssuerCertificate.load(Ceremony(KEY, NOW, counting).found_ca(from_text("CN=CA"), timedelta(days=3650)))


def first(issuer, days=90):
    der = Ceremony(KEY, NOW, counting).certify_tls(issuer, NAMES, OWN.public_key(), timedelta(days=days))
    return x509.load_der_x509_certificate(der)


def test_the_next_certificate_has_the_same_key_and_names_and_lasts_as_long(issuer):
    present, later = first(issuer), NOW + timedelta(days=61)
    draft = draft_renewal(present, issuer, later, bytes)
    fresh = x509.load_der_x509_certificate(seal(draft.der, KEY, KEY.public_key()))
    assert fresh.public_key() == OWN.public_key()
    names = (one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for one in (fresh, present))
    assert next(names) == next(names)
    life = present.not_valid_after_utc - present.not_valid_before_utc
    assert fresh.not_valid_after_utc == later + life
    assert fresh.serial_number != present.serial_number


def test_C283_it_says_where_the_issuer_publishes_now(issuer):
    crl, ocsp, ca = ("http://pki.example.net/crl/x.crl",), ("http://pki.example.net/ocsp",), ("http://pki.example.net/x.cer",)
    draft = draft_renewal(first(issuer), issuer, NOW, counting, Locations(crl, ocsp, ca))
    found = x509.load_der_x509_certificate(draft.der).extensions
    (point,) = found.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [name.value for name in point.full_name] == list(crl)
    access = found.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [one.access_location.value for one in access] == [*ocsp, *ca]


@pytest.mark.parametrize(("days", "due"), [(0, False), (59, False), (61, True), (95, True)])
def test_it_is_due_when_a_third_of_its_life_is_left(issuer, days, due):
    assert is_due(first(issuer), NOW + timedelta(days=days)) is due


def test_what_cannot_be_renewed_is_told(issuer):
    ca = issuer.certificate
    with pytest.raises(OperatorError, match="names no host"):
        draft_renewal(ca, issuer, NOW, counting)
    odd = x509.CertificateBuilder(
        ca.subject, ca.subject, ed25519.Ed25519PrivateKey.generate().public_key(), 5,
        ca.not_valid_before_utc.replace(tzinfo=None), ca.not_valid_after_utc.replace(tzinfo=None),
    )  # fmt: skip
    from cryptography.hazmat.primitives import hashes

    with pytest.raises(OperatorError, match="neither RSA nor EC"):
        draft_renewal(odd.sign(KEY, hashes.SHA256()), issuer, NOW, counting)
