"""PKIMessages: what is read, what is verified, what is built."""

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from scepd.message import names, request, tlv
from scepd.message.algorithms import (
    ECDSA_SIGNATURES,
    ED25519,
    MGF1,
    MODERN_DIGESTS,
    RSA_ENCRYPTION,
    RSA_SIGNATURES,
    RSASSA_PSS,
    CryptoPolicy,
    Digest,
)
from scepd.message.attributes import Attributes, read_attributes, write_attributes
from scepd.message.certificate import load_certificate
from scepd.message.csr import Extension
from scepd.message.errors import LimitExceeded, MessageError
from scepd.message.request import parse_message, verify_message
from scepd.message.signature import write_algorithm
from scepd.refusal import FailInfo, Reason, Reject
from tests import make

POLICY = CryptoPolicy()
EVERYTHING = CryptoPolicy(digests=frozenset(Digest))
SCEP_ATTRIBUTES = {
    "contentType": names.CONTENT_TYPE,
    "messageDigest": names.MESSAGE_DIGEST,
    "signingTime": names.SIGNING_TIME,
    "messageType": names.MESSAGE_TYPE,
    "pkiStatus": names.PKI_STATUS,
    "failInfo": names.FAIL_INFO,
    "senderNonce": names.SENDER_NONCE,
    "recipientNonce": names.RECIPIENT_NONCE,
    "transactionID": names.TRANSACTION_ID,
}
VALUES = {
    "contentType": tlv.oid(names.DATA),
    "messageDigest": tlv.octet_string(bytes(32)),
    "signingTime": tlv.time(make.NOW),
    "messageType": tlv.printable("19"),
    "pkiStatus": tlv.printable("0"),
    "failInfo": tlv.printable("2"),
    "senderNonce": tlv.octet_string(make.NONCE),
    "recipientNonce": tlv.octet_string(make.NONCE),
    "transactionID": tlv.printable("1"),
}


def outcome(der, policy=POLICY):
    """Return None when the message verifies, the Reason of its refusal, or 'H400'."""
    try:
        verify_message(parse_message(der), policy)
    except MessageError:
        return "H400"
    except Reject as reject:
        return reject.reason
    return None


def with_attribute(oid, *values):
    return make.bent_req().with_attribute(oid, *values).resign().der()


# Reading


def test_a_pkcs_req_is_read_and_verified():
    der = make.pkcs_req()
    message = parse_message(der)
    verify_message(message, POLICY)
    assert message.transaction_id == make.TRANSACTION
    assert message.message_type == 19
    assert message.sender_nonce == make.NONCE
    assert message.signing_time == make.NOW
    assert message.digest is Digest.SHA256
    assert not message.pss
    assert message.signer.der == make.device().certificate_der
    assert (message.recipient_nonce, message.pki_status, message.fail_info, message.fail_info_text) == (None,) * 4
    assert repr(message).find("proof") < 0


def test_C070_a_content_info_of_another_type_is_refused():
    for outer in (names.DATA, names.ENVELOPED_DATA, "1.2.840.113549.1.7.5"):
        assert outcome(attrs.evolve(make.bent_req(), outer_type=outer).der()) == "H400"


@pytest.mark.parametrize("content_type", [names.DATA, names.ENVELOPED_DATA])
def test_C071_content_types_that_are_accepted(content_type):
    bent = attrs.evolve(make.bent_req(), content_type=content_type)
    assert outcome(bent.with_attribute(names.CONTENT_TYPE, tlv.oid(content_type)).resign().der()) is None


def test_C071_another_content_type_is_refused_with_bad_request():
    bent = attrs.evolve(make.bent_req(), content_type=names.SIGNED_DATA)
    reason = outcome(bent.with_attribute(names.CONTENT_TYPE, tlv.oid(names.SIGNED_DATA)).resign().der())
    assert reason is Reason.envelope_invalid
    assert Reject(reason).fail_info is FailInfo.badRequest


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_C072_S17_a_signature_over_the_content_alone_is_refused(kind):
    who = make.party("forger", kind)
    bent = make.take_apart(make.message(b"content", signer=who))
    # The signature verifies over the content, as CMS allows without signed attributes.
    forged = bent.resign(who.key, octets=lambda _: b"content").bend(attributes=None)
    assert outcome(forged.der()) == "H400"


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_C072_S17_signed_attributes_passed_off_as_content_are_refused(kind):
    who = make.party("forger", kind)
    genuine = make.take_apart(make.message(b"content", signer=who))
    as_content = attrs.evolve(genuine, content=tlv.write(tlv.SET, *genuine.signer.attributes)).bend(attributes=None)
    assert outcome(as_content.der()) == "H400"


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_C072_S17_content_passed_off_as_signed_attributes_is_refused(kind):
    who = make.party("forger", kind)
    genuine = make.take_apart(make.message(b"content", signer=who))
    content = tlv.set_of(
        [
            make.attribute(names.TRANSACTION_ID, tlv.printable("1")),
            make.attribute(names.MESSAGE_TYPE, tlv.printable("19")),
        ]
    )
    signed_without_attributes = attrs.evolve(genuine, content=content).resign(who.key, octets=lambda _: content)
    forged = signed_without_attributes.bend(attributes=tuple(e.der for e in tlv.read(content).children))
    assert outcome(forged.der()) is Reason.signed_attributes_invalid


