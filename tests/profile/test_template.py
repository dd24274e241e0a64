"""What a request gets from a profile: nothing but what the profile lets through."""

import re
from datetime import timedelta
from functools import cache
from ipaddress import ip_network

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.message import tlv
from scepd.message.csr import build_csr, parse_csr
from scepd.message.csr_attributes import Extension
from scepd.profile.model import NamePolicy, Profile, SubjectPolicy
from scepd.profile.template import make_template
from scepd.records import Attribute, GeneralName, Identity
from scepd.refusal import FailInfo, Reason, Reject
from scepd.x509.names import OIDS, from_text, to_text
from scepd.x509.usages import purpose_oid

ALICE = Identity("one-time", "challenge 1")
SAN, KU, EKU, BC = "2.5.29.17", "2.5.29.15", "2.5.29.37", "2.5.29.19"
UPN = "1.3.6.1.4.1.311.20.2.3"
SID = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500"


@cache
def key():
    return ec.generate_private_key(ec.SECP256R1())


def csr(subject="CN=r1.example.com,O=Example", *extensions):
    name = from_text(subject) if isinstance(subject, str) else subject
    return parse_csr(build_csr(subject=name, private_key=key(), challenge="x", extensions=extensions))


def names(*values, critical=False):
    return Extension(SAN, critical, tlv.sequence(*values))


def context(number, content):
    return tlv.implicit(number, content, constructed=False)


def dns(text):
    return context(2, text.encode())


def uri(text):
    return context(6, text.encode())


def ip(*octets):
    return context(7, bytes(octets))


def upn(text):
    return tlv.implicit(0, tlv.oid(UPN) + tlv.explicit(0, tlv.utf8(text)), constructed=True)


def make(request, identity=ALICE, **fields):
    return make_template(Profile(name="routers", **fields), request, identity)


def refused(reason, request, identity=ALICE, **fields):
    with pytest.raises(Reject) as caught:
        make(request, identity, **fields)
    assert (caught.value.reason, caught.value.fail_info) == (reason, FailInfo.badRequest)
    return caught.value.detail


def test_C156_S53_the_template_is_the_profiles():
    template = make(
        csr(),
        key_usage=frozenset({"digitalSignature"}),
        extended_key_usage=("serverAuth",),
        validity=timedelta(days=7),
        backdate=timedelta(hours=1),
    )
    assert to_text(template.subject) == "CN=r1.example.com,O=Example"
    assert template.names == ()
    assert template.key_usage == {"digitalSignature"}
    assert template.extended_key_usage == ("serverAuth",)
    assert (template.validity, template.backdate) == (timedelta(days=7), timedelta(hours=1))
    # Where things are published is the word of the issuer that signs, which a rollover changes.
    assert (template.crl_urls, template.ocsp_urls, template.issuer_urls) == ((), (), ())


# Subject (S-53)


def test_S53_the_usual_attributes_of_real_clients_pass():
    subject = "C=CH,O=Example,OU=a,OU=b,ST=Bern,L=Bern,CN=r1,serialNumber=FTX1+unstructuredName=r1.example.com"
    assert to_text(make(csr(subject)).subject) == subject


@pytest.mark.parametrize(
    "subject",
    [
        "CN=r1,emailAddress=admin@example.com",
        "CN=r1,DC=corp",
        "CN=r1,UID=root",
        "CN=r1,title=boss",
        "CN=r1,1.2.3.4=x",
        "CN=a,CN=b",
        "CN=a+CN=b",
        "CN=a,O=x,O=y",
        "CN=a,C=CH,C=US",
        "",
    ],
)
def test_S53_everything_else_is_refused(subject):
    refused(Reason.subject_refused, csr(subject))


def test_S53_three_hundred_rdns_are_refused():
    refused(Reason.subject_refused, csr(tuple((Attribute(OIDS["OU"], f"u{n}"),) for n in range(300))))
    refused(Reason.subject_refused, csr((tuple(Attribute(OIDS["OU"], f"u{n}") for n in range(33)),)))


@pytest.mark.parametrize("value", ["a\0b", "a\u202eb", " a", "x" * 65])
def test_S56_C286_strings_that_deceive_are_refused(value):
    refused(Reason.subject_refused, csr(((Attribute(OIDS["CN"], value),),)))


