"""PKCS#10: what is read, what is refused when, what is built."""

import hashlib
from contextlib import suppress

import pytest
from asn1crypto import csr as oracle
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509.oid import AttributeOID
from hypothesis import given, settings
from hypothesis import strategies as st

from scepd.message import names, tlv
from scepd.message.algorithms import MODERN_DIGESTS, Digest
from scepd.message.csr import build_csr, parse_csr, write_name
from scepd.message.csr_attributes import Extension
from scepd.message.signature import write_algorithm
from scepd.records import Attribute
from scepd.refusal import FailInfo, Reason, Reject
from tests import make

KEY = make.key("device")
TEXTS = st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60)


def request(*attributes, version=0, subject=None, spki=None, with_attributes=True, signature=None):
    """Return a PKCS#10 of any parts, not signed."""
    info = tlv.sequence(
        tlv.integer(version),
        write_name(make.name(CN="device")) if subject is None else subject,
        make.spki(KEY) if spki is None else spki,
        tlv.implicit(0, b"".join(attributes), constructed=True) if with_attributes else b"",
    )
    return tlv.sequence(
        info, write_algorithm("1.2.840.113549.1.1.11"), tlv.bit_string(b"x") if signature is None else signature
    )


def wishes(*extensions, oid=names.EXTENSION_REQUEST):
    return make.attribute(oid, tlv.sequence(*(e.encode() for e in extensions)))


def password(*values):
    return make.attribute(names.CHALLENGE_PASSWORD, *values)


def refused(der):
    """Return why a request is refused: at once (content_malformed), by `check` (csr_invalid), or not (None)."""
    try:
        parse_csr(der).check()
    except Reject as reject:
        return reject.reason
    return None


def challenge(der):
    secret = parse_csr(der).challenge
    return None if secret is None else secret.reveal()


# Round trips


