"""Each lint rule passes what we draft and finds what breaks it."""

import ipaddress
from datetime import timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID as Access
from cryptography.x509.oid import NameOID

from scepd.message import tlv
from scepd.x509.draft import EC_ALGORITHMS, RSA_ALGORITHMS, split
from scepd.x509.fields import tbs_fields
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.lint import RULES, Finding, lint
from tests.x509.material import (
    NOW,
    bend,
    ca_der,
    certificate,
    draft,
    ec_key,
    ed_key,
    frame,
    issuer,
    leaf,
    ocsp,
    purposes,
    ra,
    raw,
    rsa_key,
    sub_ca,
    tls,
    url,
    usage,
)

SHA384_RSA = next(der for der, digest in RSA_ALGORITHMS.items() if digest.name == "sha384")
SHA256_EC = next(iter(EC_ALGORITHMS))


def good(kind):
    return {
        "leaf": lambda: (draft().der, issuer()),
        "ca": lambda: (ca_der(), None),
        "crossed": lambda: (sub_ca(issuer(path_length=1), like=elder()).der, issuer(path_length=1)),
        "ra": lambda: (ra().der, issuer()),
        "tls": lambda: (tls().der, issuer()),
        "ocsp": lambda: (ocsp().der, issuer()),
    }[kind]()


def outer(der, algorithm):
    tbs, _, signature = split(der)
    return frame(tbs_fields(tbs), algorithm, signature)


def both(der, algorithm):
    return outer(bend(der, 2, algorithm), algorithm)


def name(attribute, value, kind=None):
    return x509.Name([x509.NameAttribute(attribute, value, kind)])


def named(*names, critical=False):
    return certificate(names=(x509.SubjectAlternativeName(list(names)), critical))


def crl_point(**fields):
    whole = {"full_name": [url("http://x/")], "relative_name": None, "reasons": None, "crl_issuer": None, **fields}
    return certificate(points=(x509.CRLDistributionPoints([x509.DistributionPoint(**whole)]), False))


def access(location):
    return certificate(access=(x509.AuthorityInformationAccess([x509.AccessDescription(Access.OCSP, location)]), False))


def own_key():
    return rsa_key("ca").public_key()


def weak_key():
    return rsa.RSAPublicNumbers(65537, (1 << 767) + 12345).public_key()


def bare_ca(**changes):
    """Return a self-signed CA certificate with some extensions changed."""
    whole = {
        "constraints": (x509.BasicConstraints(ca=True, path_length=0), True),
        "usage": (usage("key_cert_sign", "crl_sign"), True),
        "purposes": None,
        "names": None,
        **changes,
    }
    return certificate(subject="CN=Device CA,O=Example,C=CH", key=own_key(), **whole)