def test_C073_S19_not_exactly_one_signer_info_is_refused():
    bent = make.bent_req()
    attacker = make.take_apart(make.pkcs_req(signer=make.party("attacker")))
    assert outcome(attrs.evolve(bent, signers=()).der()) == "H400"
    both = attrs.evolve(
        bent, signers=bent.signers + attacker.signers, certificates=bent.certificates + attacker.certificates
    )
    assert outcome(both.der()) == "H400"
    assert outcome(attrs.evolve(bent, signers=bent.signers * 2).der()) == "H400"


def test_C074_S19_a_signer_certificate_that_is_not_there_is_bad_message_check():
    bent = make.bent_req()
    for certificates in ((), (make.ra().certificate_der,)):
        der = attrs.evolve(bent, certificates=certificates).der()
        assert outcome(der) is Reason.signer_missing
        assert parse_message(der).signer is None
        assert parse_message(der).transaction_id == make.TRANSACTION
    with pytest.raises(Reject) as caught:
        verify_message(parse_message(attrs.evolve(bent, certificates=()).der()), POLICY)
    assert caught.value.fail_info is FailInfo.badMessageCheck


def with_identifier(who, identifier, before=()):
    """Return a certificate of a party's key with a subjectKeyIdentifier."""
    extension = Extension(names.SUBJECT_KEY_IDENTIFIER, False, tlv.octet_string(identifier))
    return make.certificate(make.key(who), subject=make.name(CN=who), extensions=(*before, extension))


def test_C075_a_signer_named_by_key_identifier_is_found():
    named = with_identifier("device", b"identifier", before=(Extension("2.5.29.15", True, b"\x03\x02\x07\x80"),))
    bent = attrs.evolve(make.bent_req(), certificates=(named, make.ra().certificate_der))
    assert outcome(bent.bend(version=3, sid=make.key_identifier_sid(b"identifier")).der()) is None
    assert outcome(bent.bend(version=3, sid=make.key_identifier_sid(b"another")).der()) is Reason.signer_missing
    computed = load_certificate(make.device().certificate_der).key_identifier
    assert len(computed) == 20
    assert outcome(make.bent_req().bend(version=3, sid=make.key_identifier_sid(computed)).der()) is None


def test_C076_S19_two_certificates_of_the_same_name_are_ambiguous():
    bent = make.bent_req()
    twin = make.certificate(make.key("attacker"))  # same issuer and serial, another key
    for certificates in ((bent.certificates[0], twin), (twin, bent.certificates[0]), bent.certificates * 2):
        assert outcome(attrs.evolve(bent, certificates=certificates).der()) is Reason.signer_missing


def test_C076_S19_two_certificates_of_the_same_key_identifier_are_ambiguous():
    twins = (with_identifier("device", b"same"), with_identifier("attacker", b"same"))
    bent = attrs.evolve(make.bent_req(), certificates=twins).bend(version=3, sid=make.key_identifier_sid(b"same"))
    assert outcome(bent.der()) is Reason.signer_missing


def test_S19_a_certificate_of_another_key_does_not_verify():
    twin = make.certificate(make.key("attacker"), subject=make.name(CN="device"))
    assert outcome(attrs.evolve(make.bent_req(), certificates=(twin,)).der()) is Reason.signature_invalid


def test_S19_the_bag_of_certificates_is_bounded():
    bent = make.bent_req()
    others = tuple(make.certificate(make.key("ra"), serial_der=tlv.integer(n)) for n in range(8))
    assert outcome(attrs.evolve(bent, certificates=bent.certificates + others[:7]).der()) is None
    with pytest.raises(LimitExceeded, match="certificates"):
        parse_message(attrs.evolve(bent, certificates=bent.certificates + others).der())


def test_S19_an_oversized_certificate_is_no_signer():
    for size, reason in ((15_000, None), (16_384, Reason.signer_missing)):
        big = make.certificate(make.key("device"), extensions=(Extension("1.2.3", False, bytes(size)),))
        assert outcome(attrs.evolve(make.bent_req(), certificates=(big,)).der()) is reason


def test_S19_certificates_that_are_none_are_passed_over():
    bent = make.bent_req()
    odd = (tlv.sequence(), tlv.sequence(tlv.null()), tlv.explicit(1, tlv.null()))
    assert outcome(attrs.evolve(bent, certificates=(*odd, *bent.certificates)).der()) is None


# The signature


def test_C077_S07_another_content_is_bad_message_check():
    bent = make.bent_req()
    for content in (bent.content + b"\0", b"", None, make.envelope(make.csr(challenge="attacker's"))):
        assert outcome(attrs.evolve(bent, content=content).der()) is Reason.signature_invalid


def test_S07_every_splice_of_ten_messages_is_bad_message_check():
    messages = [make.pkcs_req(transaction_id=str(n), challenge=f"challenge {n}") for n in range(10)]
    outcomes = {
        outcome(make.splice(signed, content)) for signed in messages for content in messages if signed is not content
    }
    assert outcomes == {Reason.signature_invalid}
    assert all(outcome(make.splice(message, message)) is None for message in messages)


@pytest.mark.parametrize(
    "content_der", [tlv.utf8("text"), tlv.sequence(), tlv.octet_string(b"a") + tlv.octet_string(b"b")]
)
def test_S07_content_of_a_wrong_type_is_bad_message_check(content_der):
    assert outcome(attrs.evolve(make.bent_req(), content_der=content_der).der()) is Reason.signed_attributes_invalid