@pytest.mark.parametrize("tag", [12, 19, 20, 28, 30])
def test_S56_every_string_type_is_read_and_none_but_ours_comes_out(tag):
    template = make(csr(((Attribute(OIDS["CN"], "r1", tag),),)))
    assert template.subject[0][0].value == "r1"


def test_S53_attributes_need_their_pattern_as_a_whole():
    policy = SubjectPolicy(patterns=(("CN", re.compile(r"r[0-9]+\.example\.com")), ("O", re.compile("Example"))))
    make(csr("CN=r1.example.com,O=Example"), subject=policy)
    make(csr("CN=r1.example.com,OU=any"), subject=policy)
    for subject in ("CN=Administrator", "CN=r1.example.com.evil", "CN=xr1.example.com", "CN=r1.example.com,O=Other"):
        refused(Reason.subject_refused, csr(subject), subject=policy)


FIXED = SubjectPolicy(
    fixed=(Attribute(OIDS["O"], "Example"), Attribute(OIDS["OU"], "Routers"), Attribute(OIDS["OU"], "Edge"))
)


@pytest.mark.parametrize(
    ("wished", "given"),
    [
        ("CN=r1,OU=x,OU=y,O=Other,C=CH", "CN=r1,OU=Edge,OU=Routers,O=Example,C=CH"),
        ("CN=r1", "CN=r1,OU=Edge,OU=Routers,O=Example"),
        ("O=Other,CN=r1,C=CH", "O=Example,CN=r1,C=CH,OU=Edge,OU=Routers"),
        ("CN=r1+O=Other", "O=Example,CN=r1,OU=Edge,OU=Routers"),
    ],
)
def test_S53_fixed_attributes_replace_in_place_and_lead(wished, given):
    assert to_text(make(csr(wished), subject=FIXED).subject) == given
    nothing_else = attrs.evolve(FIXED, allow=("CN", "C"))
    assert to_text(make(csr(wished), subject=nothing_else).subject) == given


def test_C140_an_empty_subject_needs_a_profile_that_builds_it():
    refused(Reason.subject_refused, csr(""))
    fixed = SubjectPolicy(fixed=(Attribute(OIDS["CN"], "device"),))
    assert to_text(make(csr(""), subject=fixed).subject) == "CN=device"


def test_S53_required_attributes_must_come_from_somewhere():
    policy = SubjectPolicy(required=("CN", "serialNumber"))
    make(csr("CN=r1,serialNumber=7"), subject=policy)
    assert "serialNumber is missing" in refused(Reason.subject_refused, csr("CN=r1"), subject=policy)
    with_fixed = attrs.evolve(policy, fixed=(Attribute(OIDS["serialNumber"], "7"),))
    make(csr("CN=r1"), subject=with_fixed)


# Alternative names (S-54, S-55, S-57, C-157, C-159)


def test_C157_C159_S54_by_default_the_common_name_alone_may_be_a_dns_name():
    assert make(csr("CN=R1.example.com", names(dns("r1.EXAMPLE.com")))).names == (GeneralName("dns", "r1.example.com"),)
    for value in (dns("r2.example.com"), dns("example.com"), ip(192, 0, 2, 7), uri("urn:x"), context(1, b"a@b")):
        refused(Reason.name_refused, csr("CN=r1.example.com", names(value)))
    refused(Reason.name_refused, csr("O=Example", names(dns("r1"))))


def test_C159_no_name_is_added_that_was_not_wished():
    assert make(csr("CN=r1.example.com")).names == ()
    assert make(csr(), names=NamePolicy(dns=("*",))).names == ()


def test_C159_S54_listing_names_ends_the_common_names_privilege():
    listed = NamePolicy(dns=("*.example.com",))
    make(csr("CN=evil.example", names(dns("r1.example.com"))), names=listed)
    refused(Reason.name_refused, csr("CN=evil.example", names(dns("evil.example"))), names=listed)
    both = attrs.evolve(listed, common_name=True)
    make(csr("CN=evil.example", names(dns("evil.example"))), names=both)
    neither = NamePolicy(common_name=False)
    refused(Reason.name_refused, csr("CN=r1", names(dns("r1"))), names=neither)