@given(
    subject=st.lists(st.tuples(st.sampled_from(["2.5.4.3", "2.5.4.10", "1.2.840.113549.1.9.2"]), TEXTS), max_size=5),
    secret=st.none() | TEXTS,
    extensions=st.lists(st.builds(Extension, oid=st.integers(1, 999).map(lambda n: f"1.2.{n}"), critical=st.booleans(), value_der=st.binary(max_size=40)), max_size=5, unique_by=lambda e: e.oid),
    digest=st.sampled_from(sorted(MODERN_DIGESTS, key=str)),
    kind=st.sampled_from(["rsa2048", "p256"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_requests_round_trip(subject, secret, extensions, digest, kind):
    key = make.key("round trip", kind)
    names_ = tuple((Attribute(oid, value),) for oid, value in subject)
    der = build_csr(
        subject=names_,
        private_key=key,
        challenge=secret,
        extensions=extensions,
        digest=digest,
        challenge_tag=tlv.UTF8_STRING,
    )
    csr = parse_csr(der)
    csr.check()
    assert (csr.subject, csr.extensions, csr.version, csr.der) == (names_, tuple(extensions), 0, der)
    assert challenge(der) == secret
    assert csr.spki_der == make.spki(key)
    # The oracles agree, and the signature is over the octets we call signed.
    known = oracle.CertificationRequest.load(der, strict=True)
    assert known["certification_request_info"].dump() == csr.info_der
    assert known["signature_algorithm"]["algorithm"].dotted == csr.signature_oid
    assert x509.load_der_x509_csr(der).is_signature_valid
    if kind == "p256":
        key.public_key().verify(csr.signature, csr.info_der, ec.ECDSA(digest.hash))
    else:
        key.public_key().verify(csr.signature, csr.info_der, padding.PKCS1v15(), digest.hash)


def test_requests_that_cryptography_builds_are_read():
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name(
            [x509.NameAttribute(x509.NameOID.COMMON_NAME, "r1"), x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE")]
        )
    )
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"secret")
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("r1.example")]), critical=True)
    csr = parse_csr(builder.sign(KEY, hashes.SHA256()).public_bytes(make.Encoding.DER))
    csr.check()
    assert csr.subject == ((Attribute("2.5.4.3", "r1"),), (Attribute("2.5.4.6", "DE", 19),))
    assert csr.challenge.reveal() == "secret"
    assert csr.extensions == (Extension(names.SUBJECT_ALT_NAME, True, make.dns_names("r1.example").value_der),)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_flipped_octet_is_read_or_refused_and_nothing_else_is_raised(data):
    der = bytearray(WHOLE)
    der[data.draw(st.integers(0, len(der) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(Reject):
        csr = parse_csr(bytes(der))
        assert (len(csr.wishes), len(csr.fingerprint)) == (32, 64)
        assert parse_csr(csr.without_challenge_der).challenge is None
        csr.check()


WHOLE = make.csr(
    extensions=[make.dns_names("a.example", "b.example"), Extension("2.5.29.15", True, b"\x03\x02\x05\xa0")]
)


# Structure


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\0",
        b"not a request",
        make.device().certificate_der,
        make.issuer_and_subject(make.name(CN="ca"), make.name(CN="device")),
        make.issuer_and_serial(make.name(CN="ca"), 5),
        request(signature=tlv.octet_string(b"x")),
        request(signature=tlv.write(tlv.BIT_STRING, b"\x01x")),
        request(tlv.null()),
        request(tlv.sequence(tlv.oid("1.2.3"))),
        request(tlv.sequence(tlv.oid("1.2.3"), tlv.set_of(()), tlv.null())),
        request(make.attribute(names.EXTENSION_REQUEST, tlv.null())),
        request(make.attribute(names.EXTENSION_REQUEST, tlv.sequence(tlv.null()))),
        request(spki=tlv.null()),
    ],
)
def test_C109_what_is_no_request_is_refused_at_once(der):
    assert refused(der) is Reason.content_malformed
    assert Reject(Reason.content_malformed).fail_info is FailInfo.badRequest


def test_C110_trailing_octets_are_refused_at_once():
    for der in (make.csr() + b"\0", request(signature=tlv.bit_string(b"x") + tlv.null())):
        assert refused(der) is Reason.content_malformed


def test_S22_a_request_in_ber_is_refused_at_once():
    info, algorithm, signature = (e.der for e in tlv.read(make.csr()).children)
    assert refused(make.indefinite(tlv.SEQUENCE, info, algorithm, signature)) is Reason.content_malformed


@pytest.mark.parametrize(
    "subject",
    [
        tlv.null(),
        tlv.sequence(tlv.null()),
        tlv.sequence(tlv.sequence()),
        tlv.sequence(tlv.set_of((tlv.sequence(tlv.oid("2.5.4.3")),))),
        tlv.sequence(tlv.set_of((tlv.sequence(tlv.oid("2.5.4.3"), tlv.integer(5)),))),
        tlv.sequence(tlv.set_of((tlv.sequence(tlv.oid("2.5.4.3"), tlv.write(tlv.UTF8_STRING, b"\xc0\x80")),))),
        tlv.sequence(tlv.set_of((tlv.sequence(tlv.oid("2.5.4.3"), tlv.utf8("a"), tlv.utf8("b")),))),
    ],
)
def test_C140_a_subject_that_cannot_be_read_is_refused(subject):
    assert refused(request(subject=subject)) is Reason.content_malformed


def test_C140_an_empty_subject_is_read_for_the_profile_to_judge():
    assert parse_csr(request(subject=tlv.sequence())).subject == ()


def test_C140_a_request_without_the_subject_element_is_refused():
    info = tlv.sequence(tlv.integer(0), make.spki(KEY), tlv.implicit(0, b"", constructed=True))
    der = tlv.sequence(info, write_algorithm("1.2.840.113549.1.1.11"), tlv.bit_string(b"x"))
    assert refused(der) is Reason.content_malformed


def test_S25_parts_of_the_subject_are_bounded():
    rdn = tlv.set_of((tlv.sequence(tlv.oid("2.5.4.11"), tlv.utf8("x")),))
    assert refused(request(subject=tlv.sequence(rdn * 32))) is None
    assert refused(request(subject=tlv.sequence(rdn * 33))) is Reason.csr_invalid


@pytest.mark.parametrize(
    ("version", "reason"),
    [(0, None), (1, None), (2, None), (3, Reason.csr_invalid), (-1, Reason.csr_invalid), (1 << 80, Reason.csr_invalid)],
)
def test_C142_versions_beyond_those_of_known_clients_are_refused(version, reason):
    assert refused(request(version=version)) is reason
    assert parse_csr(request(version=version)).version == version


def test_attributes_may_be_left_out_and_unsorted():
    assert refused(request(with_attributes=False)) is None
    both = [password(tlv.printable("x")), wishes(make.dns_names("a"))]
    for attributes in (both, both[::-1]):
        csr = parse_csr(request(*attributes))
        assert (csr.challenge.reveal(), len(csr.extensions)) == ("x", 1)


# challengePassword


def test_C145_S62_exactly_one_challenge_of_one_value():
    value = tlv.printable("secret")
    assert refused(request(password(value))) is None
    for attributes in (
        [password(value), password(value)],
        [password(value, value)],
        [password()],
        [password(value), password()],
    ):
        assert refused(request(*attributes)) is Reason.csr_invalid
    with pytest.raises(Reject) as caught:
        parse_csr(request(password(value), password(tlv.printable("other")))).check()
    assert caught.value.fail_info is FailInfo.badRequest
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    "tag",
    [tlv.PRINTABLE_STRING, tlv.UTF8_STRING, tlv.BMP_STRING, tlv.TELETEX_STRING, tlv.UNIVERSAL_STRING, tlv.IA5_STRING],
)
def test_C146_the_same_text_is_the_same_challenge_in_any_string_type(tag):
    assert challenge(make.csr(challenge=" Secret 1 ", challenge_tag=tag)) == " Secret 1 "