def test_S07_content_in_too_many_fragments_is_a_bomb():
    bomb = make.fragments(b"a" * 1025, 1)
    with pytest.raises(LimitExceeded, match="fragments"):
        parse_message(attrs.evolve(make.bent_req(), content_der=bomb).der())


@pytest.mark.parametrize(
    "octets",
    [
        lambda attributes: tlv.write(0xA0, *attributes),
        b"".join,
        lambda attributes: tlv.write(tlv.SEQUENCE, *attributes),
        lambda attributes: make.indefinite(tlv.SET, *attributes),
    ],
)
def test_C078_a_signature_over_another_encoding_of_the_attributes_is_bad_message_check(octets):
    assert outcome(make.bent_req().resign().der()) is None
    assert outcome(make.bent_req().resign(octets=octets).der()) is Reason.signature_invalid


def test_C079_a_content_type_attribute_missing_or_different_is_bad_message_check():
    bent = make.bent_req()
    assert outcome(bent.without_attribute(names.CONTENT_TYPE).resign().der()) is Reason.signed_attributes_invalid
    assert (
        outcome(with_attribute(names.CONTENT_TYPE, tlv.oid(names.ENVELOPED_DATA))) is Reason.signed_attributes_invalid
    )
    assert outcome(with_attribute(names.CONTENT_TYPE, tlv.null())) is Reason.signed_attributes_invalid


def test_C079_a_message_digest_missing_is_bad_message_check():
    assert (
        outcome(make.bent_req().without_attribute(names.MESSAGE_DIGEST).resign().der())
        is Reason.signed_attributes_invalid
    )


@pytest.mark.parametrize("attribute", SCEP_ATTRIBUTES)
def test_C080_S18_an_attribute_twice_or_of_several_or_no_values_is_refused(attribute):
    oid, value = SCEP_ATTRIBUTES[attribute], VALUES[attribute]
    bent = make.bent_req().with_attribute(oid, value)
    twice = bent.bend(attributes=(*bent.signer.attributes, make.attribute(oid, value)))
    assert outcome(twice.resign().der()) == "H400"
    assert outcome(with_attribute(oid, value, value)) == "H400"
    assert outcome(with_attribute(oid)) == "H400"
    broken = tlv.sequence(tlv.oid(oid), tlv.set_of((value,)), tlv.null())
    assert outcome(bent.bend(attributes=(*bent._without(oid), broken)).resign().der()) == "H400"


