"""The attacks of the catalogue against the whole path: each written first, each refused for the right reason."""

import hashlib
import itertools

import attrs
import pytest

from scepd.enroll import pipeline
from scepd.enroll.authorize import Authorization
from scepd.enroll.pipeline import HANDLERS
from scepd.hsm.decryption import RsaDecryptionKey
from scepd.message import names, tlv
from scepd.records import Identity, Template
from scepd.refusal import Unavailable
from tests import make
from tests.world import STATIC, make_world

UNIFORM = ("badRequest", "request refused")


@pytest.mark.parametrize("challenge", [None, "wrong", STATIC], ids=["none", "wrong", "right"])
def test_S01_C086_C191_only_the_types_of_the_table_do_anything(device, world, recorded, challenge):
    envelope = make.envelope(make.csr(challenge=challenge), device.ra)
    issued = []
    for number in range(256):
        response = device.send(make.message(envelope, message_type=number, transaction_id=f"t{number}"))
        if response.answer.outcome == "issued":
            issued.append(number)
        elif number not in HANDLERS:
            assert response.answer.reason == "message_type_unsupported"
            assert response.answer.fail_info == "badRequest"
    assert issued == ([19] if challenge == STATIC else [])
    # A PKCSReq, and the lookups, whose every failure is one answer; never a poll, nor a renewal by a stranger.
    assert len(recorded.calls) == 3


ODD_TYPES = [
    b"",
    b"019",
    b"+19",
    b" 19",
    b"19 ",
    b"19\0",
    b"1_9",
    b"19\n",
    b"\xd9\xa1\xd9\xa9",
    b"0x13",
    b"19.0",
    b"-19",
    b"1e1",
    b"9999",
]


@pytest.mark.parametrize("text", ODD_TYPES)
def test_S01_S130_C085_odd_spellings_of_a_type_are_no_message(device, text):
    value = tlv.write(tlv.PRINTABLE_STRING, text)
    bent = make.take_apart(device.request()).with_attribute(names.MESSAGE_TYPE, value).resign()
    response = device.send(bent.der())
    assert response.answer.status == 400 or response.answer.reason == "message_type_unsupported"


def test_S01_nobody_but_an_authorizer_makes_an_authorization():
    template = Template((), (), frozenset(), (), None)
    with pytest.raises(TypeError, match=r"enroll\.authorize alone"):
        Authorization(object(), Identity("static", "x"), template)
    with pytest.raises(TypeError):
        Authorization(Identity("static", "x"), template)


def test_S01_without_the_authorizer_nothing_is_issued(device, world, monkeypatch):
    """Deleting the authorizer's call must break issuing, not open it."""
    monkeypatch.setattr(pipeline, "authorize", lambda *_, **_fields: None)
    with pytest.raises(AttributeError):
        device.send(device.request())
    assert world.issued() == []


@pytest.mark.parametrize("fault", [ValueError, KeyError, RuntimeError, OSError, Unavailable])
def test_S02_S08_an_error_of_an_authorizer_or_of_the_store_is_a_denial(device, world, fault):
    class Broken:
        name = "broken"

        def authenticate(self, *_):
            raise fault("broken")

    methods = world.context.challenges["default"]
    world.context.challenges = {"default": (Broken(), *methods)}
    try:
        answer = device.send(device.request()).answer
    except fault:
        pass
    else:
        assert (fault, answer.status) == (Unavailable, 503)
    assert world.issued() == []


def test_S02_S93_a_method_that_answers_nothing_is_no_identity(device, world):
    class Silent:
        name = "silent"

        def authenticate(self, *_):
            return None

    world.context.challenges = {"default": (Silent(),)}
    assert device.refusal(device.request())[0] == "challenge_invalid"


def test_S03_S50_C161_C184_a_certificate_of_ours_as_signer_replaces_no_challenge(device, world):
    leaf = device.enrol()
    owner = make.Party(make.device().key, leaf)
    body = device.request(challenge=None, signer=owner, transaction_id="second")
    # It is judged as a renewal by all the rules of one, and by those alone.
    assert device.refusal(body)[0] == "renewal_too_early"
    world.profiles["default"] = attrs.evolve(world.profiles["default"], renewal=None)
    assert device.refusal(body)[0] == "challenge_missing"


def test_S04_C108_a_bare_request_is_no_message(device, world):
    csr = make.csr(challenge=STATIC)
    import base64

    unsigned = attrs.evolve(make.bent_req(csr_der=csr, recipient=device.ra), content=csr, signers=())
    for body in (csr, base64.b64encode(csr), unsigned.der()):
        assert device.send(body).answer.status == 400
    signed = make.message(csr)
    assert device.refusal(signed)[:2] == ("envelope_invalid", "badRequest")
    assert world.issued() == []


