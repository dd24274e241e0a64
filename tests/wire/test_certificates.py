"""What is issued, seen from outside: every certificate and CRL of an enrolment as RFC 5280 has it."""

import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.records import Revocation, RevocationReason, RevokedEntry
from scepd.x509.crl import draft_crl, seal_crl, sign_crl
from tests import make
from tests.message.oracles import openssl
from tests.wire import clients
from tests.wire.opened import pem
from tests.wire.test_messages import CISCO
from tests.wire.world import CRL_URL
from tests.world import NOW, STATIC


def enrol(server, **fields):
    body = make.pkcs_req(challenge=STATIC, recipient=server.ra, **fields)
    return x509.load_der_x509_certificate(server.leaf(server.post(body).body, make.device()))


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


@pytest.fixture
def leaf(server):
    return enrol(server)


def test_C275_serials_are_long_positive_and_never_the_same(server):
    serials = {enrol(server, transaction_id=str(number)).serial_number for number in range(5)}
    assert len(serials) == 5
    assert all(0 < serial < 2**159 for serial in serials)


def test_C276_C277_times_are_UTCTime_in_whole_seconds(leaf):
    der = leaf.public_bytes(Encoding.DER)
    times = re.findall(rb"\x17\x0d(\d{12})Z", der)
    assert len(times) == 2
    assert b"99991231235959Z" not in der
    assert leaf.not_valid_before_utc == NOW - timedelta(minutes=5)


def test_C278_C285_names_and_identifiers_chain(server, leaf):
    issuer = x509.load_der_x509_certificate(server.keys.ca_der)
    assert leaf.issuer.public_bytes() == issuer.subject.public_bytes()
    authority = extension(leaf, x509.AuthorityKeyIdentifier)
    assert authority.value.key_identifier == extension(issuer, x509.SubjectKeyIdentifier).value.digest
    assert not authority.critical
    own = extension(leaf, x509.SubjectKeyIdentifier).value.digest
    assert own == x509.SubjectKeyIdentifier.from_public_key(leaf.public_key()).digest


def test_C279_C280_C282_powers_of_a_device(leaf):
    usage = extension(leaf, x509.KeyUsage)
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_encipherment) == (True, True)
    assert (usage.value.key_cert_sign, usage.value.crl_sign) == (False, False)
    purposes = extension(leaf, x509.ExtendedKeyUsage)
    assert list(purposes.value) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    constraints = [one.value for one in leaf.extensions if isinstance(one.value, x509.BasicConstraints)]
    assert all((one.ca, one.path_length) == (False, None) for one in constraints)


def test_C281_C286_names_as_asked_in_strings_of_two_kinds(serve):
    server = serve(names={"dns": ["*.example.net"], "ip": ["192.0.2.0/24", "2001:db8::/32"]})
    wish = make.Extension(
        "2.5.29.17",
        True,
        make.tlv.sequence(
            make.tlv.implicit(2, b"r1.example.net", constructed=False),
            make.tlv.implicit(7, bytes((192, 0, 2, 7)), constructed=False),
            make.tlv.implicit(7, bytes.fromhex("20010db8" + "00" * 11 + "01"), constructed=False),
        ),
    )
    certificate = enrol(server, subject=CISCO, extensions=[wish])
    names = extension(certificate, x509.SubjectAlternativeName)
    assert not names.critical
    assert [str(name.value) for name in names.value] == ["r1.example.net", "192.0.2.7", "2001:db8::1"]
    assert {attribute._type.name for attribute in certificate.subject} <= {"UTF8String", "PrintableString"}


def test_C283_C294_the_distribution_point_is_one_whole_CRL_over_http(serve):
    server = serve()
    certificate = enrol(server)
    points = extension(certificate, x509.CRLDistributionPoints)
    assert not points.critical
    assert [(one.crl_issuer, one.reasons) for one in points.value] == [(None, None)]
    assert [name.value for one in points.value for name in one.full_name] == [CRL_URL]
    # One CRL covers everything that an issuer gave out: it is in no scope, and no certificate names a part of it.
    issuer = server.world.context.issuers["devices"]
    entry = RevokedEntry(certificate.serial_number, Revocation(NOW, RevocationReason.keyCompromise))
    draft = draft_crl(
        iter([entry]), issuer.certificate, number=1, this_update=NOW, next_update=NOW + timedelta(days=7)
    )
    crl = x509.load_der_x509_crl(seal_crl(draft, sign_crl(draft, issuer.key), issuer.certificate))
    assert not [one for one in crl.extensions if isinstance(one.value, x509.IssuingDistributionPoint)]
    assert crl.get_revoked_certificate_by_serial_number(certificate.serial_number)


@pytest.mark.parametrize("build", [clients.sscep, clients.strongswan, clients.certmonger])
def test_C284_openssl_accepts_the_chain_strictly(server, build):
    sent = build(server)
    der = server.leaf(server.post(sent.body).body, sent.party)
    said = openssl(
        "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-CAfile", "{ca}", "{leaf}",
        files={"ca": pem(server.keys.ca_der), "leaf": pem(der)},
    )  # fmt: skip
    assert said.endswith(b": OK\n")
    certificate = x509.load_der_x509_certificate(der)
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki == make.spki(sent.party.key)
    assert certificate.not_valid_after_utc <= x509.load_der_x509_certificate(server.keys.ca_der).not_valid_after_utc