@pytest.mark.parametrize("attribute", SCEP_ATTRIBUTES)
def test_C081_S18_unsigned_attributes_do_not_count(attribute):
    oid, value = SCEP_ATTRIBUTES[attribute], VALUES[attribute]
    only_unsigned = make.bent_req().without_attribute(oid).resign().bend(unsigned=(make.attribute(oid, value),))
    expected = {
        "transactionID": "H400",
        "messageType": "H400",
        "contentType": Reason.signed_attributes_invalid,
        "messageDigest": Reason.signed_attributes_invalid,
    }
    assert outcome(only_unsigned.der()) == expected.get(attribute)
    before = parse_message(make.pkcs_req())
    after = parse_message(make.bent_req().bend(unsigned=(make.attribute(oid, tlv.printable("7")),)).der())
    assert (after.transaction_id, after.message_type, after.sender_nonce, after.recipient_nonce, after.pki_status) == (
        before.transaction_id, before.message_type, before.sender_nonce, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("attribute", SCEP_ATTRIBUTES)
def test_S18_an_attribute_of_the_wrong_type(attribute):
    der = with_attribute(SCEP_ATTRIBUTES[attribute], tlv.bit_string(b"19"))
    expected = {
        "transactionID": "H400",
        "messageType": "H400",
        "senderNonce": "H400",
        "contentType": Reason.signed_attributes_invalid,
        "messageDigest": Reason.signed_attributes_invalid,
    }
    assert outcome(der) == expected.get(attribute)


def test_S18_unknown_attributes_and_a_challenge_among_them_are_ignored():
    bent = make.bent_req().with_attribute("1.2.3.4", tlv.null()).with_attribute("1.2.3.5")
    bent = bent.with_attribute(names.CHALLENGE_PASSWORD, tlv.printable("not here"))
    assert outcome(bent.resign().der()) is None


def test_S18_attributes_not_in_der_order_are_verified_as_received_or_in_order():
    bent = make.bent_req()
    shuffled = tuple(sorted(bent.signer.attributes, reverse=True))
    assert shuffled != bent.signer.attributes
    # Signed as they stand, and signed in DER order but sent otherwise.
    assert outcome(bent.bend(attributes=shuffled).resign(order=False).der()) is None
    assert outcome(bent.bend(attributes=shuffled).der()) is None
    # Neither: one of them is changed as well.
    changed = bent.with_attribute(names.TRANSACTION_ID, tlv.printable("other"))
    assert (
        outcome(changed.bend(attributes=tuple(sorted(changed.signer.attributes, reverse=True))).der())
        is Reason.signature_invalid
    )


def test_S18_the_order_is_not_tried_when_it_is_right_already(monkeypatch):
    calls = []
    monkeypatch.setattr(request, "is_valid", lambda *_: bool(calls.append(1)))
    bent = make.bent_req()
    assert outcome(bent.bend(attributes=tuple(sorted(bent.signer.attributes))).der()) is Reason.signature_invalid
    assert len(calls) == 1


def test_S25_signed_attributes_are_bounded():
    bent = make.bent_req()
    padded = bent.bend(
        attributes=(*bent.signer.attributes, *(make.attribute(f"1.2.{n}", tlv.null()) for n in range(17)))
    )
    assert outcome(padded.bend(attributes=padded.signer.attributes[:16]).resign().der()) is None
    with pytest.raises(LimitExceeded, match="attributes"):
        parse_message(padded.bend(attributes=padded.signer.attributes[:17]).resign().der())


# The attributes


def test_C082_without_transaction_id_or_message_type_there_is_no_answer():
    for oid in (names.TRANSACTION_ID, names.MESSAGE_TYPE):
        assert outcome(make.bent_req().without_attribute(oid).resign().der()) == "H400"


def test_C082_C084_a_sender_nonce_missing_or_empty_is_tolerated():
    missing = parse_message(make.bent_req().without_attribute(names.SENDER_NONCE).resign().der())
    empty = parse_message(with_attribute(names.SENDER_NONCE, tlv.octet_string(b"")))
    assert missing.sender_nonce == empty.sender_nonce == b""
    verify_message(missing, POLICY)


@pytest.mark.parametrize("tag", [tlv.PRINTABLE_STRING, tlv.UTF8_STRING, tlv.IA5_STRING])
@pytest.mark.parametrize("value", ["a", "a" * 255, "SSCEP transactionId", "dGhlIGlkPT0=/+", "019", "0"])
def test_C083_transaction_ids_are_read_as_sent(tag, value):
    der = with_attribute(names.TRANSACTION_ID, tlv.text(tag, value))
    assert parse_message(der).transaction_id == value
    assert outcome(der) is None


@pytest.mark.parametrize(
    "value",
    [
        tlv.printable(""),
        tlv.printable("a" * 256),
        tlv.printable("a" * 65_536),
        tlv.utf8("é"),
        tlv.utf8("٣"),
        tlv.printable("a\nb"),
        tlv.printable("a\r\nX-Header: b"),
        tlv.printable("a\n"),
        tlv.printable("a\0"),
        tlv.printable("\x1b[31m"),
        tlv.printable("{{7*7}}"),
        tlv.printable("<script>"),
        tlv.printable("a;b"),
        tlv.write(tlv.PRINTABLE_STRING, b"\xff\xfe"),
        tlv.write(tlv.UTF8_STRING, b"\xc0\x80"),
        tlv.octet_string(b"abc"),
        tlv.integer(7),
        tlv.text(tlv.BMP_STRING, "abc"),
    ],
)
def test_C083_S40_transaction_ids_that_are_payloads_are_refused(value):
    assert outcome(with_attribute(names.TRANSACTION_ID, value)) == "H400"


@pytest.mark.parametrize("value", ["../../x", "' OR 1=1"])
def test_S40_transaction_ids_that_only_look_like_payloads_are_read_as_sent(value):
    assert parse_message(with_attribute(names.TRANSACTION_ID, tlv.printable(value))).transaction_id == value


@pytest.mark.parametrize(("size", "fine"), [(1, True), (8, True), (16, True), (64, True), (65, False)])
def test_C084_nonces_of_1_to_64_octets_are_kept_whole(size, fine):
    der = with_attribute(names.SENDER_NONCE, tlv.octet_string(b"n" * size))
    if fine:
        assert parse_message(der).sender_nonce == b"n" * size
    else:
        assert outcome(der) == "H400"


@pytest.mark.parametrize(
    "text", ["019", "+19", " 19", "19 ", "19\0", "1_9", "", "-1", "00", "1000", "19\n", "0x13", "1e1", "19.0"]
)
def test_C085_S130_message_types_that_a_lenient_int_would_take_are_refused(text):
    assert outcome(with_attribute(names.MESSAGE_TYPE, tlv.printable(text))) == "H400"


@pytest.mark.parametrize(
    "value",
    [
        tlv.utf8("１９"),  # noqa: RUF001 - full-width digits
        tlv.utf8("19"),
        tlv.write(tlv.PRINTABLE_STRING, "١٩".encode()),
        tlv.integer(-19),
        tlv.integer(1000),
        tlv.integer(2**64),
        tlv.write(tlv.INTEGER, b""),
        tlv.octet_string(b"19"),
        tlv.write(tlv.INTEGER, b"\x7f" * 2000),
    ],
)
def test_C085_S130_message_types_of_another_type_or_beyond_bounds_are_refused(value):
    assert outcome(with_attribute(names.MESSAGE_TYPE, value)) == "H400"


def test_C085_C086_every_message_type_is_read_as_it_is_for_a_default_deny_dispatch():
    for number in (*range(256), 999):
        bent = make.bent_req()
        assert (
            parse_message(bent.with_attribute(names.MESSAGE_TYPE, tlv.printable(str(number))).der()).message_type
            == number
        )
        assert parse_message(bent.with_attribute(names.MESSAGE_TYPE, tlv.integer(number)).der()).message_type == number


def test_C087_what_only_a_reply_says_is_tolerated_in_a_request():
    bent = make.bent_req()
    for oid, value in (
        (names.PKI_STATUS, tlv.printable("0")),
        (names.FAIL_INFO, tlv.printable("2")),
        (names.RECIPIENT_NONCE, tlv.octet_string(bytes(16))),
        (names.FAIL_INFO_TEXT, tlv.utf8("text")),
    ):
        bent = bent.with_attribute(oid, value)
    message = parse_message(bent.resign().der())
    verify_message(message, POLICY)
    assert (message.pki_status, message.fail_info, message.recipient_nonce) == (0, 2, bytes(16))
    assert message.fail_info_text == "text"


@pytest.mark.parametrize("text", [tlv.utf8("x" * 257), tlv.null(), tlv.write(tlv.UTF8_STRING, b"\xff")])
def test_C087_a_fail_info_text_that_cannot_be_read_is_as_none(text):
    assert parse_message(with_attribute(names.FAIL_INFO_TEXT, text)).fail_info_text is None


@pytest.mark.parametrize("value", [tlv.write(tlv.UTC_TIME, b"garbage"), tlv.null()])
def test_a_signing_time_that_cannot_be_read_is_as_none(value):
    assert parse_message(with_attribute(names.SIGNING_TIME, value)).signing_time is None


# Algorithms


def digest_message(digest, who=None):
    return make.take_apart(make.pkcs_req(digest=digest, signer=who))


def test_C088_md5_is_bad_alg_unless_the_policy_lists_it():
    der = make.pkcs_req(digest=Digest.MD5)
    assert outcome(der) is Reason.algorithm_unsupported
    assert Reject(Reason.algorithm_unsupported).fail_info is FailInfo.badAlg
    assert outcome(der, CryptoPolicy(digests=MODERN_DIGESTS | {Digest.MD5})) is None
    named = make.take_apart(der).bend(signature_algorithm=write_algorithm("1.2.840.113549.1.1.4"))
    assert outcome(named.der()) is Reason.algorithm_unsupported


def test_C089_sha1_is_bad_alg_unless_the_policy_lists_it():
    der = make.pkcs_req(digest=Digest.SHA1)
    assert outcome(der) is Reason.algorithm_unsupported
    assert outcome(der, CryptoPolicy(digests=MODERN_DIGESTS | {Digest.SHA1})) is None


@pytest.mark.parametrize("digest", sorted(MODERN_DIGESTS, key=lambda d: d.name))
def test_C090_every_form_of_signature_over_sha2_is_accepted(digest):
    oid = next(oid for oid, known in RSA_SIGNATURES.items() if known is digest)
    bent = digest_message(digest)
    assert outcome(bent.der()) is None
    assert outcome(bent.bend(signature_algorithm=write_algorithm(oid)).der()) is None
    assert outcome(bent.bend(signature_algorithm=tlv.sequence(tlv.oid(oid))).der()) is None
    pss = make.pkcs_req(digest=digest, pss=True)
    assert outcome(pss) is None
    assert parse_message(pss).pss
    for curve in ("p256", "p384", "p521"):
        who = make.party("ec", curve)
        assert outcome(make.message(b"x", digest=digest, signer=who)) is None


def pss(digest, **fields):
    """Return an RSASSA-PSS algorithm whose parameters can be bent."""
    hashed = write_algorithm(digest.oid)
    parts = {"hash": tlv.explicit(0, hashed), "mask": tlv.explicit(1, write_algorithm(MGF1, hashed)), "salt": tlv.explicit(2, tlv.integer(digest.size)), "trailer": b""} | fields  # fmt: skip
    return tlv.sequence(tlv.oid(RSASSA_PSS), tlv.sequence(*parts.values()))


SHA1, SHA256 = Digest.SHA1, Digest.SHA256


@pytest.mark.parametrize(
    "algorithm",
    [
        tlv.sequence(tlv.oid(RSASSA_PSS)),
        tlv.sequence(tlv.oid(RSASSA_PSS), tlv.null()),
        tlv.sequence(tlv.oid(RSASSA_PSS), tlv.sequence()),
        pss(SHA256, hash=b""),
        pss(SHA256, mask=b""),
        pss(SHA256, hash=tlv.explicit(0, write_algorithm(Digest.SHA512.oid))),
        pss(SHA256, mask=tlv.explicit(1, write_algorithm(MGF1, write_algorithm(SHA1.oid)))),
        pss(SHA256, mask=tlv.explicit(1, write_algorithm("1.2.3", write_algorithm(SHA256.oid)))),
        pss(SHA256, mask=tlv.explicit(1, tlv.sequence(tlv.oid(MGF1)))),
        pss(SHA256, salt=tlv.explicit(2, tlv.integer(-1))),
        pss(SHA256, salt=tlv.explicit(2, tlv.integer(513))),
        pss(SHA256, salt=tlv.explicit(2, tlv.integer(2**2000))),
        pss(SHA256, trailer=tlv.explicit(3, tlv.integer(2))),
        pss(SHA256, trailer=tlv.explicit(3, tlv.integer(1)) + tlv.null()),
    ],
)
def test_C090_S26_pss_parameters_that_are_missing_or_do_not_fit_are_bad_alg(algorithm):
    bent = make.take_apart(make.pkcs_req(pss=True))
    assert outcome(bent.der()) is None
    assert outcome(bent.bend(signature_algorithm=algorithm).der()) is Reason.algorithm_unsupported


def test_C090_pss_with_default_parameters_spelled_out_or_left_out():
    bent = make.take_apart(make.pkcs_req(pss=True, digest=SHA1))
    assert outcome(bent.bend(signature_algorithm=pss(SHA1, hash=b"", mask=b"", salt=b"")).der(), EVERYTHING) is None
    explicit = pss(SHA1, trailer=tlv.explicit(3, tlv.integer(1)))
    assert outcome(bent.bend(signature_algorithm=explicit).der(), EVERYTHING) is None
    other_salt = pss(SHA1, salt=tlv.explicit(2, tlv.integer(21)))
    assert outcome(bent.bend(signature_algorithm=other_salt).der(), EVERYTHING) is Reason.signature_invalid
    # A salt that the key has no room for is a signature that does not verify.
    too_long = pss(SHA1, salt=tlv.explicit(2, tlv.integer(512)))
    assert outcome(bent.bend(signature_algorithm=too_long).der(), EVERYTHING) is Reason.signature_invalid


def test_C091_a_digest_that_the_signature_oid_contradicts_is_bad_alg():
    bent = digest_message(SHA256)
    assert (
        outcome(bent.bend(signature_algorithm=write_algorithm("1.2.840.113549.1.1.13")).der())
        is Reason.algorithm_unsupported
    )


def test_S26_a_digest_not_among_digest_algorithms_is_bad_alg():
    bent = make.bent_req()
    for algorithms in ((), (write_algorithm(Digest.SHA512.oid),)):
        assert outcome(attrs.evolve(bent, digest_algorithms=algorithms).der()) is Reason.algorithm_unsupported
    both = (write_algorithm(Digest.SHA512.oid), write_algorithm(SHA256.oid))
    assert outcome(attrs.evolve(bent, digest_algorithms=both).der()) is None


SIGNATURE_OIDS = [RSA_ENCRYPTION, *RSA_SIGNATURES, *ECDSA_SIGNATURES, ED25519, "1.2.840.10045.2.1", "1.2.3.4"]


@pytest.mark.parametrize("digest", list(Digest), ids=lambda d: d.name)
@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_S26_every_triple_of_key_digest_and_signature_oid(kind, digest):
    who = make.party("crossed", kind)
    bent = make.take_apart(make.message(b"x", signer=who)).redigest(digest)
    can_sign = kind != "p256" or digest is not Digest.MD5
    bent = bent.resign(who.key, digest=digest if can_sign else SHA256)
    for oid in SIGNATURE_OIDS:
        tables = ({RSA_ENCRYPTION: digest} | RSA_SIGNATURES) if kind == "rsa2048" else ECDSA_SIGNATURES
        allowed = tables.get(oid) is digest and can_sign
        der = bent.bend(signature_algorithm=write_algorithm(oid)).der()
        assert outcome(der, EVERYTHING) is (None if allowed else Reason.algorithm_unsupported)
        modern = allowed and digest in MODERN_DIGESTS
        assert outcome(der) is (None if modern else Reason.algorithm_unsupported)


def test_S26_parameters_where_none_belong_are_bad_alg():
    bent = make.bent_req().bend(signature_algorithm=write_algorithm(RSA_ENCRYPTION, tlv.integer(1)))
    assert outcome(bent.der()) is Reason.algorithm_unsupported


def test_S26_an_unknown_digest_is_bad_alg():
    algorithm = write_algorithm("1.2.3.4")
    bent = attrs.evolve(make.bent_req(), digest_algorithms=(algorithm,)).bend(digest_algorithm=algorithm)
    message = parse_message(bent.der())
    assert (message.digest, message.digest_oid) == (None, "1.2.3.4")
    assert outcome(bent.der()) is Reason.algorithm_unsupported


def test_S26_a_digest_that_the_library_lacks_is_bad_alg(monkeypatch):
    from cryptography.exceptions import UnsupportedAlgorithm

    from scepd.message import signature

    class Key:
        def verify(self, *_):
            raise UnsupportedAlgorithm("no")

    scheme = signature.Scheme("ec", SHA256, None)
    with pytest.raises(Reject) as caught:
        signature.is_valid(Key(), scheme, b"", b"")
    assert caught.value.reason is Reason.algorithm_unsupported


def rsa_spki(modulus, exponent):
    """Return an RSA SubjectPublicKeyInfo of any numbers."""
    key = tlv.sequence(tlv.integer(modulus), tlv.integer(exponent))
    return tlv.sequence(write_algorithm(RSA_ENCRYPTION), tlv.bit_string(key))


MODULUS = make.key("device").public_key().public_numbers().n


@pytest.mark.parametrize(
    ("spki_der", "usable"),
    [
        (rsa_spki(MODULUS, 65537), True),
        (rsa_spki((1 << 1023) + 1, 65537), False),
        (rsa_spki((1 << 511) + 1, 65537), False),
        (rsa_spki((1 << 8192) + 1, 65537), False),
        (rsa_spki((1 << 16_384) + 1, 65537), False),
        (rsa_spki(MODULUS, 0), False),
        (rsa_spki(MODULUS, 1), False),
        (rsa_spki(MODULUS, 2), False),
        (rsa_spki(MODULUS, 65536), False),
        (rsa_spki(MODULUS, -3), False),
        (rsa_spki(MODULUS, (1 << 64) + 1), False),
        (rsa_spki(MODULUS, MODULUS - 2), False),
        (rsa_spki(-MODULUS, 65537), False),
        (rsa_spki(0, 65537), False),
        (tlv.sequence(), False),
        (tlv.sequence(write_algorithm(RSA_ENCRYPTION), tlv.bit_string(b"")), False),
        (make.spki(make.key("odd curve", "k256")), False),
        (
            tlv.sequence(write_algorithm("1.2.840.10045.2.1", tlv.sequence()), tlv.bit_string(b"\x04" + bytes(64))),
            False,
        ),
        (make.spki(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))), False),
    ],
)
def test_C092_S26_signer_keys_outside_the_policy_are_refused_before_any_exponentiation(monkeypatch, spki_der, usable):
    calls = []
    monkeypatch.setattr(request, "is_valid", lambda *_: not calls.append(1))
    certificate = make.certificate(make.key("device"), spki_der=spki_der)
    reason = outcome(attrs.evolve(make.bent_req(), certificates=(certificate,)).der())
    assert reason is (None if usable else Reason.signer_key_refused)
    assert len(calls) == usable