@pytest.mark.parametrize(
    ("policy", "value", "allowed"),
    [
        ({"dns": ("r1.example.com",)}, dns("r1.example.com"), True),
        ({"dns": ("r1.example.com",)}, dns("r2.example.com"), False),
        ({"dns": ("r1.example.com",)}, dns("x.r1.example.com"), False),
        ({"dns": ("*.Example.com",)}, dns("a.b.example.com"), True),
        ({"dns": ("*.example.com",)}, dns("example.com"), False),
        ({"dns": ("*.example.com",)}, dns("badexample.com"), False),
        ({"dns": ("*",)}, dns("anything"), True),
        ({"dns": ("*",)}, dns("*.corp"), False),
        ({"dns": ("*",)}, ip(192, 0, 2, 7), False),
        ({"ip": (ip_network("192.0.2.0/24"),)}, ip(192, 0, 2, 7), True),
        ({"ip": (ip_network("192.0.2.0/24"),)}, ip(192, 0, 3, 7), False),
        ({"ip": (ip_network("0.0.0.0/0"), ip_network("::/0"))}, ip(0, 0, 0, 0), False),
        ({"ip": (ip_network("0.0.0.0/0"), ip_network("::/0"))}, ip(*bytes(16)), False),
        ({"ip": (ip_network("0.0.0.0/0"), ip_network("::/0"))}, ip(*bytes(15), 1), True),
        ({"email": ("A@example.com",)}, context(1, b"a@Example.com"), True),
        ({"email": ("a@example.com",)}, context(1, b"b@example.com"), False),
        ({"email": ("example.com",)}, context(1, b"b@example.com"), True),
        ({"email": ("example.com",)}, context(1, b"b@x.example.com"), False),
        ({"email": ("*.example.com",)}, context(1, b"b@x.example.com"), True),
        ({"uri": (re.compile("urn:device:[0-9]+"),)}, uri("urn:device:7"), True),
        ({"uri": (re.compile("urn:device:[0-9]+"),)}, uri("urn:device:7x"), False),
        ({"uri": (re.compile(".*"),)}, uri(SID), False),
        ({"uri": (re.compile(".*"),)}, uri(SID.upper()), False),
        ({"dns": ("*",), "uri": (re.compile(".*"),)}, upn("administrator@corp"), False),
        ({"dns": ("*",)}, context(8, b"\x2a\x03"), False),
        ({"dns": ("*",)}, tlv.explicit(4, b"\x30\0"), False),
        ({"dns": ("*",)}, tlv.implicit(3, b"", constructed=True), False),
        ({"dns": ("*",)}, tlv.implicit(0, tlv.oid("1.2.3") + tlv.explicit(0, tlv.null()), constructed=True), False),
    ],
)
def test_S54_names_by_kind_and_pattern(policy, value, allowed):
    request = csr("CN=r1", names(value))
    if allowed:
        assert len(make(request, names=NamePolicy(**policy)).names) == 1
    else:
        refused(Reason.name_refused, request, names=NamePolicy(**policy))


def test_S54_one_bad_name_refuses_all_and_copies_are_dropped():
    policy = NamePolicy(dns=("*.example.com",))
    refused(Reason.name_refused, csr("CN=r1", names(dns("a.example.com"), dns("b.example.net"))), names=policy)
    template = make(csr("CN=r1", names(dns("a.example.com"), dns("A.example.com"))), names=policy)
    assert template.names == (GeneralName("dns", "a.example.com"),)


def test_S54_criticality_is_ours_to_decide():
    assert make(csr("CN=r1", names(dns("r1"), critical=True))).names == (GeneralName("dns", "r1"),)


def test_C157_S54_an_empty_or_malformed_extension_is_refused():
    for value in (b"\x30\0", b"", b"\x05\0"):
        refused(Reason.name_refused, csr("CN=r1", Extension(SAN, False, value)))


