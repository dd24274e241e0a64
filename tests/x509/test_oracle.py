"""What we write against what cryptography's builder writes: the same octets, for drafts of every kind."""

import ipaddress
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AuthorityInformationAccessOID as Access

from scepd.message import tlv
from scepd.records import Attribute, GeneralName
from scepd.refusal import Reason, Reject
from scepd.x509.certificate import draft_ca_certificate
from scepd.x509.draft import placeholder, split
from scepd.x509.fields import tbs_fields
from scepd.x509.names import OIDS, encode, from_text, to_x509, to_x509_general_name
from scepd.x509.usages import fitting_usages, key_usage_extension, purpose_oid
from tests.x509.material import (
    BEGIN,
    END,
    NOW,
    SERIAL,
    ca_der,
    ca_key,
    draft,
    ec_key,
    ed_key,
    issuer,
    ocsp,
    ra,
    rsa_key,
    sub_ca,
    template,
    tls,
)

DIGESTS = {"rsa": hashes.SHA256(), "p256": hashes.SHA256(), "p384": hashes.SHA384()}
UPN = tuple(GeneralName(*pair) for pair in (("upn", "r1@example.com"), ("registered_id", "1.2.3")))
SUBJECTS = [
    from_text("CN=r1"),
    from_text("CN=r1+serialNumber=0123,OU=b,OU=a,O=Söhne & Cie,C=CH,DC=example"),
    tuple((Attribute(OIDS["CN"], value, tag),) for value, tag in (("r1", 19), ("r_1", 19), ("r1", 12), ("é", 30))),
    ((Attribute(OIDS["UID"], "x" * 200), Attribute(OIDS["CN"], "r1"), Attribute(OIDS["emailAddress"], "a@b.c")),),
    (),
]
NAMES = [
    (),
    (GeneralName("dns", "r1.example.com"),),
    (GeneralName("ip", "192.0.2.7"), GeneralName("ip", "2001:db8::1"), GeneralName("email", "r1@example.com")),
    (GeneralName("uri", "https://example.com/r1"), *UPN),
    tuple(GeneralName("dns", f"host-{n}.example.com") for n in range(40)),
]


def url(text):
    return x509.UniformResourceIdentifier(text)


def built(of, spki_der, by, window, *, kind="rsa"):
    """Return what the builder writes for a template."""
    key = serialization.load_der_public_key(spki_der)
    extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage_extension(fitting_usages(of.key_usage, key)), True),
        (x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose_oid(word)) for word in of.extended_key_usage]), False),
    ]
    if of.crl_urls:
        points = [x509.DistributionPoint([url(text)], None, None, None) for text in of.crl_urls]
        extensions.append((x509.CRLDistributionPoints(points), False))
    access = [(Access.OCSP, text) for text in of.ocsp_urls] + [(Access.CA_ISSUERS, text) for text in of.issuer_urls]
    if access:
        entries = [x509.AccessDescription(how, url(text)) for how, text in access]
        extensions.append((x509.AuthorityInformationAccess(entries), False))
    if of.names:
        names = x509.SubjectAlternativeName([to_x509_general_name(name) for name in of.names])
        extensions.append((names, not of.subject))
    return sign(to_x509(of.subject), by.certificate.subject, key, window, extensions, kind=kind)


def sign(subject, above, key, window, extensions, *, kind="rsa", authority=None):
    """Return a certificate as the builder writes it, with both identifiers, signed by a placeholder."""
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(above).public_key(key).serial_number(SERIAL)
    builder = builder.not_valid_before(window[0]).not_valid_after(window[1])
    extensions.append((x509.SubjectKeyIdentifier.from_public_key(key), False))
    identifier = authority or issuer(kind).key_identifier
    extensions.append((x509.AuthorityKeyIdentifier(identifier, None, None), False))
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    stand_in = placeholder(ca_key(kind).public_key())
    return builder.sign(stand_in, DIGESTS[kind]).public_bytes(serialization.Encoding.DER), stand_in.signed