def test_S04_a_flipped_signature_bit_is_badMessageCheck(device):
    bent = make.take_apart(device.request())
    signature = bytearray(bent.signer.signature)
    signature[100] ^= 1
    assert device.refusal(bent.bend(signature=bytes(signature)).der())[1] == "badMessageCheck"


def test_S06_C155_a_rewrapped_request_is_refused_and_the_victim_still_enrols(device, world):
    world.one_time("once")
    victim = device.request(challenge="once")
    attacker = make.party("attacker")
    assert device.refusal(make.rewrap(victim, attacker))[0:3] == ("signer_mismatch", *UNIFORM)
    assert device.certificates(device.send(victim))


def test_S65_a_stolen_request_of_another_device_is_refused(device):
    stolen = make.csr(challenge=STATIC)
    attacker = make.party("attacker")
    body = make.message(make.envelope(stolen, device.ra), signer=attacker)
    assert device.refusal(body)[0:3] == ("signer_mismatch", *UNIFORM)


def test_S07_S37_spliced_messages_are_badMessageCheck(device):
    bodies = [device.request(transaction_id=f"s{n}") for n in range(10)]
    pairs = list(itertools.permutations(bodies, 2))
    assert len(pairs) == 90
    for attributes, content in pairs:
        assert device.refusal(make.splice(attributes, content))[1] == "badMessageCheck"


def test_S13_C102_only_a_recipient_that_names_us_once_is_decrypted(device, recorded):
    envelope = make.open_up(make.envelope(make.csr(challenge=STATIC), device.ra))
    foreign = make.open_up(make.envelope(make.csr(), make.party("foreign"))).entry
    cases = {
        "none": attrs.evolve(envelope, entries=()),
        "foreign": attrs.evolve(envelope, entries=(foreign,)),
        "twice": attrs.evolve(envelope, entries=(envelope.entry, envelope.entry)),
        "twice and foreign": attrs.evolve(envelope, entries=(envelope.entry, foreign, envelope.entry)),
    }
    for label, bent in cases.items():
        reason, fail_info, _ = device.refusal(make.message(bent.der()))
        assert reason in {"recipient_unknown", "envelope_invalid"}, label
        assert fail_info == "badRequest", label
    assert recorded.calls == []
    both = attrs.evolve(envelope, entries=(foreign, envelope.entry))
    assert device.certificates(device.send(make.message(both.der())))


def test_S10_C106_every_bad_padding_and_key_length_looks_the_same(device, world, oracle):
    envelope = make.bent_envelope(make.csr(challenge=STATIC), recipient=device.ra)
    paddings = make.bad_paddings(world.keys.decrypt.public_key(), bytes(16))
    good_padding = oracle.ask(envelope)  # decrypts, but the attacker's key is not the victim's
    assert good_padding[1:4] == (2, 2, "request refused")
    for label, encrypted_key in paddings.items():
        assert oracle.ask(envelope.bend(encrypted_key=encrypted_key)) == good_padding, label


def test_S11_the_same_operations_are_made_and_the_reason_stays_in_the_log(device, world, recorded, oracle):
    envelope = make.bent_envelope(make.csr(challenge=STATIC), recipient=device.ra)
    oracle.ask(envelope)
    calls = list(recorded.calls)
    for bad in (b"\1" * 256, bytes(256), b"\xff" * 256, b"short"):
        oracle.ask(envelope.bend(encrypted_key=bad))
        assert recorded.calls == calls
    reasons = {
        device.send(
            make.message(envelope.bend(encrypted_key=bytes(256)).der(), signer=make.party("attacker"))
        ).answer.reason,
        device.send(make.message(envelope.der(), signer=make.party("attacker"))).answer.reason,
    }
    assert len(reasons) == 2  # the operator sees which; the wire does not


def test_S12_C110_changed_ciphertexts_look_the_same(device, world, oracle):
    envelope = make.bent_envelope(make.csr(challenge=STATIC), recipient=device.ra)
    answers = set()
    ciphertext = envelope.ciphertext
    for position in (*range(0, len(ciphertext), 97), *range(len(ciphertext) - 32, len(ciphertext))):
        bent = bytearray(ciphertext)
        bent[position] ^= 0x5A
        answers.add(oracle.ask(attrs.evolve(envelope, ciphertext=bytes(bent))))
    assert len(answers) == 1
    trailing = make.bent_envelope(make.csr(challenge=STATIC) + b"\0", recipient=device.ra)
    answers.add(oracle.ask(trailing))
    bad_signature = bytearray(make.csr(challenge=STATIC))
    bad_signature[-1] ^= 1
    answers.add(oracle.ask(make.bent_envelope(bytes(bad_signature), recipient=device.ra)))
    answers.add(oracle.ask(make.bent_envelope(b"no request", recipient=device.ra)))
    assert len({answer[:5] for answer in answers}) == 1