def test_C092_the_bounds_of_the_signer_key_are_the_policys():
    small = make.party("small", "rsa1024")
    der = make.message(b"x", signer=small)
    assert outcome(der) is Reason.signer_key_refused
    assert outcome(der, CryptoPolicy(minimum_signer_rsa=1024)) is None
    assert outcome(make.pkcs_req(), CryptoPolicy(maximum_signer_rsa=2047)) is Reason.signer_key_refused


def test_bad_algorithms_are_found_before_a_bad_signature():
    bent = make.bent_req().bend(signature=bytes(256))
    assert outcome(bent.der()) is Reason.signature_invalid
    assert outcome(bent.der(), CryptoPolicy(digests=frozenset({Digest.SHA512}))) is Reason.algorithm_unsupported
    no_certificate = attrs.evolve(bent, certificates=())
    assert outcome(no_certificate.der(), CryptoPolicy(digests=frozenset())) is Reason.algorithm_unsupported


# Tolerances


@pytest.mark.parametrize("fragment", [7, 100, 100_000])
def test_C093_S22_ber_of_indefinite_length_is_read_and_verified(fragment):
    plain = parse_message(make.message(b"content " * 50))
    ber = make.ber_message(make.message(b"content " * 50), fragment=fragment)
    assert parse_message(ber).content == plain.content
    assert outcome(ber) is None
    assert outcome(make.ber_req(fragment=1000)) is None


