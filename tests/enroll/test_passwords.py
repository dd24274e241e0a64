"""Keys that cannot encrypt: the challenge password protects reply and request (RFC 8894 section 3.1, checklist N)."""

import secrets
from datetime import timedelta

import attrs
import pytest
from cryptography import x509

from scepd.challenge.digest import keyed_digest
from scepd.challenge.passwords import seal
from scepd.enroll.budget import Budget
from scepd.enroll.context import Registration
from scepd.message.algorithms import Cipher, CryptoPolicy, Digest
from scepd.message.certrep import read_certs_only
from scepd.message.enveloped import decrypt, encrypt_for_password, parse_envelope
from scepd.profile.model import ApprovalRule, RenewalRule
from scepd.records import Secret
from scepd.refusal import Reject
from scepd.x509.keys import KeyPolicy
from tests import make
from tests.enroll.conftest import ANYTHING, Device
from tests.world import STATIC, STORE_KEY, default_profile, make_world

CURVED, NEW = make.party("curved", "p256"), make.party("new curved", "p256")
BY_PASSWORD = CryptoPolicy(ed25519=True, passwords=True)
EVERY_KEY = KeyPolicy(ed25519=True)


def world_of(keys, tmp_path, **changes):
    values = {"password_encryption": True, "crypto": BY_PASSWORD, "keys": EVERY_KEY, **changes}
    return make_world(keys, tmp_path, profiles=[default_profile(**values)])


@pytest.fixture
def world(keys, tmp_path):
    return world_of(keys, tmp_path)


class Curved(Device):
    """A device with an EC key."""

    def opened(self, response, password=STATIC):
        reply = self.read(response)
        assert reply.status == 0, response.answer
        inner = decrypt(reply.content, CURVED.certificate_der, CURVED.key, ANYTHING, password=Secret(password))
        return read_certs_only(inner)[0]

    def by_password(self, password=STATIC, *, signer=CURVED, cipher=Cipher.AES256, **fields):
        csr = make.csr(challenge=password, private_key=signer.key)
        content = encrypt_for_password(csr, Secret(password), cipher=cipher, random=secrets.token_bytes)
        return make.message(content, signer=signer, **fields)

    def waiting(self, text, **fields):
        """A one-time challenge whose text is kept, as the desk makes it for such a profile."""
        world = self.world
        sealed = seal(STORE_KEY, Secret(text), profile="default", random=secrets.token_bytes)
        return world.store.add_challenge(
            "default",
            keyed_digest(STORE_KEY, text),
            expires=world.clock.now() + timedelta(hours=1),
            created_by="test",
            sealed=sealed,
            **fields,
        )


@pytest.fixture
def device(world):
    return Curved(world)


def test_C252_an_ec_key_over_an_rsa_ra_gets_its_reply_under_the_challenge(device):
    response = device.send(device.request(signer=CURVED, cipher=Cipher.AES256))
    leaf = x509.load_der_x509_certificate(device.opened(response))
    assert leaf.public_key() == CURVED.key.public_key()
    envelope = parse_envelope(device.read(response).content, BY_PASSWORD)
    assert (envelope.recipients, len(envelope.passwords), envelope.cipher) == ((), 1, Cipher.AES256)


def test_C258_the_reply_is_never_clear(device):
    response = device.send(device.request(signer=CURVED))
    leaf = device.opened(response)
    assert leaf[20:200] not in response.answer.body
    with pytest.raises(Reject):
        device.opened(response, "another password")


def test_C258_a_clear_request_is_refused(device):
    body = make.message(make.csr(challenge=STATIC, private_key=CURVED.key), signer=CURVED)
    assert device.refusal(body)[0] == "envelope_invalid"


def test_C257_without_a_challenge_nothing_could_protect_the_reply(device, world):
    refused = device.refusal(device.request(challenge=None, signer=CURVED))
    assert refused == ("reply_unprotectable", "badRequest", "no encryption method for this key")


def test_C257_a_renewal_by_an_ec_key_needs_the_challenge_for_its_reply(keys, tmp_path):
    device = Curved(world_of(keys, tmp_path, renewal=RenewalRule(earliest=0)))
    leaf = device.opened(device.send(device.request(signer=CURVED)))
    held = make.Party(CURVED.key, leaf)
    fields = {"signer": held, "private_key": NEW.key, "message_type": 17, "transaction_id": "renewal"}
    fields["signing_time"] = device.world.clock.time
    assert device.refusal(device.request(challenge=None, **fields))[0] == "reply_unprotectable"
    renewed = device.opened(device.send(device.request(challenge="of the day", **fields)), "of the day")
    assert x509.load_der_x509_certificate(renewed).public_key() == NEW.key.public_key()


def test_C257_lookups_carry_no_challenge(device):
    device.opened(device.send(device.request(signer=CURVED)))
    data = make.issuer_and_serial(make.name(CN="Test CA"), 1)
    for message_type in (21, 22):
        body = make.message(make.envelope(data, device.ra), message_type=message_type, signer=CURVED)
        assert device.refusal(body)[0] == "reply_unprotectable"


def test_C252_without_the_profiles_word_an_ec_key_is_refused_before_anything_is_decrypted(keys, tmp_path, recorded):
    device = Curved(make_world(keys, tmp_path))
    assert device.refusal(device.request(signer=CURVED))[0] == "reply_unprotectable"
    assert device.refusal(device.by_password(signer=make.device()))[0] == "algorithm_unsupported"
    assert recorded.calls == []


@pytest.mark.parametrize("signer", [CURVED, make.device()], ids=["EC", "RSA"])
def test_C251_C250_a_request_under_the_profiles_static_challenge(device, signer):
    response = device.send(device.by_password(signer=signer))
    leaf = device.opened(response) if signer is CURVED else device.certificates(response, signer)[0]
    assert x509.load_der_x509_certificate(leaf).public_key() == signer.key.public_key()