@pytest.mark.parametrize("tag", [tlv.UTF8_STRING, tlv.BMP_STRING, tlv.UNIVERSAL_STRING])
def test_C146_challenges_are_not_normalised(tag):
    decomposed, composed = "e\u0301", "\u00e9"
    assert challenge(make.csr(challenge=decomposed, challenge_tag=tag)) == decomposed
    assert challenge(make.csr(challenge=composed, challenge_tag=tag)) == composed


@pytest.mark.parametrize(
    "value",
    [
        tlv.octet_string(b"secret"),
        tlv.integer(5),
        tlv.null(),
        tlv.write(tlv.UTF8_STRING, b"\xff"),
        tlv.write(tlv.BMP_STRING, b"abc"),
    ],
)
def test_C146_challenges_that_are_no_text_are_refused(value):
    assert refused(request(password(value))) is Reason.csr_invalid
    assert challenge(request(password(value))) is None


def test_C147_challenges_are_of_255_characters_at_most():
    for tag in (tlv.UTF8_STRING, tlv.BMP_STRING):
        assert challenge(make.csr(challenge="é" * 255, challenge_tag=tag)) == "é" * 255
        assert refused(make.csr(challenge="é" * 255, challenge_tag=tag)) is None
        assert refused(make.csr(challenge="é" * 256, challenge_tag=tag)) is Reason.csr_invalid


def test_C150_an_empty_challenge_is_none():
    assert challenge(make.csr(challenge="")) is None
    assert challenge(make.csr(challenge=None)) is None
    assert refused(make.csr(challenge="")) is None


def hidden(text):
    """Return a challenge among the extensions, where some devices put it."""
    return Extension(names.CHALLENGE_PASSWORD, False, tlv.printable(text))


def test_C145_a_challenge_among_the_extensions_counts():
    csr = parse_csr(make.csr(challenge=None, extensions=[hidden("secret"), make.dns_names("a")]))
    csr.check()
    assert csr.challenge.reveal() == "secret"
    assert csr.extensions == (make.dns_names("a"),)
    assert refused(make.csr(challenge="secret", extensions=[hidden("secret")])) is Reason.csr_invalid


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"extensions": [make.dns_names("a")]},
        {"challenge": None, "extensions": [hidden("secret"), make.dns_names("a")]},
    ],
)
def test_C153_the_form_for_storage_holds_no_challenge_and_nothing_else_changes(fields):
    csr = parse_csr(make.csr(**fields))
    stored = parse_csr(csr.without_challenge_der)
    assert b"secret" in csr.der
    assert b"secret" not in csr.without_challenge_der
    assert (stored.subject, stored.spki_der, stored.extensions, stored.signature) == (
        csr.subject,
        csr.spki_der,
        csr.extensions,
        csr.signature,
    )
    assert stored.challenge is None
    assert "secret" not in repr(csr)