def test_C141_S66_a_bad_request_signature_of_the_signer_itself_is_uniform_too(device):
    csr = bytearray(make.csr(challenge=STATIC))
    csr[-1] ^= 1
    assert device.refusal(device.request(csr_der=bytes(csr)))[1:] == UNIFORM


def test_S15_other_cms_types_are_refused_before_any_private_key_operation(device, recorded):
    others = ["1.2.840.113549.1.9.16.1.23", "1.2.840.113549.1.9.16.1.9", "1.2.840.113549.1.7.5", names.DATA]
    for oid in others:
        bent = attrs.evolve(make.bent_envelope(recipient=device.ra), outer_type=oid)
        assert device.refusal(make.message(bent.der()))[1] in {"badRequest", "badAlg"}
    assert recorded.calls == []


def test_S16_the_decryption_key_signs_nothing():
    assert not hasattr(RsaDecryptionKey, "sign")


def test_C100_C107_C104_content_faults_are_refused_before_any_private_key_operation(device, recorded):
    good = make.bent_envelope(recipient=device.ra)
    assert device.refusal(make.message(None))[0] == "envelope_missing"
    assert device.refusal(make.message(b""))[0] == "envelope_missing"
    assert device.refusal(make.message(b"junk"))[0] == "envelope_invalid"
    wrong_type = attrs.evolve(good, content_type=names.SIGNED_DATA)
    assert device.refusal(make.message(wrong_type.der()))[1] == "badRequest"
    assert recorded.calls == []


def test_S09_a_challenge_belongs_to_the_profile_of_its_row_whatever_the_request_says(device, world):
    world.one_time("elsewhere", profile="other")
    assert device.refusal(device.request(challenge="elsewhere"))[0] == "challenge_invalid"


def test_S05_the_wire_says_the_same_for_every_fault_of_a_challenge(device, world):
    world.one_time("bound", cn="another")
    spent = world.one_time("spent")
    device.enrol(challenge="spent", signer=make.party("first"))
    assert spent
    texts = {
        device.refusal(device.request(challenge=challenge, transaction_id=f"c{challenge}"))[1:]
        for challenge in ("bound", "spent", "unknown", None)
    }
    assert texts == {("badRequest", "challenge rejected")}


def test_digests_of_identity_are_of_the_received_key(device, world):
    device.enrol()
    (transaction,) = world.store.transactions()
    assert transaction.key.requester == hashlib.sha256(make.spki(make.device().key)).digest()


def test_C105_a_transport_that_the_token_cannot_undo_is_badAlg(device, world):
    class Unable:
        def supports(self, _transport):
            return False

    (registration,) = world.context.registrations.values()
    world.context.registrations = {"devices": attrs.evolve(registration, decryption=(Unable(),))}
    assert device.refusal(device.request())[:2] == ("algorithm_unsupported", "badAlg")


def test_C074_a_message_without_its_signers_certificate_is_badMessageCheck(device):
    assert device.refusal(device.request(certificates=[]))[:2] == ("signer_missing", "badMessageCheck")


def test_S104_a_random_source_that_repeats_itself_signs_nothing(keys, tmp_path):
    import secrets

    world = make_world(keys, tmp_path, random=lambda size: b"\1" * 17 if size == 17 else secrets.token_bytes(size))
    ra = make.Party(keys.decrypt, keys.decrypt_der)
    assert world.respond(make.pkcs_req(challenge=STATIC, recipient=ra)).answer.outcome == "issued"
    with pytest.raises(RuntimeError, match="repeats itself"):
        world.respond(make.pkcs_req(challenge=STATIC, recipient=ra, transaction_id="second"))
    assert len(world.issued()) == 1


@pytest.mark.parametrize("iterations", [1, 1000, 2**31 - 1])
def test_S14_C235_a_password_recipient_is_badAlg_and_nothing_is_derived(device, recorded, iterations):
    """PasswordRecipientInfo (RFC 5652 section 6.2.4) is not taken, whatever it would cost to derive its key."""
    derivation = tlv.sequence(
        tlv.oid("1.2.840.113549.1.5.12"), tlv.sequence(tlv.octet_string(bytes(16)), tlv.integer(iterations))
    )
    encryption = tlv.sequence(tlv.oid("1.2.840.113549.1.9.16.3.9"), tlv.sequence(tlv.oid("2.16.840.1.101.3.4.1.2")))
    body = tlv.retag(0xA0, derivation) + encryption + tlv.octet_string(bytes(32))
    pwri = tlv.implicit(3, tlv.integer(0) + body, constructed=True)
    envelope = attrs.evolve(make.bent_envelope(recipient=device.ra), entries=(), others=(pwri,), version=3)
    assert device.refusal(make.message(envelope.der()))[:2] == ("algorithm_unsupported", "badAlg")
    assert recorded.calls == []
