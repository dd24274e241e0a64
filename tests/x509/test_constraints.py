"""Name constraints of an issuer (RFC 5280 section 4.2.1.10)."""

import ipaddress

import pytest
from cryptography import x509

from scepd.x509.constraints import violated
from tests.x509.material import url

SUBJECT = x509.Name.from_rfc4514_string("CN=r1,O=Example")
DNS, EMAIL, IP, DIR = x509.DNSName, x509.RFC822Name, x509.IPAddress, x509.DirectoryName


def network(text):
    return IP(ipaddress.ip_network(text))


def address(text):
    return IP(ipaddress.ip_address(text))


def directory(text):
    return DIR(x509.Name.from_rfc4514_string(text))


def host(base):
    return EMAIL._init_without_validation(base)


@pytest.mark.parametrize(
    ("base", "name", "inside"),
    [
        (DNS("example.com"), DNS("r1.example.com"), True),
        (DNS("example.com"), DNS("EXAMPLE.com"), True),
        (DNS(".example.com"), DNS("r1.example.com"), True),
        (DNS("example.com"), DNS("badexample.com"), False),
        (DNS(""), DNS("r1"), True),
        (network("192.0.2.0/24"), address("192.0.2.7"), True),
        (network("192.0.2.0/24"), address("192.0.3.7"), False),
        (network("192.0.2.0/24"), address("::1"), False),
        (host("a@example.com"), EMAIL("a@example.com"), True),
        (host("a@example.com"), EMAIL("b@example.com"), False),
        (host("example.com"), EMAIL("b@example.com"), True),
        (host("example.com"), EMAIL("b@x.example.com"), False),
        (host(".example.com"), EMAIL("b@x.example.com"), True),
        (url(".example.com"), url("https://x.example.com/a"), True),
        (url("x.example.com"), url("https://x.example.com/a"), True),
        (url("example.com"), url("urn:uuid:7"), False),
        (directory("O=Example"), directory("CN=r1,O=Example"), True),
        (directory("O=Other"), directory("CN=r1,O=Example"), False),
    ],
)
def test_S57_subtrees_of_each_kind(base, name, inside):
    permits = x509.NameConstraints([base], None)
    excludes = x509.NameConstraints(None, [base])
    subject = x509.Name([])
    assert (violated(permits, subject, [name]) is None) is inside
    assert (violated(excludes, subject, [name]) is None) is not inside


def test_S57_a_kind_without_constraints_is_free():
    assert violated(x509.NameConstraints([DNS("example.com")], None), SUBJECT, [address("192.0.2.7")]) is None


def test_S57_the_subject_is_a_directory_name_and_its_mail_addresses_count():
    assert "not permitted" in violated(x509.NameConstraints([directory("O=Other")], None), SUBJECT, [])
    assert violated(x509.NameConstraints([directory("O=Example")], None), SUBJECT, []) is None
    mail = x509.Name.from_rfc4514_string("1.2.840.113549.1.9.1=a@evil.example")
    only = x509.NameConstraints([host("example.com")], None)
    assert "evil" in violated(only, mail, [])
    assert violated(only, mail, [EMAIL("a@example.com")]) is None


def test_S57_what_cannot_be_compared_is_forbidden():
    identifier = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    assert "not permitted" in violated(x509.NameConstraints([identifier], None), SUBJECT, [identifier])
    assert "excluded" in violated(x509.NameConstraints(None, [identifier]), SUBJECT, [identifier])