def test_C093_attributes_in_ber_are_verified_in_der():
    bent = make.bent_req()
    version, sid, digest_algorithm, attributes, *rest = tlv.read(bent.signer.der()).children
    in_ber = make.indefinite(0xA0, *(e.der for e in attributes.children))
    info = tlv.sequence(version.der, sid.der, digest_algorithm.der, in_ber, *(e.der for e in rest))
    signed_data = tlv.read(bent.der()).children[1].children[0].children
    whole = make.indefinite(tlv.SEQUENCE, *(e.der for e in signed_data[:-1]), tlv.set_of((info,)))
    assert outcome(tlv.sequence(tlv.oid(names.SIGNED_DATA), tlv.explicit(0, whole))) is None


def test_S22_attributes_that_cannot_be_put_into_der_are_bad_message_check():
    odd = make.attribute("1.2.3", make.indefinite(0x21, tlv.null()))
    bent = make.bent_req()
    assert outcome(bent.bend(attributes=(*bent.signer.attributes, odd)).der()) is Reason.signature_invalid


def test_C094_S21_trailing_octets_are_refused():
    assert outcome(make.pkcs_req() + b"\0") == "H400"
    assert outcome(make.ber_req() + b"\n") == "H400"


def test_C095_a_signer_certificate_without_key_usage_is_no_reason_to_refuse():
    usage = Extension("2.5.29.15", True, bytes.fromhex("03020780"))  # digitalSignature alone
    odd = Extension("2.5.29.35", True, tlv.sequence())  # a critical authorityKeyIdentifier, as Windows writes
    for extensions in ((), (usage,), (odd,), (Extension("2.5.29.14", False, b"\xff"),)):
        certificate = make.certificate(make.key("device"), extensions=extensions)
        assert outcome(attrs.evolve(make.bent_req(), certificates=(certificate,)).der()) is None