def elder():
    """Return a CA of another maker: string types, a name and a key identifier that no certificate of ours would have."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Old & Co", T61), *[x509.NameAttribute(NameOID.COMMON_NAME, word) for word in ("Old CA", "R1 ")]])
    constraints, bits = x509.BasicConstraints(ca=True, path_length=0), usage("key_cert_sign", "crl_sign")
    identifier = x509.SubjectKeyIdentifier(bytes(range(12)))
    key = ec_key("sub").public_key()
    whole = {"constraints": (constraints, True), "usage": (bits, True), "purposes": None, "names": None}
    return IssuerCertificate.load(certificate(subject=subject, key=key, subject_key=(identifier, False), **whole))


# Rule -> (kind, a certificate that breaks it, its issuer unless it is the usual one).
PRINTABLE, T61 = x509.name._ASN1Type.PrintableString, x509.name._ASN1Type.T61String
VALIDITY_IN_WRONG_TYPE = tlv.sequence(b"\x18\x0f20260301120000Z", b"\x17\x0d270301120000Z")
FAILURES = {
    "version_is_3": ("leaf", lambda: bend(draft().der, 0, b"")),
    # cryptography still reads such a serial, with a warning
    "serial_is_positive": ("leaf", lambda: bend(draft().der, 1, tlv.integer(0))),
    "serial_fits": ("leaf", lambda: bend(draft().der, 1, tlv.integer(1 << 160))),
    "serial_is_random": ("leaf", lambda: bend(draft().der, 1, tlv.integer((1 << 63) - 1))),
    "signature_algorithm_is_known": (
        "leaf",
        lambda: both(draft().der, bytes.fromhex("300d06092a864886f70d0101050500")),
    ),
    "signature_algorithms_agree": ("leaf", lambda: outer(draft().der, SHA384_RSA)),
    "signature_algorithm_fits_issuer": ("leaf", lambda: both(draft().der, SHA256_EC)),
    "issuer_is_named": ("leaf", lambda: certificate(by=x509.Name([]))),
    "issuer_name_is_exact": ("leaf", lambda: certificate(by="CN=Device CA,O=Exemple,C=CH")),
    "validity_is_ordered": ("leaf", lambda: certificate(begin=NOW, end=NOW + timedelta(0))),
    "validity_is_within_issuer": ("leaf", lambda: certificate(end=issuer().not_after + timedelta(seconds=1))),
    "times_are_encoded_right": ("leaf", lambda: bend(draft().der, 4, VALIDITY_IN_WRONG_TYPE)),
    "subject_string_types": ("leaf", lambda: certificate(subject=name(NameOID.COMMON_NAME, "r1", T61))),
    "subject_values": ("leaf", lambda: certificate(subject=name(NameOID.COMMON_NAME, "r1\u202e"))),
    "subject_attributes_once": ("leaf", lambda: certificate(subject="CN=r1,CN=r2")),
    "subject_is_not_issuer": ("leaf", lambda: certificate(subject=issuer().certificate.subject)),
    "somebody_is_named": ("leaf", lambda: certificate(subject=x509.Name([]), names=None)),
    "no_unique_identifiers": ("leaf", lambda: _with_unique_identifier(draft().der)),
    "public_key_is_sound": ("leaf", lambda: certificate(key=weak_key())),
    "public_key_is_not_issuers": ("leaf", lambda: certificate(key=own_key())),
    "extensions_are_known": ("leaf", lambda: certificate(template=(raw("1.3.6.1.4.1.311.20.2", b"\x0c\0"), False))),
    "criticality": ("leaf", lambda: certificate(usage=(usage("digital_signature"), False))),
    "authority_key_identifier": ("leaf", lambda: certificate(authority_key=None)),
    "subject_key_identifier": ("leaf", lambda: certificate(subject_key=(x509.SubjectKeyIdentifier(b"no"), False))),
    "subject_key_identifier_is_present": ("crossed", lambda: bare_ca(subject_key=None), None),
    "key_usage_is_present": ("leaf", lambda: certificate(usage=None)),
    "key_usage_of_end_entity": ("leaf", lambda: certificate(usage=(usage("crl_sign"), True))),
    "key_usage_of_ca": ("ca", lambda: bare_ca(usage=(usage("key_cert_sign"), True)), None),
    "key_usage_fits_key": (
        "leaf",
        lambda: certificate(key=ec_key("device").public_key(), usage=(usage("key_encipherment"), True)),
    ),
    "end_entity_is_no_ca": ("leaf", lambda: certificate(constraints=(x509.BasicConstraints(True, None), True))),
    "ca_is_ca": ("ca", lambda: bare_ca(constraints=None), None),
    "path_length": ("ca", lambda: sub_ca(issuer(), 0).der),
    "purposes_are_present": ("leaf", lambda: certificate(purposes=None)),
    "purposes_of_device": ("leaf", lambda: certificate(purposes=(purposes("clientAuth", "OCSPSigning"), False))),
    "purposes_of_service": ("tls", lambda: certificate(purposes=(purposes("clientAuth"), False))),
    "responder_does_nothing_else": ("ocsp", lambda: certificate(purposes=(purposes("OCSPSigning"), False))),
    "purposes_fit_key_usage": ("leaf", lambda: certificate(usage=(usage("key_encipherment"), True))),
    "crl_distribution_points": ("leaf", lambda: crl_point(full_name=[url("ldap://x/")])),
    "authority_information_access": ("leaf", lambda: access(url("https://pki.example.com/ocsp"))),
    "tls_features_of_issuer": ("leaf", certificate, attrs.evolve(issuer(), tls_features=frozenset({5}))),
    "names_criticality": ("leaf", lambda: named(x509.DNSName("r1"), critical=True)),
    "names_are_well_formed": ("leaf", lambda: named(x509.DNSName("*.example.com"))),
    "names_are_unique": ("leaf", lambda: named(x509.DNSName("r1"), x509.DNSName("r1"))),
    "tls_server_is_named": ("tls", lambda: named(url("https://x/"))),
    "name_constraints_of_issuer": (
        "leaf",
        certificate,
        attrs.evolve(issuer(), name_constraints=x509.NameConstraints([x509.DNSName("example.net")], None)),
    ),
}


def _with_unique_identifier(der):
    tbs, algorithm, signature = split(der)
    fields = tbs_fields(tbs)
    return frame([*fields[:7], bytes.fromhex("81020055"), *fields[7:]], algorithm, signature)


def broken(findings):
    return {finding.rule for finding in findings}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_C284_every_rule_passes_what_we_draft(rule):
    for kind in rule.kinds:
        der, by = good(kind)
        assert lint(der, by, kind) == []


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_C275_C276_C278_C279_C280_C281_C282_C283_C285_C286_every_rule_finds_what_breaks_it(rule):
    kind, make, *by = FAILURES[rule.name]
    found = lint(make(), by[0] if by else issuer(), kind)
    assert rule.name in broken(found)
    assert all(finding.detail for finding in found)


def test_S109_a_responder_without_nocheck_is_refused():
    named = {"purposes": (purposes("OCSPSigning"), False), "usage": (usage("digital_signature"), True)}
    assert broken(lint(certificate(**named), issuer(), "ocsp")) == {"responder_does_nothing_else"}


def test_every_rule_has_its_failure_and_a_name_of_its_own():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert FAILURES.keys() == {rule.name for rule in RULES}


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30\0", leaf()[:-1], leaf() + b"\0", b"\x30\x03\x02\x01\x01"],
    ids=["empty", "hollow", "cut", "trailing", "other"],
)
def test_S110_what_cannot_be_read_may_not_be_signed(der):
    assert [finding.rule for finding in lint(der, issuer(), "leaf")] == ["readable"]


@pytest.mark.parametrize("index", range(8))
def test_S62_an_extension_twice_may_not_be_signed(index):
    tbs, algorithm, signature = split(draft().der)
    fields = tbs_fields(tbs)
    extensions = tlv.read(fields[7]).inner()
    twice = tlv.explicit(3, tlv.sequence(*[child.der for child in extensions.children], extensions.children[index].der))
    found = lint(frame([*fields[:7], twice], algorithm, signature), issuer(), "leaf")
    assert [finding.rule for finding in found] == ["readable"]


@pytest.mark.parametrize("critical", [tlv.boolean(True), b""])
@pytest.mark.parametrize("value", [bytes(19), bytes(20)])
def test_S62_C278_a_subject_key_identifier_twice_may_not_be_signed(critical, value):
    tbs, algorithm, signature = split(draft().der)
    fields = tbs_fields(tbs)
    extra = tlv.sequence(tlv.oid("2.5.29.14"), critical, tlv.octet_string(tlv.octet_string(value)))
    twice = tlv.explicit(3, tlv.sequence(tlv.read(fields[7]).inner().content, extra))
    found = lint(frame([*fields[:7], twice], algorithm, signature), issuer(), "leaf")
    assert [finding.rule for finding in found] == ["readable"]


def test_what_certificates_have_in_common_is_judged_for_each_issuer_and_kind():
    der = draft().der
    for _ in range(2):
        assert lint(der, issuer(), "leaf") == []
        assert "authority_key_identifier" in broken(lint(der, issuer("p256"), "leaf"))
        assert "signature_algorithm_fits_issuer" in broken(lint(der, issuer("p256"), "leaf"))
        assert broken(lint(der, issuer(), "ra")) == {"purposes_of_service"}
        assert "ca_is_ca" in broken(lint(der, issuer(), "ca"))


def test_an_unknown_key_type_may_not_be_signed():
    odd = tlv.sequence(tlv.sequence(tlv.oid("1.2.3.4")), tlv.bit_string(b"\1"))
    assert broken(lint(bend(draft().der, 6, odd), issuer(), "leaf")) == {"readable"}


def check(kind, der, *rules, by=None):
    assert broken(lint(der, by or issuer(), kind)) == set(rules)


def test_C276_times_until_2049_and_from_2050():
    long = issuer(end=NOW.replace(year=2051))
    early, late = NOW.replace(year=2049), NOW.replace(year=2050)
    check("leaf", draft(by=long, validity=early - NOW).der, by=long)
    der = draft(by=long, validity=late - NOW).der
    check("leaf", der, by=long)
    assert tbs_fields(split(der)[0])[4].endswith(b"\x18\x0f20500301120000Z")
    utc = tlv.sequence(b"\x17\x0d260301120000Z", b"\x17\x0d500301120000Z")
    assert "times_are_encoded_right" not in broken(lint(bend(der, 4, utc), long, "leaf"))  # that is the year 1950
    no_seconds = tlv.sequence(b"\x17\x0b2603011200Z", b"\x17\x0d270301120000Z")
    assert broken(lint(bend(der, 4, no_seconds), long, "leaf")) == {"readable"}


@pytest.mark.parametrize(
    "names",
    [
        [],
        [x509.IPAddress(ipaddress.ip_address("0.0.0.0"))],
        [x509.IPAddress(ipaddress.ip_address("::"))],
        [x509.DirectoryName(issuer().certificate.subject)],
        [x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\0")],
        [x509.DNSName(" ")],
        [x509.RFC822Name._init_without_validation("nobody@")],
        [url("/relative")],
        [x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), tlv.utf8("a\0b"))],
    ],
    ids=["none", "ip4", "ip6", "directory", "other", "space", "mailbox", "relative", "upn"],
)
def test_C281_S54_malformed_names(names):
    check("leaf", named(*names), "names_are_well_formed")


def test_C281_well_formed_names_of_each_kind():
    upn = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), tlv.utf8("r1@example.com"))
    identifier = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    check("leaf", named(x509.RFC822Name("a.b@example.com"), url("urn:uuid:1"), upn, identifier))


def test_C281_an_empty_subject_needs_critical_names():
    check("leaf", certificate(subject=x509.Name([])), "names_criticality")
    check("leaf", certificate(subject=x509.Name([]), names=(x509.SubjectAlternativeName([x509.DNSName("r1")]), True)))


@pytest.mark.parametrize(
    "word", ["anyExtendedKeyUsage", "OCSPSigning", "cmcCA", "cmcRA", "cmcArchive", "certificateRequestAgent"]
)
def test_S59_no_device_gets_an_authoritys_purpose(word):
    check("leaf", certificate(purposes=(purposes(word), False)), "purposes_of_device")


def test_S59_service_certificates_have_their_one_purpose():
    both_purposes = (purposes("certificateRequestAgent", "cmcRA"), False)
    check("ra", certificate(purposes=both_purposes), "purposes_of_service")
    check("ra", certificate(purposes=(purposes("serverAuth"), False)), "purposes_of_service")


def test_S59_purposes_that_no_rule_knows_need_no_usage():
    check("leaf", certificate(purposes=(purposes("1.2.3.4"), False)))


def test_S58_a_device_is_no_ca_in_any_way():
    check("leaf", certificate(constraints=None))
    path = (raw("2.5.29.19", bytes.fromhex("3003020100")), True)
    assert lint(certificate(constraints=path), issuer(), "leaf")


@pytest.mark.parametrize("oid", ["2.5.29.30", "2.5.29.33", "2.5.29.36", "2.5.29.46", "1.3.6.1.4.1.11129.2.4.3"])
def test_S60_foreign_extensions_are_found(oid):
    found = lint(certificate(other=(raw(oid, b"\x05\0"), True)), issuer(), "leaf")
    assert broken(found) & {"extensions_are_known", "readable"}


def test_C280_path_lengths():
    free = issuer(path_length=None)
    check("ca", sub_ca(free, None).der, by=free)
    two = issuer(path_length=2)
    check("ca", sub_ca(two, 1).der, by=two)
    check("ca", sub_ca(two, 2).der, "path_length", by=two)
    check("ca", sub_ca(two, None).der, "path_length", by=two)
    assert lint(bare_ca(), None, "ca") == []
    found = lint(certificate(constraints=None), two, "ca")
    assert "path_length" not in broken(found)


def test_C285_another_cas_name_and_key_identifier_may_be_what_they_are():
    by = issuer(path_length=1)
    der = sub_ca(by, like=elder()).der
    assert lint(der, by, "crossed") == []
    choices = {"subject_string_types", "subject_values", "subject_attributes_once", "subject_key_identifier"}
    assert broken(lint(der, by, "ca")) == choices
    assert broken(lint(bare_ca(usage=(usage("key_cert_sign"), True)), None, "crossed")) == {"key_usage_of_ca"}


def test_C279_a_ca_may_carry_name_constraints():
    constraints = x509.NameConstraints([x509.DNSName("example.com")], None)
    assert lint(bare_ca(constraints_of_names=(constraints, True)), None, "ca") == []


def test_C278_identifiers_of_a_self_signed_certificate():
    assert broken(lint(bare_ca(subject_key=None), None, "ca")) == {
        "authority_key_identifier",
        "subject_key_identifier",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"crl_issuer": [x509.DirectoryName(x509.Name.from_rfc4514_string("CN=x"))]},
        {"reasons": frozenset({x509.ReasonFlags.key_compromise})},
        {"full_name": None, "crl_issuer": [x509.DirectoryName(x509.Name.from_rfc4514_string("CN=x"))]},
        {"full_name": [x509.DNSName("x")]},
        {"full_name": [url("http://")]},
    ],
)
def test_C283_crl_distribution_points(fields):
    check("leaf", crl_point(**fields), "crl_distribution_points")


def test_C283_pointers_of_ours_pass():
    check("leaf", crl_point())
    check("leaf", access(url("http://pki.example.com/ocsp")))
    check("leaf", access(x509.DNSName("x")), "authority_information_access")


def test_the_issuers_tls_features_are_kept():
    feature = x509.TLSFeature([x509.TLSFeatureType.status_request])
    by = attrs.evolve(issuer(), tls_features=frozenset({5}))
    check("leaf", certificate(feature=(feature, False)), by=by)


def test_S28_keys_of_every_kind():
    edwards = ed_key("device").public_key()
    check("leaf", certificate(key=edwards, usage=(usage("digital_signature"), True)))
    check("leaf", certificate(key=ec_key("device", "secp521r1").public_key(), usage=(usage("digital_signature"), True)))
    for key in (x509_k256(), x448()):
        found = broken(lint(certificate(key=key, usage=(usage("digital_signature"), True)), issuer(), "leaf"))
        assert found == {"public_key_is_sound"}


def x509_k256():
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256K1()).public_key()


def x448():
    from cryptography.hazmat.primitives.asymmetric import ed448

    return ed448.Ed448PrivateKey.generate().public_key()


def test_C286_string_types_that_rfc_5280_demands():
    check("leaf", certificate(subject="CN=r1,1.2.840.113549.1.9.1=a@example.com,OU=a,OU=b"))
    wrong = name(NameOID.EMAIL_ADDRESS, "a@example.com", x509.name._ASN1Type.UTF8String)
    check("leaf", certificate(subject=wrong), "subject_string_types")
    unknown = name(x509.ObjectIdentifier("1.2.3.4"), "x", T61)
    check("leaf", certificate(subject=unknown), "subject_string_types", "subject_values")


def test_findings_say_rule_and_detail():
    assert lint(certificate(purposes=None), issuer(), "leaf") == [
        Finding("purposes_are_present", "no purpose: that would mean any")
    ]