@pytest.mark.parametrize("kind", DIGESTS)
@pytest.mark.parametrize("key", [rsa_key("device"), ec_key("device"), ed_key("device")], ids=["rsa", "ec", "ed"])
@pytest.mark.parametrize("subject", range(len(SUBJECTS)))
@pytest.mark.parametrize("names", range(len(NAMES)))
def test_C284_C285_C286_drafts_are_what_the_builder_writes(kind, key, subject, names):
    fields = {"subject": SUBJECTS[subject], "names": NAMES[names], "extended_key_usage": ("clientAuth", "1.2.3.4")}
    if names == 0:
        fields |= {"crl_urls": (), "ocsp_urls": (), "issuer_urls": ()}
    made = draft(kind, key, **fields)
    spki_der = tbs_fields(made.tbs)[6]
    expected = built(template(**fields), spki_der, issuer(kind), (made.not_before, made.not_after), kind=kind)
    assert (made.der, made.tbs) == expected


@pytest.mark.parametrize("end", [datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)])
def test_C276_times_are_what_the_builder_writes(end):
    by = issuer(end=datetime(2060, 1, 1, tzinfo=UTC))
    for now in (NOW.replace(microsecond=999_999), datetime(2030, 2, 3, 4, 5, 6, tzinfo=UTC)):
        made = draft(by=by, now=now, validity=end - now)
        expected = built(template(validity=end - now), tbs_fields(made.tbs)[6], by, (made.not_before, made.not_after))
        assert (made.der, made.tbs) == expected
    zoned = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert draft(now=zoned).der == draft(now=NOW).der


@pytest.mark.parametrize("path_length", [None, 0, 300])
def test_C280_ca_drafts_are_what_the_builder_writes(path_length):
    for kind in DIGESTS:
        key = ca_key(kind).public_key()
        window = (BEGIN, END)
        made = draft_ca_certificate(
            from_text("CN=CA,C=CH"), key, serial=SERIAL, not_before=BEGIN, not_after=END, path_length=path_length
        )
        name = to_x509(from_text("CN=CA,C=CH"))
        extensions = [
            (x509.BasicConstraints(ca=True, path_length=path_length), True),
            (key_usage_extension(frozenset({"keyCertSign", "cRLSign"})), True),
        ]
        own = x509.SubjectKeyIdentifier.from_public_key(key).digest
        assert (made.der, made.tbs) == sign(name, name, key, window, extensions, kind=kind, authority=own)


@pytest.mark.parametrize("made", [ra, tls, ocsp, lambda: sub_ca(issuer(path_length=3)), draft])
def test_C284_the_builder_writes_our_own_certificates_from_what_is_read_in_them(made):
    der = made().der
    read = x509.load_der_x509_certificate(der)
    builder = x509.CertificateBuilder(
        read.issuer,
        read.subject,
        read.public_key(),
        read.serial_number,
        read.not_valid_before_utc.replace(tzinfo=None),
        read.not_valid_after_utc.replace(tzinfo=None),
        list(read.extensions),
    )
    stand_in = placeholder(ca_key("rsa").public_key())
    assert builder.sign(stand_in, hashes.SHA256()).public_bytes(serialization.Encoding.DER) == der


def test_C286_names_are_what_cryptography_writes():
    generator = random.Random(7)
    words = [short for short in OIDS if short not in {"C", "serialNumber", "dnQualifier"}]
    for _ in range(300):
        name = tuple(
            tuple(
                Attribute(
                    OIDS[short], "".join(generator.choices("abcXYZ019 .-@", k=20)).strip(), generator.choice((12, 19))
                )
                for short in generator.sample(words, generator.randint(1, 3))
            )
            for _ in range(generator.randint(0, 4))
        )
        assert encode(name) == to_x509(name).public_bytes()


@pytest.mark.parametrize("rdn", [(), (Attribute(OIDS["OU"], "a", 12), Attribute(OIDS["OU"], "a", 19))])
def test_S53_a_part_of_a_name_that_x500_forbids_is_refused(rdn):
    with pytest.raises(Reject) as refused:
        encode((rdn,))
    assert refused.value.reason is Reason.subject_refused
    with pytest.raises(ValueError, match=r"relative distinguished name|duplicate attributes"):
        to_x509((rdn,))


def test_C278_the_placeholder_is_as_long_as_a_signature_and_no_part_of_what_is_signed():
    tbs, algorithm, signature = split(draft().der)
    assert tlv.sequence(tbs, algorithm, tlv.bit_string(signature)) == draft().der
    assert signature == bytes(256)
    assert split(draft("p256").der)[2] == bytes.fromhex("3006020101020101")
    assert len(ca_der()) == len(tlv.sequence(*split(ca_der())[:2], tlv.bit_string(bytes(256))))
    assert ipaddress.ip_address("192.0.2.7").packed in draft().der
    assert timedelta(0) < draft().not_after - draft().not_before
