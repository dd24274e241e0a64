"""CertReps as built, as a client reads them, and as independent decoders see them; certs-only messages."""

import itertools
import os
from datetime import timedelta

import attrs
import pytest

from scepd.message import names, tlv
from scepd.message.algorithms import (
    MODERN_DIGESTS,
    OAEP_SHA1,
    OAEP_SHA256,
    PKCS1V15,
    Cipher,
    CryptoPolicy,
    Digest,
    KeyTransport,
)
from scepd.message.certrep import (
    ReplySigner,
    certs_only,
    failure,
    pending,
    read_certrep,
    read_certs_only,
    read_crls_only,
    success,
)
from scepd.message.enveloped import decrypt
from scepd.message.errors import LimitExceeded, MessageError
from scepd.message.names import PkiStatus
from scepd.message.request import parse_message
from scepd.message.signature import RSA_ENCRYPTION
from scepd.records import Secret
from scepd.refusal import WIRE, FailInfo, Reason, Reject
from tests import make
from tests.message import oracles

EVERYTHING = CryptoPolicy(
    digests=frozenset(Digest), ciphers=frozenset(Cipher), transports=frozenset({PKCS1V15, *map(KeyTransport, Digest)})
)
ISSUED = make.certificate(make.key("issued"), subject=make.name(CN="issued"), issuer=make.party("ca"))
CA = make.party("ca").certificate_der
RA = ReplySigner(make.ra().certificate_der, make.ra().key)
REQUEST = parse_message(make.pkcs_req())


def succeed(
    request=REQUEST, certificates=(ISSUED, CA), *, cipher=Cipher.AES128, transport=PKCS1V15, signer=RA, **fields
):
    return success(
        request,
        certificates,
        cipher=cipher,
        transport=transport,
        signer=signer,
        now=make.NOW,
        random=os.urandom,
        **fields,
    )


def fail(
    request=REQUEST, fail_info=FailInfo.badRequest, text="request refused", *, signer=RA, policy=EVERYTHING, **fields
):
    return failure(request, fail_info, text, signer=signer, now=make.NOW, random=os.urandom, policy=policy, **fields)


def pend(request=REQUEST, *, signer=RA, policy=EVERYTHING, **fields):
    return pending(request, signer=signer, now=make.NOW, random=os.urandom, policy=policy, **fields)


def read(body, *trusted):
    return read_certrep(body, trusted=trusted or (make.ra().certificate_der,), policy=EVERYTHING)


def opened(body):
    """Return the degenerate SignedData inside a SUCCESS."""
    return decrypt(read(body).content, make.device().certificate_der, make.device().key, EVERYTHING)


def attributes(body):
    return oracles.signed_attributes(body)


ALL = {"success": succeed, "failure": fail, "pending": pend}
each = pytest.mark.parametrize("build", ALL.values(), ids=ALL)


# GetCACert


def test_C047_certs_only_is_a_degenerate_signed_data():
    der = certs_only([make.ra().certificate_der, CA])
    data = oracles.signed_data(der)
    assert data["version"].native == "v1"
    assert len(data["signer_infos"]) == len(data["digest_algorithms"]) == 0
    assert data["encap_content_info"]["content_type"].native == "data"
    assert data["encap_content_info"]["content"].native is None
    assert data["crls"].native is None
    assert b"-----BEGIN CERTIFICATE-----" in oracles.openssl("pkcs7", "-inform", "DER", "-print_certs", stdin=der)


def test_C045_C046_C048_one_certificate_or_a_bag_is_told_by_its_first_bytes():
    single = make.party("ca").certificate_der
    with pytest.raises(MessageError):
        read_certs_only(single)
    assert read_certs_only(certs_only([single])) == [single]


def test_C049_C119_certificates_stay_in_the_order_given():
    bag = [make.party(who).certificate_der for who in ("ra", "ca", "device", "attacker")]
    for order in itertools.permutations(bag):
        der = certs_only(order)
        assert read_certs_only(der) == list(order)
        assert [c.chosen.dump() for c in oracles.signed_data(der)["certificates"]] == list(order)