def test_C251_without_any_ra_key_that_decrypts(device, world):
    signer = world.context.registrations["devices"].signer
    world.context.registrations = {"devices": Registration("devices", signer, (), ())}
    assert device.opened(device.send(device.by_password()))
    assert device.refusal(device.request(signer=CURVED, transaction_id="b"))[0] == "recipient_unknown"


def test_C253_C153_a_request_under_a_waiting_one_time_challenge(device, world):
    challenge = device.waiting("one of these days it is used")
    device.waiting("another that waits")
    text = "one of these days it is used"
    assert device.opened(device.send(device.by_password(text)), text)
    assert world.store.challenge(challenge.id).state.value == "spent"


def test_C253_of_too_many_waiting_challenges_none_is_tried(device):
    for number in range(9):
        device.waiting(f"challenge number {number}")
    assert device.refusal(device.by_password("challenge number 3"))[:2] == ("password_unknown", "badRequest")
    assert device.opened(device.send(device.by_password()))


def test_C260_a_wrong_password_is_refused_as_uniformly_as_garbage(device):
    assert device.refusal(device.by_password("wrong")) == ("password_unknown", "badRequest", "request refused")


def test_C260_a_right_password_around_a_wrong_challenge(device):
    csr = make.csr(challenge="wrong", private_key=CURVED.key)
    content = encrypt_for_password(csr, Secret(STATIC), cipher=Cipher.AES128, random=secrets.token_bytes)
    assert device.refusal(make.message(content, signer=CURVED))[0] == "challenge_invalid"


def test_C205_the_same_request_of_an_ec_key_gets_the_same_certificate(device, world):
    first, second = (device.opened(device.send(device.request(signer=CURVED))) for _ in range(2))
    assert first == second
    assert len(world.issued()) == 1


@pytest.mark.parametrize("challenge", ["static", "one-time"])
def test_C202_an_ec_key_polls_and_the_reply_is_under_the_challenge_of_its_request(keys, tmp_path, challenge):
    device = Curved(world_of(keys, tmp_path, approval=ApprovalRule()))
    text = STATIC if challenge == "static" else "a one-time challenge"
    if challenge == "one-time":
        device.waiting(text)
    assert device.read(device.send(device.request(challenge=text, signer=CURVED))).status == 3
    assert device.read(device.send(device.poll(signer=CURVED))).status == 3
    [transaction] = device.world.store.transactions()
    device.world.store.decide(transaction.id, approve=True, who="test")
    assert device.opened(device.send(device.poll(signer=CURVED)), text)


def test_C257_a_request_that_would_wait_needs_a_challenge_that_is_kept(keys, tmp_path):
    device = Curved(world_of(keys, tmp_path, approval=ApprovalRule()))
    device.world.one_time("kept as a digest alone")
    body = device.request(challenge="kept as a digest alone", signer=CURVED)
    assert device.refusal(body)[0] == "reply_unprotectable"
    assert device.world.store.transactions() == []


def test_C201_while_it_waits_a_poll_needs_no_challenge(keys, tmp_path):
    device = Curved(world_of(keys, tmp_path, approval=ApprovalRule()))
    device.send(device.request(signer=CURVED))
    device.world.context.passwords = {}
    assert device.read(device.send(device.poll(signer=CURVED))).status == 3


def test_C202_a_poll_under_a_password_is_not_opened_either(device):
    device.opened(device.send(device.request(signer=CURVED)))
    content = encrypt_for_password(b"whatever", Secret("wrong"), cipher=Cipher.AES128, random=secrets.token_bytes)
    assert device.opened(device.send(make.message(content, message_type=20, signer=CURVED)))


def test_C205_an_approved_request_sent_again_is_issued(keys, tmp_path):
    device = Curved(world_of(keys, tmp_path, approval=ApprovalRule()))
    device.send(device.request(signer=CURVED))
    [transaction] = device.world.store.transactions()
    device.world.store.decide(transaction.id, approve=True, who="test")
    assert device.opened(device.send(device.request(signer=CURVED)))


def test_a_poll_of_an_ec_key_where_the_profile_stopped_taking_passwords(device, world):
    device.opened(device.send(device.request(signer=CURVED)))
    world.context.passwords = {}
    assert device.refusal(device.poll(signer=CURVED))[0] == "reply_unprotectable"
    assert device.refusal(device.by_password(transaction_id="b"))[0] == "password_unknown"


def test_C144_an_ed25519_key_enrols_where_the_profile_takes_it(device, world):
    edwards = make.party("edwards", "ed25519")
    leaf = device.opened(device.send(device.request(signer=edwards, digest=Digest.SHA512)))
    assert x509.load_der_x509_certificate(leaf).public_key() == edwards.key.public_key()
    profile = world.profiles["default"]
    world.profiles["default"] = attrs.evolve(profile, keys=KeyPolicy(ed25519=False))
    assert device.refusal(device.request(signer=edwards, transaction_id="b", digest=Digest.SHA512))[0] == "key_refused"


def test_C254_S30_strangers_have_a_part_of_a_lanes_time_for_derivations(device, world):
    seconds = iter(range(10_000))  # each look at the clock is a second later
    world.context.derivations = Budget(lambda: float(next(seconds)))
    statuses = [device.send(device.by_password("wrong", transaction_id=str(n))).answer.status for n in range(9)]
    assert statuses[0] == 200
    assert statuses[-1] == 503
    for _ in range(30):
        next(seconds)
    assert device.opened(device.send(device.by_password()))
