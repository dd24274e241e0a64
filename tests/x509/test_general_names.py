"""Subject alternative names as requests wish for them, and as certificates carry them."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from scepd.message import tlv
from scepd.records import GeneralName
from scepd.refusal import Reason, Reject
from scepd.x509.general_names import (
    from_x509_general_name,
    general_name_from_text,
    general_names_from_extension,
    general_names_of,
    to_x509_general_name,
)

UPN = "1.3.6.1.4.1.311.20.2.3"


def context(number, content):
    return tlv.implicit(number, content, constructed=False)


def other(oid, value):
    return tlv.implicit(0, tlv.oid(oid) + tlv.explicit(0, value), constructed=True)


def read(*names):
    return general_names_from_extension(tlv.sequence(*names))


@pytest.mark.parametrize(
    ("name", "der"),
    [
        (GeneralName("dns", "r1.example.com"), context(2, b"R1.Example.COM")),
        (GeneralName("dns", "router-1"), context(2, b"router-1")),
        (GeneralName("dns", "1.2.3.4a"), context(2, b"1.2.3.4a")),
        (GeneralName("email", "a.b@example.com"), context(1, b"a.b@Example.com")),
        (GeneralName("uri", "urn:uuid:7"), context(6, b"urn:uuid:7")),
        (GeneralName("ip", "192.0.2.7"), context(7, bytes([192, 0, 2, 7]))),
        (GeneralName("ip", "2001:db8::1"), context(7, ipaddress.ip_address("2001:db8::1").packed)),
        (GeneralName("registered_id", "1.2.3"), context(8, b"\x2a\x03")),
        (GeneralName("directory", "3000"), tlv.explicit(4, b"\x30\0")),
        (GeneralName("upn", "a@example.com"), other(UPN, tlv.utf8("a@example.com"))),
    ],
)
def test_S54_names_of_each_kind(name, der):
    assert read(der) == (name,)
    if name.kind != "directory":
        assert from_x509_general_name(to_x509_general_name(name)) == name


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x30\0",
        b"\x31\x03\x82\x01a",
        b"\x30\x80\x82\x01a\0\0",
        tlv.sequence(context(2, b"a")) + b"\0",
        tlv.sequence(*[context(2, b"a%d" % n) for n in range(101)]),
        tlv.sequence(context(2, b"")),
        tlv.sequence(context(2, b" ")),
        tlv.sequence(context(2, b"*.corp")),
        tlv.sequence(context(2, b"a.example.com.")),
        tlv.sequence(context(2, b"a..b")),
        tlv.sequence(context(2, b"-a.b")),
        tlv.sequence(context(2, b"a_b")),
        tlv.sequence(context(2, b"192.0.2.7")),
        tlv.sequence(context(2, b"good.example\0.evil")),
        tlv.sequence(context(2, "bücher.example".encode())),
        tlv.sequence(context(2, b"\xc0\xae")),
        tlv.sequence(context(2, b"a." * 127 + b"a")),
        tlv.sequence(context(2, b"a" * 64)),
        tlv.sequence(tlv.implicit(2, tlv.octet_string(b"a"), constructed=True)),
        tlv.sequence(context(1, b"nobody")),
        tlv.sequence(context(1, b"a@b@c")),
        tlv.sequence(context(1, b"a@-b")),
        tlv.sequence(context(1, b"a" * 65 + b"@b")),
        tlv.sequence(context(6, b"/relative")),
        tlv.sequence(context(6, b"http:")),
        tlv.sequence(context(6, b"http://x/ y")),
        tlv.sequence(context(6, b"http://x/" + b"y" * 2048)),
        tlv.sequence(context(7, bytes(5))),
        tlv.sequence(context(7, bytes(8))),
        tlv.sequence(context(7, b"")),
        tlv.sequence(tlv.implicit(3, b"", constructed=True)),
        tlv.sequence(tlv.implicit(5, b"", constructed=True)),
        tlv.sequence(tlv.explicit(4, b"\x30\0") + tlv.explicit(9, b"\x30\0")),
        tlv.sequence(tlv.utf8("a")),
        tlv.sequence(context(8, b"")),
        tlv.sequence(other("1.2.3", tlv.utf8("a"))),
        tlv.sequence(other(UPN, tlv.printable("a"))),
        tlv.sequence(other(UPN, tlv.utf8("a\0"))),
        tlv.sequence(other(UPN, tlv.utf8("a\u202e"))),
        tlv.sequence(other(UPN, b"\x0c\x01\xff")),
        tlv.sequence(other(UPN, tlv.utf8("a") + tlv.utf8("b"))),
        tlv.sequence(tlv.implicit(0, tlv.oid(UPN), constructed=True)),
        tlv.sequence(tlv.implicit(0, tlv.oid(UPN) + tlv.explicit(0, tlv.utf8("a")) + tlv.null(), constructed=True)),
    ],
)
def test_S54_S56_everything_else_is_refused(value):
    with pytest.raises(Reject) as refused:
        general_names_from_extension(value)
    assert refused.value.reason is Reason.name_refused


@given(st.binary(max_size=80))
def test_S54_any_octets_are_names_or_refused(octets):
    for value in (octets, tlv.sequence(octets), tlv.sequence(context(2, octets))):
        try:
            names = general_names_from_extension(value)
        except Reject as refusal:
            outcome = refusal.reason
        else:
            outcome = names
        assert outcome is Reason.name_refused or len(outcome) > 0


def test_S54_directory_names_are_not_certified():
    with pytest.raises(Reject):
        to_x509_general_name(GeneralName("directory", "3000"))
    with pytest.raises(ValueError, match="not certified"):
        from_x509_general_name(x509.DirectoryName(x509.Name([])))
    with pytest.raises(ValueError, match="not certified"):
        from_x509_general_name(x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\0"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("dns:R1.Example.NET", GeneralName("dns", "r1.example.net")),
        ("ip:2001:DB8:0::1", GeneralName("ip", "2001:db8::1")),
        ("email:me@Example.NET", GeneralName("email", "me@example.net")),
        ("uri:urn:x:1", GeneralName("uri", "urn:x:1")),
        ("upn:\xfc@example.net", GeneralName("upn", "\xfc@example.net")),
    ],
)
def test_S54_a_name_in_words_is_read_as_a_certificate_has_it(text, name):
    assert general_name_from_text(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns",
        "dns:",
        "DNS:x",
        "dns:\xfc",
        "dns:a..b",
        "dns:*.example.net",
        "ip:999.1.1.1",
        "ip:10.0.0.0/8",
        "email:x",
        "email:\xfc@example.net",
        "uri:x",
        "upn: x",
        "upn:\ud800",
        "directory:3000",
        "registered_id:1.2.3",
    ],
)
def test_S54_words_that_are_no_name_are_none(text):
    assert general_name_from_text(text) is None


def certificate_with(*names):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, moment, moment + timedelta(days=1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


def test_names_are_read_from_a_certificate():
    address = x509.IPAddress(ipaddress.ip_address("192.0.2.7"))
    found = general_names_of(certificate_with(x509.DNSName("R1.example.com"), address))
    assert found == (GeneralName("dns", "R1.example.com"), GeneralName("ip", "192.0.2.7"))
    assert general_names_of(certificate_with()) == ()
    with pytest.raises(ValueError, match="DirectoryName is not certified"):
        general_names_of(certificate_with(x509.DirectoryName(x509.Name([]))))