def test_C121_crls_alone_carry_no_certificate():
    crl = tlv.sequence(tlv.sequence(), tlv.sequence(), tlv.bit_string(b"x"))
    der = certs_only((), (crl, crl))
    assert (read_certs_only(der), read_crls_only(der)) == ([], [crl, crl])
    assert tlv.read(der).children[1].children[0].children[3].tag == 0xA1


@pytest.mark.parametrize(
    "der",
    [
        make.pkcs_req(),
        attrs.evolve(make.bent_req(), signers=()).der(),
        attrs.evolve(make.bent_req(), signers=(), content_der=tlv.null()).der(),
        b"",
        b"\x30\0",
    ],
)
def test_C047_what_is_not_degenerate_is_refused(der):
    with pytest.raises(MessageError):
        read_certs_only(der)


# The CR macro


@each
def test_C115_C134_every_reply_has_all_its_attributes(build):
    body = build()
    said = attributes(body)
    assert said[names.CONTENT_TYPE].native == "data"
    assert said[names.TRANSACTION_ID].dump() == tlv.printable(make.TRANSACTION)
    assert said[names.MESSAGE_TYPE].dump() == tlv.printable("3")
    assert said[names.PKI_STATUS].dump() in {tlv.printable(status) for status in "023"}
    assert len(said[names.SENDER_NONCE].parse().native) == 16
    assert said[names.RECIPIENT_NONCE].dump() == tlv.octet_string(make.NONCE)
    assert said[names.SIGNING_TIME].native == make.NOW
    assert said[names.MESSAGE_DIGEST].native
    (signer,) = oracles.signed_data(body)["signer_infos"]
    signed = [a.dump() for a in signer["signed_attrs"]]
    assert signed == sorted(signed)


@each
def test_C116_sender_nonces_are_fresh(build):
    nonces = {bytes(attributes(build())[names.SENDER_NONCE].parse().native) for _ in range(5)}
    assert len(nonces) == 5
    assert make.NONCE not in nonces


@each
@pytest.mark.parametrize("nonce", [b"n", b"n" * 8, b"n" * 16, b"n" * 64])
def test_C117_C084_the_nonce_is_echoed_whole(build, nonce):
    reply = read(build(parse_message(make.pkcs_req(sender_nonce=nonce))))
    assert reply.recipient_nonce == nonce


@each
def test_C117_C082_without_a_nonce_there_is_nothing_to_echo(build):
    for request in (
        make.bent_req().without_attribute(names.SENDER_NONCE).resign().der(),
        make.pkcs_req(sender_nonce=b""),
    ):
        body = build(parse_message(request))
        assert read(body).recipient_nonce is None
        assert names.RECIPIENT_NONCE not in attributes(body)


@each
def test_C083_the_transaction_id_is_a_printable_string_again(build):
    request = make.bent_req().with_attribute(names.TRANSACTION_ID, tlv.utf8("0 (a)")).resign().der()
    assert attributes(build(parse_message(request)))[names.TRANSACTION_ID].dump() == tlv.printable("0 (a)")


@each
def test_C128_the_bag_holds_the_signer_and_its_chain_and_never_what_was_issued(build):
    body = build(signer=ReplySigner(RA.certificate_der, RA.key, (CA,)))
    bag = [c.chosen.dump() for c in oracles.signed_data(body)["certificates"]]
    assert bag == [RA.certificate_der, CA]
    assert ISSUED not in body


@each
def test_C135_versions_and_the_signers_name(build):
    data = oracles.signed_data(build())
    assert data["version"].native == "v1"
    (signer,) = data["signer_infos"]
    assert signer["version"].native == "v1"
    assert signer["sid"].name == "issuer_and_serial_number"
    assert signer["sid"].chosen["serial_number"].native == 0x1001


@each
@pytest.mark.parametrize("digest", list(Digest), ids=lambda d: d.name)
def test_C125_the_digest_is_the_requests(build, digest):
    body = build(parse_message(make.pkcs_req(digest=digest)))
    data = oracles.signed_data(body)
    assert [a["algorithm"].dotted for a in data["digest_algorithms"]] == [digest.oid]
    assert data["signer_infos"][0]["digest_algorithm"]["algorithm"].dotted == digest.oid
    assert len(attributes(body)[names.MESSAGE_DIGEST].native) == digest.size