def test_the_form_for_storage_keeps_attributes_of_other_kinds():
    friendly_name = make.attribute("1.2.840.113549.1.9.20", tlv.text(tlv.BMP_STRING, "certmonger"))
    stored = parse_csr(request(friendly_name, password(tlv.printable("secret")))).without_challenge_der
    assert stored == request(friendly_name)


def test_the_form_for_storage_of_a_request_without_attributes_is_itself():
    der = request(with_attributes=False)
    assert parse_csr(der).without_challenge_der == der


# Extensions


def test_C157_wishes_are_read_from_both_kinds_of_request():
    extension = make.dns_names("a.example")
    for oid in (names.EXTENSION_REQUEST, names.MICROSOFT_EXTENSION_REQUEST):
        assert parse_csr(request(wishes(extension, oid=oid))).extensions == (extension,)


def test_C157_S62_duplicates_are_refused_late():
    extension = make.dns_names("a.example")
    value = tlv.sequence(extension.encode())
    for attributes in (
        [wishes(extension), wishes(extension)],
        [wishes(extension), wishes(extension, oid=names.MICROSOFT_EXTENSION_REQUEST)],
        [wishes(), wishes()],
        [wishes(extension, extension)],
        [make.attribute(names.EXTENSION_REQUEST, value, value)],
        [make.attribute(names.EXTENSION_REQUEST)],
    ):
        der = request(*attributes)
        assert parse_csr(der).faults
        assert refused(der) is Reason.csr_invalid


def test_S58_a_critical_flag_of_any_octet_but_zero_is_read_as_true():
    for octet, critical in ((b"\xff", True), (b"\x01", True), (b"\0", False)):
        encoded = tlv.sequence(tlv.oid("2.5.29.19"), tlv.write(tlv.BOOLEAN, octet), tlv.octet_string(b"x"))
        der = request(make.attribute(names.EXTENSION_REQUEST, tlv.sequence(encoded)))
        assert parse_csr(der).extensions == (Extension("2.5.29.19", critical, b"x"),)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ([make.attribute(f"1.2.{n}", tlv.null()) for n in range(16)], None),
        ([make.attribute(f"1.2.{n}", tlv.null()) for n in range(17)], Reason.csr_invalid),
        ([wishes(*(Extension(f"1.2.{n}", False, b"") for n in range(32)))], None),
        ([wishes(*(Extension(f"1.2.{n}", False, b"") for n in range(33)))], Reason.csr_invalid),
        ([wishes(make.dns_names(*["a"] * 64))], None),
        ([wishes(make.dns_names(*["a"] * 65))], Reason.csr_invalid),
        ([wishes(make.dns_names(*["a"] * 3000))], Reason.csr_invalid),
        ([wishes(make.dns_names(*["a"] * 5000))], Reason.content_malformed),
        ([wishes(Extension(names.SUBJECT_ALT_NAME, False, b"junk"))], None),
        ([wishes(Extension(names.SUBJECT_ALT_NAME, False, b"\x30\x05"))], Reason.content_malformed),
    ],
)
def test_S25_attributes_extensions_and_names_are_bounded(attributes, reason):
    assert refused(request(*attributes)) is reason


# Identity of requests


def test_C205_wishes_are_equal_for_the_same_request_signed_anew():
    one, again = (
        parse_csr(make.csr(challenge=secret, digest=digest))
        for secret, digest in (("a", Digest.SHA256), ("b", Digest.SHA512))
    )
    assert one.wishes == again.wishes
    assert one.fingerprint != again.fingerprint
    for other in (
        make.csr(subject=make.name(CN="other")),
        make.csr(private_key=make.key("other")),
        make.csr(extensions=[make.dns_names("a")]),
    ):
        assert parse_csr(other).wishes != one.wishes


def test_C160_the_fingerprint_is_sha256_of_the_request():
    der = make.csr()
    assert parse_csr(der).fingerprint == hashlib.sha256(der).hexdigest()
