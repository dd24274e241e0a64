"""PKCSReq from bytes to certificate: what is issued, what the reply says, what is on record."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.message.algorithms import OAEP_SHA1, OAEP_SHA256, PKCS1V15, Cipher, Digest
from scepd.message.enveloped import parse_envelope
from scepd.message.request import parse_message
from scepd.profile.blocked_keys import BlockedKeys, read_entries
from scepd.records import CertificateState, TransactionState
from scepd.x509.keys import spki_digest
from tests import make
from tests.enroll.conftest import ANYTHING
from tests.world import STATIC, default_profile, make_world, spki_of

UNIFORM = "request refused"


def test_C001_C118_C119_C148_a_valid_challenge_gets_a_certificate(device, world):
    leaf, issuer = device.certificates(device.send(device.request()))
    certificate = x509.load_der_x509_certificate(leaf)
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(world.keys.ca_der))
    assert issuer == world.keys.ca_der
    assert certificate.subject == x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "device")])


def test_C156_the_public_key_is_the_requests_bit_for_bit(device):
    certificate = x509.load_der_x509_certificate(device.enrol())
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki == make.spki(make.device().key)


def test_C162_the_record_is_durable_before_the_reply(keys, tmp_path):
    seen = []

    def checkpoint(name):
        if name == "before_reply":
            other = make_world(keys, tmp_path, owner="node/9.0")
            seen.extend(other.store.certificates())
            other.store.close()

    world = make_world(keys, tmp_path, checkpoint=checkpoint)
    ra = make.Party(keys.decrypt, keys.decrypt_der)
    world.respond(make.pkcs_req(challenge=STATIC, recipient=ra))
    assert [row.state for row in seen] == [CertificateState.ISSUED]


def test_C117_C116_the_reply_echoes_the_nonce_and_has_a_fresh_one_of_its_own(device):
    replies = [parse_message(device.send(device.request()).answer.body) for _ in range(2)]
    assert {reply.recipient_nonce for reply in replies} == {make.NONCE}
    nonces = {reply.sender_nonce for reply in replies}
    assert len(nonces) == 2
    assert {len(nonce) for nonce in nonces} == {16}
    assert make.NONCE not in nonces


@pytest.mark.parametrize("nonce", [b"12345678", bytes(64), b"x"], ids=["8", "64", "1"])
def test_C084_other_nonce_lengths_are_echoed_whole(device, nonce):
    reply = device.read(device.send(device.request(sender_nonce=nonce)))
    assert (reply.status, reply.recipient_nonce) == (0, nonce)


@pytest.mark.parametrize("digest", [Digest.SHA256, Digest.SHA384, Digest.SHA512])
def test_C125_the_digest_is_mirrored(device, digest):
    body = device.send(device.request(digest=digest)).answer.body
    assert parse_message(body).digest is digest


@pytest.mark.parametrize("cipher", [Cipher.AES128, Cipher.AES192, Cipher.AES256])
@pytest.mark.parametrize("transport", [PKCS1V15, OAEP_SHA1, OAEP_SHA256], ids=str)
def test_C124_C126_C103_C105_cipher_and_transport_are_mirrored(device, cipher, transport):
    response = device.send(device.request(cipher=cipher, transport=transport))
    assert device.certificates(response)
    envelope = parse_envelope(device.read(response).content, ANYTHING)
    assert (envelope.cipher, envelope.recipients[0].transport) == (cipher, transport)


def test_C122_C123_S29_the_reply_is_for_the_signer_alone_whatever_else_is_in_the_bag(device):
    bag = [make.device().certificate_der, make.party("other").certificate_der, make.party("third").certificate_der]
    response = device.send(device.request(certificates=bag))
    envelope = parse_envelope(device.read(response).content, ANYTHING)
    assert len(envelope.recipients) == 1
    assert device.certificates(response)


def test_C096_C097_another_subject_in_the_signers_certificate_is_accepted_and_never_an_identity(device):
    leaf = x509.load_der_x509_certificate(device.enrol(subject=make.name(CN="r1", O="Example")))
    assert leaf.subject.rfc4514_string() == "O=Example,CN=r1"
    assert device.refusal(device.request(challenge=None, transaction_id="two"))[0] == "challenge_missing"


def test_C098_an_expired_self_signed_signer_is_accepted(device):
    expired = make.tlv.sequence(
        make.tlv.time(make.NOW - timedelta(days=9000)), make.tlv.time(make.NOW - timedelta(days=8999))
    )
    old = make.Party(make.device().key, make.certificate(make.device().key, validity_der=expired))
    assert device.enrol(signer=old)


@pytest.mark.parametrize(("chain", "count"), [("none", 1), ("issuer", 2), ("full", 2)])
def test_C120_certificates_above_the_leaf_by_profile(keys, tmp_path, chain, count):
    world = make_world(keys, tmp_path, profiles=[default_profile(reply_chain=chain)])
    from tests.enroll.conftest import Device

    device = Device(world)
    assert len(device.certificates(device.send(device.request()))) == count


def test_the_trail_and_the_transaction_are_stored(device, world):
    device.enrol()
    (transaction,) = world.store.transactions()
    assert transaction.state is TransactionState.ISSUED
    assert transaction.identity.method == "static"
    assert [step.name for step in transaction.trail] == [
        "parsed", "verified", "decrypted", "possession", "authorized", "drafted", "intent", "signed",
    ]  # fmt: skip


def test_C160_the_fingerprint_of_the_request_is_kept(device, world):
    csr = make.csr(challenge=STATIC)
    device.send(device.request(csr_der=csr))
    (transaction,) = world.store.transactions()
    import hashlib

    assert transaction.csr_fingerprint == hashlib.sha256(csr).hexdigest()


def test_S33_the_stored_request_has_no_challenge_in_it(device, world, tmp_path):
    device.enrol()
    world.store.close()
    for path in tmp_path.iterdir():
        assert STATIC.encode() not in path.read_bytes(), path
    # A store that hid nothing would show the name.
    assert any(b"CN=device" in path.read_bytes() for path in tmp_path.iterdir())


def test_C149_C150_no_challenge_and_an_empty_one_are_refused_alike(device):
    for challenge in (None, ""):
        assert device.refusal(device.request(challenge=challenge)) == (
            "challenge_missing", "badRequest", "challenge rejected",
        )  # fmt: skip


@pytest.mark.parametrize("challenge", [STATIC + " ", STATIC.upper(), STATIC[:-1], "é", "\0", "x" * 255])
def test_C148_C146_S31_a_wrong_challenge_is_refused(device, challenge):
    tag = make.tlv.UTF8_STRING
    body = device.request(csr_der=make.csr(challenge=challenge, challenge_tag=tag))
    assert device.refusal(body)[1:] == ("badRequest", "challenge rejected")


def test_C103_C104_S27_ciphers_that_the_profile_does_not_list_are_badAlg(device):
    for cipher in (Cipher.DES, Cipher.DES3):
        assert device.refusal(device.request(cipher=cipher)) == (
            "algorithm_unsupported", "badAlg", "algorithm not accepted",
        )  # fmt: skip


@pytest.mark.parametrize("digest", [Digest.MD5, Digest.SHA1])
def test_C088_C089_C236_weak_digests_are_badAlg_and_the_reply_is_not_weak(device, digest):
    body = device.request(digest=digest)
    assert device.refusal(body)[:2] == ("algorithm_unsupported", "badAlg")
    assert parse_message(device.send(body).answer.body).digest is Digest.SHA256


def test_legacy_switches_let_exactly_their_algorithm_in(keys, tmp_path):
    from tests.enroll.conftest import Device

    policy = ANYTHING
    world = make_world(keys, tmp_path, profiles=[default_profile(crypto=policy, csr_crypto=policy)])
    device = Device(world)
    for number, (digest, cipher) in enumerate([(Digest.MD5, Cipher.DES), (Digest.SHA1, Cipher.DES3)]):
        response = device.send(device.request(digest=digest, cipher=cipher, transaction_id=str(number)))
        assert device.certificates(response)
        assert parse_message(response.answer.body).digest is digest
        assert parse_envelope(device.read(response).content, ANYTHING).cipher is cipher


def test_C133_the_text_can_be_left_out(keys, tmp_path):
    from tests.enroll.conftest import Device

    device = Device(make_world(keys, tmp_path, profiles=[default_profile(omit_fail_info_text=True)]))
    assert device.refusal(device.request(challenge="wrong"))[1:] == ("badRequest", None)


@pytest.mark.parametrize("omit", [False, True])
def test_C129_a_failure_has_an_empty_content_unless_the_profile_omits_it(keys, tmp_path, omit):
    from tests.enroll.conftest import Device

    device = Device(make_world(keys, tmp_path, profiles=[default_profile(omit_empty_content=omit)]))
    reply = parse_message(device.send(device.request(challenge="wrong")).answer.body)
    assert reply.content == (None if omit else b"")


def test_ber_requests_are_enrolled(device):
    response = device.send(make.ber_req(challenge=STATIC, recipient=device.ra))
    assert device.certificates(response)


def test_C144_S28_a_key_of_ours_is_refused(device, world):
    keys = world.keys
    for key in (keys.sign, keys.decrypt, keys.ca):
        signer = make.Party(key, make.certificate(key))
        assert device.refusal(device.request(signer=signer))[0] == "key_refused"


def test_S28_a_key_on_the_block_list_is_refused(device, world):
    signer, other = make.party("listed"), make.party("other")
    world.context.blocked_keys = BlockedKeys.of([read_entries(spki_digest(spki_of(signer.certificate_der)).hex())])
    assert device.refusal(device.request(signer=signer))[:2] == ("key_refused", "badRequest")
    assert device.send(device.request(signer=other, transaction_id="other")).answer.outcome == "issued"


def test_C252_C257_an_elliptic_signer_is_refused_before_anything_is_issued(device):
    assert device.refusal(device.request(signer=make.party("ec", "p256"))) == (
        "reply_unprotectable", "badRequest", "no encryption method for this key",
    )  # fmt: skip


def test_C159_S54_a_name_that_the_profile_does_not_allow_is_refused(device):
    body = device.request(extensions=[make.dns_names("other.example.net")])
    assert device.refusal(body)[:2] == ("name_refused", "badRequest")


def test_C069_S64_a_certificate_never_outlives_its_issuer(device, world):
    world.clock.time += timedelta(days=3500)
    leaf = x509.load_der_x509_certificate(device.enrol())
    assert leaf.not_valid_after_utc == x509.load_der_x509_certificate(world.keys.ca_der).not_valid_after_utc


def test_S103_a_repeated_serial_is_drawn_again_and_never_signed_twice(keys, tmp_path):
    from tests.enroll.conftest import Device

    serials = iter([b"\1" * 17, b"\1" * 17, b"\2" * 17])
    import secrets

    def random(size):
        return next(serials) if size == 17 else secrets.token_bytes(size)

    device = Device(make_world(keys, tmp_path, random=random))
    first, second = (x509.load_der_x509_certificate(device.enrol(transaction_id=t)).serial_number for t in "ab")
    assert first != second


def test_C082_a_missing_nonce_is_accepted_unless_the_profile_is_strict(keys, tmp_path):
    from tests.enroll.conftest import Device

    profiles = [default_profile(), default_profile(name="strict", default=False, strict_nonce=True)]
    device = Device(make_world(keys, tmp_path, profiles=profiles))
    bent = make.take_apart(device.request()).without_attribute(make.names.SENDER_NONCE).resign().der()
    reply = device.read(device.send(bent))
    assert (reply.status, reply.recipient_nonce) == (0, None)
    assert device.send(bent, profile="strict").answer.status == 400
    assert device.certificates(device.send(device.request(), profile="strict"))


@pytest.mark.parametrize("switch", [False, True])
def test_C158_the_drafts_own_extension_request_is_read_by_its_switch_alone(keys, tmp_path, switch):
    from tests.enroll.conftest import Device

    profile = default_profile(verisign_extension_request=switch)
    device = Device(make_world(keys, tmp_path, profiles=[profile]))
    csr = make.csr(challenge=STATIC, extensions=[make.dns_names("device")])
    info, algorithm, _ = make.tlv.read(csr).children
    bent_info = make.tlv.sequence(
        *(part.der for part in info.children[:3]),
        make.tlv.implicit(
            0,
            b"".join(
                attribute.der
                if attribute.children[0].oid() != make.names.EXTENSION_REQUEST
                else make.attribute(make.names.VERISIGN_EXTENSION_REQUEST, attribute.children[1].children[0].der)
                for attribute in info.children[3].children
            ),
            constructed=True,
        ),
    )
    _, signature = make.sign(make.device().key, bent_info, Digest.SHA256, pss=False)
    bent = make.tlv.sequence(bent_info, algorithm.der, make.tlv.bit_string(signature))
    leaf = x509.load_der_x509_certificate(device.enrol(csr_der=bent))
    names = [e.value for e in leaf.extensions if e.oid == x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME]
    assert [name.get_values_for_type(x509.DNSName) for name in names] == ([["device"]] if switch else [])


def test_C055_a_request_to_the_previous_ra_certificate_is_decrypted(keys, world):
    import attrs

    from scepd.hsm.software import software_decryption_key
    from scepd.message.enveloped import Recipient
    from tests.enroll.conftest import Device

    previous = make.party("previous-ra")
    (registration,) = world.context.registrations.values()
    world.context.registrations = {
        "devices": attrs.evolve(
            registration,
            recipients=(*registration.recipients, Recipient.from_certificate(previous.certificate_der)),
            decryption=(*registration.decryption, software_decryption_key(previous.key, b"secret")),
        )
    }
    device = Device(world)
    old = make.pkcs_req(challenge=STATIC, recipient=previous, transaction_id="old")
    assert device.certificates(device.send(old))
    assert device.certificates(device.send(device.request(transaction_id="new")))


def test_C055_a_request_to_the_previous_pair_is_answered_by_the_signing_key_of_its_time(keys, world):
    import attrs

    from scepd.hsm.software import software_decryption_key
    from scepd.message.certrep import ReplySigner, read_certrep
    from scepd.message.enveloped import Recipient
    from scepd.message.names import PkiStatus

    decrypt, sign = make.party("previous-ra"), make.party("previous-ra-sign")
    (registration,) = world.context.registrations.values()
    rotating = attrs.evolve(
        registration,
        recipients=(*registration.recipients, Recipient.from_certificate(decrypt.certificate_der)),
        decryption=(*registration.decryption, software_decryption_key(decrypt.key, b"secret")),
        former={1: ReplySigner(sign.certificate_der, sign.key)},
    )
    world.context.registrations = {"devices": rotating}
    old = world.respond(make.pkcs_req(challenge=STATIC, recipient=decrypt, transaction_id="old"))
    assert read_certrep(old.answer.body, trusted=[sign.certificate_der]).status is PkiStatus.SUCCESS
    refused = world.respond(make.pkcs_req(challenge="wrong", recipient=decrypt, transaction_id="no"))
    assert read_certrep(refused.answer.body, trusted=[sign.certificate_der]).status is PkiStatus.FAILURE
    recipient = make.Party(keys.decrypt, keys.decrypt_der)
    new = world.respond(make.pkcs_req(challenge=STATIC, recipient=recipient, transaction_id="new"))
    assert read_certrep(new.answer.body, trusted=keys.certificates).status is PkiStatus.SUCCESS
    # A second hop, in another lane, goes on in the same name.
    assert rotating.answering(1).answering(1).signer == rotating.former[1]
    assert rotating.answering(0) is rotating


def test_S53_an_attribute_twice_in_one_rdn_is_refused(device):
    twice = make.name(OU="x")[0] * 2
    assert device.refusal(device.request(subject=(*make.name(CN="device"), twice)))[0] == "subject_refused"


def test_S33_a_challenge_in_the_drafts_own_extension_request_is_not_stored(keys, tmp_path):
    from scepd.message.csr import parse_csr

    inner = make.tlv.sequence(
        make.tlv.sequence(
            make.tlv.oid(make.names.CHALLENGE_PASSWORD), make.tlv.octet_string(make.tlv.printable(STATIC))
        )
    )
    info, algorithm, signature = make.tlv.read(make.csr(challenge=None)).children
    attributes = make.tlv.implicit(0, make.attribute(make.names.VERISIGN_EXTENSION_REQUEST, inner), constructed=True)
    bent = make.tlv.sequence(*(part.der for part in info.children[:3]), attributes)
    csr = parse_csr(make.tlv.sequence(bent, algorithm.der, signature.der), verisign=True)
    assert csr.challenge.reveal() == STATIC
    assert STATIC.encode() not in csr.without_challenge_der
