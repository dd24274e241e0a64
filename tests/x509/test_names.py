"""Names between values, text and DER."""

import pytest
from asn1crypto import x509 as oracle
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from scepd.records import Attribute
from scepd.refusal import OperatorError, Reason, Reject
from scepd.x509.names import OIDS, common_name, encode, from_text, from_x509, to_text, to_x509
from tests.x509.material import leaf, openssl, pem

CN, COUNTRY, ORG, UNIT = OIDS["CN"], OIDS["C"], OIDS["O"], OIDS["OU"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", ()),
        ("CN=r1", ((Attribute(CN, "r1"),),)),
        ("CN=r1,O=Example", ((Attribute(ORG, "Example"),), (Attribute(CN, "r1"),))),
        (
            "CN=r1+serialNumber=7,C=CH",
            ((Attribute(COUNTRY, "CH"),), (Attribute(CN, "r1"), Attribute(OIDS["serialNumber"], "7"))),
        ),
        ("CN=a\\,b\\+c\\=d", ((Attribute(CN, "a,b+c=d"),),)),
        ("CN=\\#1", ((Attribute(CN, "#1"),),)),
        ('CN=\\"q\\" \\<x\\>\\;\\\\', ((Attribute(CN, '"q" <x>;\\'),),)),
        ("CN=Zürich", ((Attribute(CN, "Zürich"),),)),
        ("1.2.3.4=x", ((Attribute("1.2.3.4", "x"),),)),
    ],
)
def test_text_and_name_are_each_others_inverse(text, name):
    assert from_text(text) == name
    assert to_text(name) == text


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (" cn = r1 , o = Example ", "CN=r1,O=Example"),
        ("commonname=x", None),
        ("E=a@example.com", "emailAddress=a@example.com"),
        ("S=Bern", "ST=Bern"),
        ("CN=Z\\C3\\BCrich", "CN=Zürich"),
        ("CN=a\\ b", "CN=a b"),
        ("=x", None),
        ("CN", None),
        ("CN=r1,,O=x", None),
        ("CN=", None),
        ("CN=\\ ", None),
        ("C=CHE", None),
        ("9.9=x", None),
        ("CN=a\\00b", None),
    ],
)
def test_text_as_people_write_it(text, same):
    if same is None:
        with pytest.raises(OperatorError):
            from_text(text)
    else:
        assert to_text(from_text(text)) == same


@given(st.text(min_size=1, max_size=20))
def test_S56_any_value_survives_text_and_steers_no_terminal(value):
    shown = to_text(((Attribute("1.2.3.4", value),),))
    assert not any(ord(character) < 32 for character in shown)
    if not any(0xD800 <= ord(character) < 0xE000 for character in value):
        assert from_text(shown) == ((Attribute("1.2.3.4", value),),)


def test_S56_a_bidirectional_mark_is_shown_as_octets():
    assert to_text(((Attribute(CN, "a\u202eb"),),)) == "CN=a\\E2\\80\\AEb"
    assert to_text(((Attribute("1.2.3.4", " a "),),)) == "1.2.3.4=\\ a\\ "


def test_text_is_openssls():
    shown = openssl("x509", "-noout", "-subject", "-nameopt", "RFC2253", stdin=pem(leaf()))[1]
    assert shown.strip() == "subject=" + to_text(from_x509(x509.load_der_x509_certificate(leaf()).subject))


def test_C286_der_is_utf8_and_printable_as_asn1crypto_reads_it():
    name = (
        (Attribute(COUNTRY, "CH"),),
        (Attribute(OIDS["DC"], "example"),),
        (Attribute(ORG, "Exämple"),),
        (Attribute(CN, "r1", 19), Attribute(UNIT, "a_b", 19)),
        (Attribute(OIDS["emailAddress"], "a@example.com"),),
    )
    parsed = oracle.Name.load(encode(name))
    assert parsed.native == {
        "country_name": "CH",
        "domain_component": "example",
        "organization_name": "Exämple",
        "common_name": "r1",
        "organizational_unit_name": "a_b",
        "email_address": "a@example.com",
    }
    tags = {a.oid: a.tag for rdn in from_x509(to_x509(name)) for a in rdn}
    assert tags == {COUNTRY: 19, OIDS["DC"]: 22, ORG: 12, CN: 19, UNIT: 12, OIDS["emailAddress"]: 22}


@pytest.mark.parametrize("short", sorted(OIDS))
def test_C286_upper_bounds_refuse_and_never_truncate(short):
    bounds = {"C": 2, "UID": 256, "DC": 63, "L": 128, "ST": 128, "STREET": 128, "pseudonym": 128}
    bounds |= dict.fromkeys(("emailAddress", "unstructuredName", "unstructuredAddress"), 255)
    bound = bounds.get(short, 64)
    fits = Attribute(OIDS[short], "A" * bound)
    assert from_x509(to_x509(((fits,),)))[0][0].value == "A" * bound
    with pytest.raises(Reject) as refused:
        to_x509(((Attribute(OIDS[short], "A" * (bound + 1)),),))
    assert refused.value.reason is Reason.subject_refused


def test_C286_the_common_names_bound_counts_octets():
    assert encode(((Attribute(CN, "é" * 32),),))
    with pytest.raises(Reject, match="longer"):
        encode(((Attribute(CN, "é" * 33),),))


@pytest.mark.parametrize(
    "value",
    [
        "",
        " a",
        "a ",
        "good.example\0.evil",
        "a\nb",
        "a\x7f",
        "a\u202eb",
        "a\u200bb",
        "\ufeffa",
        "\ud800",
        "\ue000",
        "a\u2028b",
        "\U000e0001",
        "a\u00a0",
    ],
)
def test_S56_strings_that_deceive_are_refused(value):
    with pytest.raises(Reject) as refused:
        encode(((Attribute(CN, value),),))
    assert refused.value.reason is Reason.subject_refused


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        ("1.2.3.4", "x"),
        (COUNTRY, "ch"),
        (COUNTRY, "X1"),
        (OIDS["serialNumber"], "a_b"),
        (OIDS["dnQualifier"], "ä"),
        (OIDS["emailAddress"], "ä@example.com"),
        (OIDS["DC"], "exämple"),
    ],
)
def test_S53_attributes_that_no_certificate_carries(oid, value):
    with pytest.raises(Reject) as refused:
        encode(((Attribute(oid, value),),))
    assert refused.value.reason is Reason.subject_refused


def test_the_common_name_is_the_first():
    assert common_name(from_text("O=Example")) is None
    assert common_name(from_text("CN=b,O=x,CN=a")) == "a"


def test_octets_in_a_name_are_shown_as_hex():
    unique = x509.NameAttribute(x509.NameOID.X500_UNIQUE_IDENTIFIER, b"\1\2", x509.name._ASN1Type.BitString)
    assert to_text(from_x509(x509.Name([unique]))) == "2.5.4.45=0102"