@pytest.mark.parametrize(
    ("vouched", "value", "allowed"),
    [
        ((), upn("r1@corp"), False),
        (("upn:r1@corp",), upn("r1@corp"), True),
        (("upn:r1@corp",), upn("administrator@corp"), False),
        ((), uri(SID), False),
        ((f"uri:{SID}",), uri(SID), True),
        ((f"uri:{SID}",), uri(SID.replace("500", "501")), False),
        (("dns:r9.example.net",), dns("R9.example.net"), True),
        (("dns:r9.example.net",), dns("r8.example.net"), False),
        (("registered_id:1.2.3",), context(8, b"\x2a\x03"), False),
    ],
)
def test_C159_S55_names_that_the_authenticator_vouches_for(vouched, value, allowed):
    identity = attrs.evolve(ALICE, names=vouched)
    if allowed:
        assert len(make(csr("CN=r1", names(value)), identity).names) == 1
    else:
        refused(Reason.name_refused, csr("CN=r1", names(value)), identity)


def test_S55_a_security_identifier_extension_is_refused():
    refused(Reason.extension_refused, csr("CN=r1", Extension("1.3.6.1.4.1.311.25.2", False, b"\x30\0")))


@pytest.mark.parametrize("value", [dns("SCEP.example.com"), ip(192, 0, 2, 1)])
def test_S57_the_appliances_own_names_are_nobodys(value):
    policy = NamePolicy(
        dns=("*",), ip=(ip_network("0.0.0.0/0"),), reserved=frozenset({"scep.example.com", "192.0.2.1"})
    )
    identity = attrs.evolve(ALICE, names=("dns:scep.example.com",))
    refused(Reason.name_refused, csr("CN=r1", names(value)), identity, names=policy)
    refused(Reason.name_refused, csr("CN=Scep.example.com"), names=policy)
    make(csr("O=Example"), names=policy)


# Other extensions (S-58 to S-63)


def wish(oid, value, critical=False):
    return csr("CN=r1", Extension(oid, critical, value))


def bits(unused, *octets):
    return bytes([3, 1 + len(octets), unused, *octets])


@pytest.mark.parametrize(
    "value",
    [
        bits(2, 0b0000_0100),
        bits(1, 0b0000_0010),
        bits(1, 0b1000_0110),
        bits(7, 0b1010_0100, 0x80),
        b"",
        b"\x03\0",
        bits(3),
        b"\x04\x02\0\4",
        b"\x23\x80\0\0",
    ],
)
def test_S58_ca_key_usages_in_any_form_are_refused(value):
    refused(Reason.extension_refused, wish(KU, value))


@pytest.mark.parametrize(
    "value", [bits(5, 0b1010_0000), bits(7, 0b1000_0000), bits(0), bits(3, 0b0000_1000), bits(7, 0, 0x80)]
)
def test_C157_other_key_usages_change_nothing(value):
    assert make(wish(KU, value, critical=True)).key_usage == {"digitalSignature", "keyEncipherment"}


@pytest.mark.parametrize(
    "value",
    [
        tlv.sequence(tlv.boolean(True)),
        tlv.sequence(b"\1\1\1"),
        tlv.sequence(tlv.boolean(True), tlv.integer(0)),
        tlv.sequence(tlv.boolean(False), tlv.integer(0)),
        tlv.sequence(tlv.integer(3)),
        tlv.sequence(tlv.null()),
        tlv.sequence(b"\1\0"),
        tlv.sequence(b"\1\2\0\0"),
        tlv.boolean(True),
        b"",
        b"\x30\x80\x01\x01\xff\0\0",
    ],
)
def test_S58_ca_constraints_in_any_encoding_are_refused(value):
    refused(Reason.extension_refused, wish(BC, value))


@pytest.mark.parametrize("value", [tlv.sequence(), tlv.sequence(tlv.boolean(False))])
def test_S58_an_end_entity_that_says_so_is_fine(value):
    make(wish(BC, value, critical=True))


@pytest.mark.parametrize(
    "word",
    [
        "anyExtendedKeyUsage",
        "OCSPSigning",
        "timeStamping",
        "codeSigning",
        "smartcardLogon",
        "cmcCA",
        "cmcRA",
        "cmcArchive",
        "certificateRequestAgent",
    ],
)
def test_S59_special_purposes_are_refused(word):
    value = tlv.sequence(tlv.oid(purpose_oid("clientAuth")), tlv.oid(purpose_oid(word)))
    refused(Reason.extension_refused, wish(EKU, value))


