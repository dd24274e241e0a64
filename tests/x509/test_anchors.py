"""Whose signed challenges are believed: which keys a file may hold, and what makes it unusable (threats L)."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from scepd.refusal import OperatorError
from scepd.x509.anchors import read_anchors

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def certificate(key=KEY, *extensions, begin=NOW - DAY, end=NOW + DAY):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, begin, end)
    for value in extensions:
        builder = builder.add_extension(value, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def public(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def usage(*, sign):
    return x509.KeyUsage(sign, False, not sign, False, False, False, False, False, False)


def test_S91_each_key_has_the_one_algorithm_of_its_kind():
    anchors = read_anchors(certificate() + public(RSA), NOW)
    assert [(anchor.algorithm, anchor.not_after) for anchor in anchors] == [("ES256", NOW + DAY), ("RS256", None)]
    assert len({anchor.key_id for anchor in anchors}) == 2


def test_S91_a_certificate_counts_while_it_is_valid():
    [anchor] = read_anchors(certificate(KEY, usage(sign=True)), NOW)
    assert [anchor.is_valid(moment) for moment in (NOW - DAY, NOW + DAY - DAY / 9, NOW + DAY)] == [True, True, False]
    old = certificate(RSA, begin=NOW - 2 * DAY, end=NOW - DAY)
    assert len(read_anchors(old + certificate(), NOW)) == 2


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "nothing that is valid now"),
        (certificate()[:-20], "neither a whole certificate"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "neither a whole certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "unreadable"),
        (certificate(KEY, x509.BasicConstraints(ca=True, path_length=None)), "of a CA"),
        (certificate(KEY, usage(sign=False)), "may not sign"),
        (public(ec.generate_private_key(ec.SECP384R1())), "neither RSA"),
        (public(rsa.generate_private_key(65537, 1024)), "neither RSA"),
        (public(KEY) * 17, "more than 16 keys"),
        (certificate(begin=NOW - 2 * DAY, end=NOW - DAY), "nothing that is valid now"),
    ],
    ids=["empty", "cut", "private", "unreadable", "CA", "usage", "P-384", "RSA-1024", "many", "expired"],
)
def test_S91_one_block_that_cannot_be_used_makes_the_file_unusable(octets, problem):
    with pytest.raises(OperatorError) as caught:
        read_anchors(octets, NOW)
    assert problem in caught.value.problem
    assert "openssl" in caught.value.hint


def test_S91_a_leaf_that_says_so_is_no_ca():
    assert read_anchors(certificate(KEY, x509.BasicConstraints(ca=False, path_length=None)), NOW)
