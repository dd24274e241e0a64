import contextlib

import pytest
from asn1crypto import cms, core
from asn1crypto import x509 as asn1_x509
from hypothesis import given
from hypothesis import strategies as st

from scepd.message import lookup, tlv
from scepd.message.csr import write_name
from scepd.refusal import FailInfo, Reason, Reject
from tests import make

ISSUER = write_name(make.name(C="CH", O="Example", CN="scepd Devices CA"))
SUBJECT = write_name(make.name(CN="r1.example.net"))


def refused(plaintext):
    with pytest.raises(Reject) as caught:
        lookup.parse_issuer_and_serial(plaintext)
    assert caught.value.reason is Reason.lookup_unreadable
    assert caught.value.fail_info is FailInfo.badCertId
    return caught.value.detail


@given(st.integers(0, 2**256 - 1))
def test_C225_what_we_build_is_read_back_and_is_what_asn1crypto_reads(serial):
    built = lookup.build_issuer_and_serial(ISSUER, serial)
    assert lookup.parse_issuer_and_serial(built) == (ISSUER, serial)
    independent = cms.IssuerAndSerialNumber.load(built, strict=True)
    assert (independent["issuer"].dump(), independent["serial_number"].native) == (ISSUER, serial)


def test_C225_what_asn1crypto_builds_is_read():
    issuer = asn1_x509.Name.build({"common_name": "CA"})
    built = cms.IssuerAndSerialNumber({"issuer": issuer, "serial_number": 2**70 + 5}).dump()
    assert lookup.parse_issuer_and_serial(built) == (issuer.dump(), 2**70 + 5)


def test_C211_an_issuer_and_subject_is_a_sequence_of_two_names():
    parts = core.SequenceOf.load(lookup.build_issuer_and_subject(ISSUER, SUBJECT), spec=asn1_x509.Name)
    assert [part.dump() for part in parts] == [ISSUER, SUBJECT]


@pytest.mark.parametrize(
    ("plaintext", "word"),
    [
        (b"", "cut off"),
        (lookup.build_issuer_and_serial(ISSUER, 5)[:-1], "longer"),
        (lookup.build_issuer_and_serial(ISSUER, 5) + b"\0", "trailing"),
        (lookup.build_issuer_and_serial(ISSUER, 5) * 2, "trailing"),
        (tlv.sequence(ISSUER), "missing"),
        (tlv.sequence(ISSUER, tlv.integer(5), tlv.null()), "too many"),
        (tlv.sequence(tlv.integer(5), ISSUER), "tag"),
        (tlv.set_of([ISSUER, tlv.integer(5)]), "tag"),
        (tlv.sequence(tlv.sequence(tlv.integer(1)), tlv.integer(5)), "no name"),
        (tlv.sequence(ISSUER, tlv.integer(-5)), "negative"),
        (tlv.sequence(ISSUER, tlv.write(tlv.INTEGER, b"\0\x05")), "shortest"),
        (tlv.sequence(ISSUER, tlv.write(tlv.INTEGER)), "without octets"),
        (tlv.sequence(ISSUER, tlv.integer(2**264)), "too long"),
        (tlv.sequence(*[tlv.null()] * 600), "too many"),
        (b"\x30\x80" + ISSUER + tlv.integer(5) + b"\0\0", "deep"),
        (b"\x30\x81\x05" + tlv.sequence() + tlv.integer(5), "shortest"),
    ],
)
def test_C109_S05_anything_else_is_unreadable(plaintext, word):
    assert word in refused(plaintext)


def test_C109_a_certification_request_is_unreadable_as_a_lookup():
    refused(make.csr())


def test_C109_an_issuer_and_subject_is_unreadable_as_a_lookup():
    refused(lookup.build_issuer_and_subject(ISSUER, SUBJECT))


@given(st.binary(max_size=64))
def test_S05_no_octets_raise_anything_but_a_refusal(octets):
    with contextlib.suppress(Reject):
        issuer, serial = lookup.parse_issuer_and_serial(octets)
        assert lookup.build_issuer_and_serial(issuer, serial) == octets