@pytest.mark.parametrize("build", [fail, pend], ids=["failure", "pending"])
def test_C125_a_digest_that_the_policy_lacks_is_answered_in_sha256(build):
    for request in (make.pkcs_req(digest=Digest.MD5), make.pkcs_req(digest=Digest.SHA1)):
        assert parse_message(build(parse_message(request), policy=CryptoPolicy())).digest is Digest.SHA256
    unknown = make.bent_req().bend(digest_algorithm=tlv.sequence(tlv.oid("1.2.3"))).der()
    assert parse_message(build(parse_message(unknown))).digest is Digest.SHA256


@each
def test_C127_the_signature_algorithm_follows_key_and_request(build):
    algorithm = oracles.signed_data(build())["signer_infos"][0]["signature_algorithm"]
    assert (algorithm["algorithm"].dotted, algorithm["parameters"].native) == (RSA_ENCRYPTION, None)
    assert parse_message(build(parse_message(make.pkcs_req(pss=True)))).pss
    ec = make.party("ec ra", "p384")
    signer = ReplySigner(ec.certificate_der, ec.key)
    for request in (REQUEST, parse_message(make.pkcs_req(pss=True))):
        body = build(request, signer=signer)
        assert read(body, ec.certificate_der)
        assert (
            oracles.signed_data(body)["signer_infos"][0]["signature_algorithm"]["algorithm"].dotted
            == "1.2.840.10045.4.3.2"
        )
    assert parse_message(build(parse_message(make.pkcs_req(digest=Digest.MD5)), signer=signer)).digest is Digest.SHA256


# SUCCESS


def test_C118_C120_success_holds_the_issued_certificate_first_and_the_chain_given():
    for chain in ((), (CA,), (CA, make.party("root").certificate_der)):
        body = succeed(certificates=(ISSUED, *chain))
        assert read_certs_only(opened(body)) == [ISSUED, *chain]
        assert oracles.signed_data(opened(body))["crls"].native is None
        reply = read(body)
        assert (reply.status, reply.fail_info, reply.fail_info_text) == (PkiStatus.SUCCESS, None, None)
        assert reply.transaction_id == make.TRANSACTION


def test_C121_a_reply_of_crls_carries_no_certificate():
    crl = tlv.sequence(tlv.sequence(), tlv.sequence(), tlv.bit_string(b"x"))
    inner = opened(succeed(certificates=(), crls=(crl,)))
    assert (read_certs_only(inner), read_crls_only(inner)) == ([], [crl])


def test_C122_C123_S29_the_one_recipient_is_the_signer_whatever_is_in_the_bag():
    bag = [make.party(who).certificate_der for who in ("attacker", "device", "ca")]
    for order in itertools.permutations(bag):
        request = parse_message(make.pkcs_req(certificates=order))
        body = succeed(request)
        envelope = make.open_up(read(body).content)
        assert len(envelope.entries) == 1
        assert envelope.entry.rid == make.bent_req().signer.sid
        assert read_certs_only(opened(body)) == [ISSUED, CA]
    with pytest.raises(Reject):
        decrypt(read(body).content, make.party("attacker").certificate_der, make.key("attacker"), EVERYTHING)


@pytest.mark.parametrize("cipher", list(Cipher), ids=lambda c: c.name)
@pytest.mark.parametrize("transport", [PKCS1V15, OAEP_SHA1, OAEP_SHA256], ids=str)
def test_C124_C126_cipher_and_transport_are_those_given(cipher, transport):
    body = succeed(cipher=cipher, transport=transport)
    assert read_certs_only(opened(body)) == [ISSUED, CA]
    assert oracles.cms_decrypt(oracles.cms_verify(body, RA.certificate_der), make.device()) == opened(body)