def test_C096_a_signer_of_another_name_than_the_request_is_read():
    who = make.party("temporary name")
    assert outcome(make.pkcs_req(signer=who, subject=make.name(CN="device"))) is None


VALIDITIES = {
    "expired": tlv.sequence(tlv.write(tlv.UTC_TIME, b"990101000000Z"), tlv.write(tlv.UTC_TIME, b"000101000000Z")),
    "not yet valid": tlv.sequence(tlv.write(tlv.GENERALIZED_TIME, b"21000101000000Z"), tlv.write(tlv.GENERALIZED_TIME, b"22000101000000Z")),
    "GeneralizedTime before 2050": tlv.sequence(tlv.write(tlv.GENERALIZED_TIME, b"20200101000000Z"), tlv.write(tlv.GENERALIZED_TIME, b"21200101000000Z")),
    "without seconds": tlv.sequence(tlv.write(tlv.UTC_TIME, b"2601010000Z"), tlv.write(tlv.UTC_TIME, b"2701010000Z")),
    "unreadable": tlv.sequence(tlv.write(tlv.UTC_TIME, b"never"), tlv.null()),
    "empty": tlv.sequence(),
}  # fmt: skip


@pytest.mark.parametrize("label", VALIDITIES)
def test_C098_the_validity_of_a_self_signed_signer_is_not_judged(label):
    certificate = make.certificate(make.key("device"), validity_der=VALIDITIES[label])
    der = attrs.evolve(make.bent_req(), certificates=(certificate,)).der()
    assert outcome(der) is None
    signer = parse_message(der).signer
    readable = label not in {"unreadable", "empty"}
    assert (signer.not_before is not None, signer.not_after is not None) == (readable, readable)
    assert signer.self_issued