def test_S59_a_special_purpose_that_the_profile_lists_is_no_surprise():
    template = make(wish(EKU, tlv.sequence(tlv.oid(purpose_oid("codeSigning")))), extended_key_usage=("codeSigning",))
    assert template.extended_key_usage == ("codeSigning",)


@pytest.mark.parametrize(
    "value", [tlv.sequence(), b"", tlv.null(), tlv.sequence(tlv.integer(1)), tlv.sequence(b"\6\0")]
)
def test_S59_empty_and_malformed_purposes_are_refused(value):
    refused(Reason.extension_refused, wish(EKU, value))


@pytest.mark.parametrize("word", ["serverAuth", "clientAuth", "emailProtection", "1.2.3.4"])
def test_C157_S59_other_purposes_change_nothing(word):
    assert make(wish(EKU, tlv.sequence(tlv.oid(purpose_oid(word))))).extended_key_usage == ("clientAuth",)


@pytest.mark.parametrize(
    "oid",
    [
        "2.5.29.30",
        "2.5.29.33",
        "2.5.29.36",
        "2.5.29.54",
        "1.3.6.1.5.5.7.1.14",
        "1.3.6.1.5.5.7.48.1.5",
        "1.3.6.1.4.1.11129.2.4.2",
        "1.3.6.1.4.1.11129.2.4.3",
        "1.3.6.1.4.1.311.25.2",
    ],
)
def test_S58_S60_powers_and_tricks_are_refused(oid):
    refused(Reason.extension_refused, wish(oid, b"\x30\0"))


OURS = [
    "2.5.29.14",
    "2.5.29.35",
    "2.5.29.31",
    "2.5.29.46",
    "1.3.6.1.5.5.7.1.1",
    "1.3.6.1.5.5.7.1.24",
    "2.5.29.32",
    "2.5.29.18",
]
FEATURES = "1.3.6.1.5.5.7.1.24"


def features(*numbers):
    return wish(FEATURES, tlv.sequence(*map(tlv.integer, numbers)))


def test_C317_a_certificate_is_stapled_only_where_the_profile_and_somebody_say_so():
    plain = csr("CN=r1")
    for request, expected in ((plain, ()), (features(5), (5,)), (features(17, 5), (5,)), (features(17), ())):
        assert make(request).tls_features == ()
        assert make(request, must_staple="requested").tls_features == expected
        assert make(request, must_staple="always").tls_features == (5,)


@pytest.mark.parametrize("value", [b"", tlv.integer(5), tlv.sequence(tlv.null()), b"\x30\x80\2\1\5\0\0"])
def test_C319_features_that_cannot_be_read_are_refused_where_they_count(value):
    refused(Reason.extension_refused, wish(FEATURES, value), must_staple="requested")
    assert make(wish(FEATURES, value)).tls_features == ()


STRANGE = ["1.3.6.1.4.1.311.20.2", "1.3.6.1.4.1.311.21.7", "1.3.6.1.4.1.311.21.10", "2.16.840.1.113730.1.1", "1.2.3.4"]


@pytest.mark.parametrize("oid", OURS)
def test_S60_S63_C319_pointers_and_features_are_ours_only(oid):
    expected = make(csr("CN=r1"))
    for switch in ("drop", "refuse"):
        assert make(wish(oid, b"\x30\3\2\1\5"), unknown_extensions=switch) == expected


@pytest.mark.parametrize("oid", STRANGE)
def test_S61_C157_foreign_extensions_are_dropped_or_refused(oid):
    assert make(wish(oid, b"anything", critical=True)) == make(csr("CN=r1"))
    refused(Reason.extension_refused, wish(oid, b"anything"), unknown_extensions="refuse")


def test_C145_C157_S62_duplicates_are_faults_of_the_request():
    twice = csr("CN=r1", names(dns("r1")), names(dns("r1")))
    with pytest.raises(Reject) as caught:
        twice.check()
    assert caught.value.reason is Reason.csr_invalid


def test_S62_the_powers_are_judged_in_every_copy():
    good, bad = Extension(BC, False, tlv.sequence()), Extension(BC, False, tlv.sequence(tlv.boolean(True)))
    for pair in ((good, bad), (bad, good)):
        refused(Reason.extension_refused, csr("CN=r1", *pair))