def test_success_needs_a_signer_that_can_receive():
    nobody = parse_message(attrs.evolve(make.bent_req(), certificates=()).der())
    with pytest.raises(Reject, match="signer_missing"):
        succeed(nobody)
    with pytest.raises(Reject, match="reply_unprotectable"):
        succeed(parse_message(make.pkcs_req(signer=make.party("ec device", "p256"))))


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "ed25519"])
def test_C252_C250_a_signer_that_cannot_decrypt_gets_its_reply_under_the_password(kind):
    who, password = make.party("ec device", kind), Secret("k3vx-29ab-77qd-m4zt")
    body = succeed(parse_message(make.message(b"x", signer=who, digest=Digest.SHA512)), password=password)
    content = read(body).content
    assert read_certs_only(decrypt(content, who.certificate_der, who.key, EVERYTHING, password=password)) == [
        ISSUED,
        CA,
    ]
    with pytest.raises(Reject):
        decrypt(content, who.certificate_der, who.key, EVERYTHING, password=Secret("another"))


def test_C252_a_signer_that_can_decrypt_gets_its_reply_by_key_whatever_password_there_is():
    body = succeed(password=Secret("k3vx-29ab-77qd-m4zt"))
    assert read_certs_only(opened(body)) == [ISSUED, CA]
    assert oracles.cms_decrypt(oracles.cms_verify(body, RA.certificate_der), make.device()) == opened(body)


def test_C121_C252_crls_go_under_the_password_too():
    who, password = make.party("ec device", "p256"), Secret("k3vx-29ab-77qd-m4zt")
    crl = tlv.sequence(tlv.sequence(), tlv.sequence(), tlv.bit_string(b"x"))
    request = parse_message(make.pkcs_req(signer=who))
    content = read(succeed(request, certificates=(), crls=(crl,), password=password)).content
    inner = decrypt(content, who.certificate_der, who.key, EVERYTHING, password=password)
    assert read_crls_only(inner) == [crl]


# FAILURE and PENDING


@pytest.mark.parametrize("reason", list(Reason), ids=lambda r: r.name)
def test_C129_C131_C132_failures_say_fail_info_and_a_fixed_text(reason):
    fail_info, text = WIRE[reason]
    body = fail(fail_info=fail_info, text=text)
    said = attributes(body)
    assert said[names.PKI_STATUS].dump() == tlv.printable("2")
    assert said[names.FAIL_INFO].dump() == tlv.printable(str(int(fail_info)))
    assert said[names.FAIL_INFO_TEXT].dump() == tlv.utf8(text)
    reply = read(body)
    assert (reply.status, reply.fail_info, reply.fail_info_text, reply.content) == (
        PkiStatus.FAILURE,
        fail_info,
        text,
        b"",
    )


def test_C131_no_other_fail_info_is_written():
    for number in (5, 7, 11, -1):
        with pytest.raises(ValueError):
            fail(fail_info=number)


def test_C132_a_text_beyond_256_octets_is_not_written():
    assert read(fail(text="x" * 256)).fail_info_text == "x" * 256
    with pytest.raises(ValueError):
        fail(text="x" * 257)


def test_C133_the_text_can_be_left_out():
    assert names.FAIL_INFO_TEXT not in attributes(fail(text=None))
    assert read(fail(text=None)).fail_info_text is None


def test_C130_C242_pending_says_neither_fail_info_nor_text():
    said = attributes(pend())
    assert said[names.PKI_STATUS].dump() == tlv.printable("3")
    assert not {names.FAIL_INFO, names.FAIL_INFO_TEXT} & set(said)
    assert not {names.FAIL_INFO, names.FAIL_INFO_TEXT} & set(attributes(succeed()))
    assert read(pend()).status is PkiStatus.PENDING


@pytest.mark.parametrize("build", [fail, pend], ids=["failure", "pending"])
def test_C129_C130_the_content_is_empty_or_left_out(build):
    for empty_content, content in ((True, b""), (False, None)):
        body = build(empty_content=empty_content)
        assert parse_message(body).content == content
        assert read(body).content == content
        digest = attributes(body)[names.MESSAGE_DIGEST].native
        assert digest.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert oracles.cms_verify(build(), RA.certificate_der) == b""


def test_a_failure_needs_no_signer_certificate_in_the_request():
    nobody = parse_message(attrs.evolve(make.bent_req(), certificates=()).der())
    assert read(fail(nobody)).status is PkiStatus.FAILURE