@pytest.mark.parametrize(
    ("version", "serial_der", "found"),
    [
        (None, tlv.integer(1), True),  # v1, as certmonger makes
        (3, tlv.integer(1), True),
        (2, tlv.integer(int.from_bytes(b"F4A5C0FFEE0123456789ABCDEF01234\0", "big")), True),  # sscep
        (2, tlv.integer((1 << 256) - 1), True),
        (2, tlv.integer(0), True),
        (2, tlv.integer(-5), True),
        (2, tlv.write(tlv.INTEGER, bytes(20)), True),
        (2, tlv.integer(1 << 264), False),
    ],
)
def test_C098_odd_versions_and_serials_of_signers_are_read(version, serial_der, found):
    certificate = make.certificate(make.key("device"), version=version, serial_der=serial_der)
    sid = tlv.sequence(make.write_name(make.name(CN="device")), serial_der)
    der = attrs.evolve(make.bent_req(), certificates=(certificate,)).bend(sid=sid).der()
    assert outcome(der) is (None if found else Reason.signer_missing)


def test_key_identifiers_of_broken_certificates_are_computed():
    for extensions in ((Extension("2.5.29.14", False, b"\x30\x03"),), ()):
        certificate = load_certificate(make.certificate(make.key("device"), extensions=extensions))
        assert len(certificate.key_identifier) == 20
    assert len(load_certificate(make.certificate(make.key("device"), spki_der=tlv.sequence())).key_identifier) == 20
    odd = attrs.evolve(certificate, der=tlv.sequence(tlv.sequence()))
    assert len(odd.key_identifier) == 20


def test_key_identifiers_are_found_behind_unique_identifiers():
    from scepd.message import certificate as module

    fields = tlv.read(
        tlv.sequence(tlv.implicit(1, b"\0", constructed=False), tlv.explicit(3, tlv.sequence(tlv.null())))
    ).fields()
    assert [e.tag for e in module._extensions(fields)] == [tlv.NULL]


# Building and round trips


ATTRIBUTES = st.builds(
    Attributes,
    transaction_id=st.text("abcXYZ019 '()+,-./:=?", min_size=1, max_size=255),
    message_type=st.integers(0, 999),
    sender_nonce=st.binary(max_size=64),
    recipient_nonce=st.none() | st.binary(max_size=64),
    pki_status=st.none() | st.sampled_from([0, 2, 3]),
    fail_info=st.none() | st.integers(0, 4),
    fail_info_text=st.none() | st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=60),
    signing_time=st.none() | st.just(make.NOW),
    content_type=st.none() | st.just(names.DATA),
    message_digest=st.none() | st.binary(max_size=64),
)


@given(ATTRIBUTES)
def test_attributes_round_trip(attributes):
    der = write_attributes(attributes)
    assert read_attributes(tlv.read(der)) == attributes
    assert [e.der for e in tlv.read(der).children] == sorted(e.der for e in tlv.read(der).children)


def test_attributes_that_are_not_said_are_not_written():
    least = Attributes("id", 19)
    assert read_attributes(tlv.read(write_attributes(least))) == least
    assert len(tlv.read(write_attributes(least)).children) == 3


@given(content=st.none() | st.binary(max_size=300), nonce=st.binary(max_size=64), kind=st.sampled_from(["rsa2048", "p256"]), digest=st.sampled_from(sorted(MODERN_DIGESTS, key=str)), pss=st.booleans(), message_type=st.integers(0, 999))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_messages_round_trip(content, nonce, kind, digest, pss, message_type):
    who = make.party("round trip", kind)
    der = make.message(content, sender_nonce=nonce, signer=who, digest=digest, pss=pss, message_type=message_type)
    message = parse_message(der)
    verify_message(message, POLICY)
    assert (message.content, message.sender_nonce, message.message_type) == (content, nonce, message_type)
    assert (message.digest, message.pss) == (digest, pss and kind == "rsa2048")
    assert parse_message(make.ber_message(der)).content == content


@pytest.mark.parametrize(
    "fields",
    [
        {"transaction_id": ""},
        {"transaction_id": "a" * 256},
        {"transaction_id": "é"},
        {"fail_info": 7},
        {"fail_info_text": "x" * 257},
    ],
)
def test_values_that_scep_cannot_carry_are_not_written(fields):
    with pytest.raises(ValueError):
        write_attributes(attrs.evolve(Attributes("id", 19), **fields))


def test_C079_a_policy_may_take_a_message_without_the_attribute_as_one_about_data():
    policy = CryptoPolicy(content_type_optional=True)
    bent = make.bent_req().without_attribute(names.CONTENT_TYPE).resign()
    verify_message(parse_message(bent.der()), policy)
    with pytest.raises(Reject):
        verify_message(parse_message(bent.der()), CryptoPolicy())
    wrong = make.bent_req().with_attribute(names.CONTENT_TYPE, tlv.oid(names.ENVELOPED_DATA)).resign()
    with pytest.raises(Reject):
        verify_message(parse_message(wrong.der()), policy)