# C-136: independent decoders


@each
@pytest.mark.parametrize("digest", sorted(MODERN_DIGESTS | {Digest.SHA1}, key=lambda d: d.name), ids=lambda d: d.name)
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "p521", "pss"])
def test_C136_openssl_and_asn1crypto_read_every_reply(build, digest, kind):
    who = make.party("reply", "rsa2048" if kind == "pss" else kind)
    request = parse_message(make.pkcs_req(digest=digest, pss=kind == "pss"))
    body = build(request, signer=ReplySigner(who.certificate_der, who.key))
    content = oracles.cms_verify(body, who.certificate_der)
    assert content == (read(body, who.certificate_der).content or b"")
    assert oracles.signed_data(body).dump(force=True)
    if build is succeed:
        inner = oracles.cms_decrypt(content, make.device())
        assert [c.chosen.dump() for c in oracles.signed_data(inner)["certificates"]] == [ISSUED, CA]


# The client's side


def test_a_reply_by_somebody_else_is_refused():
    for build in ALL.values():
        attacker = make.party("attacker")
        forged = build(signer=ReplySigner(attacker.certificate_der, attacker.key))
        with pytest.raises(Reject) as caught:
            read(forged)
        assert caught.value.reason is Reason.signer_missing
    # The same name with another key, and the genuine certificate in the bag.
    twin = make.certificate(make.key("attacker"), subject=make.name(CN="ra"))
    forged = fail(signer=ReplySigner(twin, make.key("attacker"), (RA.certificate_der,)))
    with pytest.raises(Reject) as caught:
        read(forged)
    assert caught.value.reason is Reason.signature_invalid


def test_a_reply_whose_signer_is_not_in_the_bag_is_read():
    bare = attrs.evolve(make.take_apart(fail()), certificates=()).der()
    assert read(bare, CA, make.ra().certificate_der).status is PkiStatus.FAILURE


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (names.MESSAGE_TYPE, tlv.printable("19")),
        (names.PKI_STATUS, tlv.printable("1")),
        (names.PKI_STATUS, tlv.printable("x")),
        (names.FAIL_INFO, tlv.printable("7")),
    ],
)
def test_C131_a_reply_that_says_what_no_cert_rep_says_is_refused(oid, value):
    bent = make.take_apart(fail()).with_attribute(oid, value).resign(make.ra().key)
    with pytest.raises(MessageError):
        read(bent.der())


def test_a_reply_in_a_digest_that_the_client_does_not_take_is_refused():
    body = fail(parse_message(make.pkcs_req(digest=Digest.SHA1)))
    with pytest.raises(Reject) as caught:
        read_certrep(body, trusted=[RA.certificate_der])
    assert caught.value.reason is Reason.algorithm_unsupported


def test_C121_a_crl_of_a_mebibyte_is_read_by_a_client_that_makes_room_for_it():
    crl = tlv.sequence(
        tlv.sequence(), tlv.sequence(*[tlv.sequence(tlv.integer(5))] * 9_000, tlv.octet_string(bytes(1 << 20)))
    )
    body = succeed(certificates=(), crls=(crl,))
    device, room = make.device(), tlv.Limits(size=1 << 21, elements=20_000)
    with pytest.raises(LimitExceeded):
        read(body)
    content = read_certrep(body, trusted=[RA.certificate_der], policy=EVERYTHING, limits=room).content
    with pytest.raises(Reject, match="envelope_invalid"):
        decrypt(content, device.certificate_der, device.key, EVERYTHING)
    inner = decrypt(content, device.certificate_der, device.key, EVERYTHING, limits=room)
    assert read_crls_only(inner, room) == [crl]
    for limits in (tlv.LIMITS, attrs.evolve(room, elements=18_000)):
        with pytest.raises(LimitExceeded):
            read_crls_only(inner, limits)


def test_signing_times_beyond_2049_are_written():
    late = make.NOW + timedelta(days=365 * 30)
    body = pending(REQUEST, signer=RA, now=late, random=os.urandom, policy=EVERYTHING)
    assert parse_message(body).signing_time == late
