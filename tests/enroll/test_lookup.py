"""GetCert and GetCRL: what is on record, for those who may see it; everything else has one answer."""

from datetime import timedelta

import pytest
from cryptography import x509

from scepd.enroll.succession import Succession
from scepd.message import tlv
from scepd.message.certificate import load_certificate
from scepd.message.certrep import read_certs_only, read_crls_only
from scepd.message.enveloped import decrypt
from scepd.profile.model import ApprovalRule, RenewalRule
from scepd.records import Crl, Revocation, RevocationReason, crl_name
from scepd.x509.crl import draft_crl, seal_crl, sign_crl
from tests import make
from tests.enroll.conftest import ANYTHING, Device
from tests.world import NOW, default_profile, make_keys, make_world

CA = make.name(CN="Test CA")
STRANGER = make.party("stranger")
UNKNOWN = ("certificate_unknown", "badCertId", "no such certificate")
UNREADABLE = ("lookup_unreadable", "badCertId", "no such certificate")


class Seeker(Device):
    """A device with a certificate that asks for what is on record."""

    def __init__(self, world):
        super().__init__(world)
        self.leaf = self.enrol()
        self.serial = load_certificate(self.leaf).serial

    def ask(self, serial=None, *, message_type=21, issuer=CA, signer=None, data=None):
        plaintext = make.issuer_and_serial(issuer, self.serial if serial is None else serial) if data is None else data
        return make.message(make.envelope(plaintext, self.ra), message_type=message_type, signer=signer)

    def found(self, body, party=None):
        response = self.send(body)
        reply = self.read(response)
        assert (reply.status, response.answer.outcome) == (0, "found"), response.answer
        party = party or make.device()
        inner = decrypt(reply.content, party.certificate_der, party.key, ANYTHING)
        return read_certs_only(inner), read_crls_only(inner)


@pytest.fixture
def seeker(world):
    return Seeker(world)


def add_crl(world, *, number=1, end=timedelta(days=7), issuer="devices", shard=0):
    held = world.context.issuers[issuer]
    update = world.clock.time
    draft = draft_crl([], held.certificate, number=number, this_update=update, next_update=update + end)
    der = seal_crl(draft, sign_crl(draft, held.key), held.certificate)
    assert world.store.add_crl(Crl(crl_name(issuer, shard), number, update, update + end, der, 0), who="test")
    return der


def test_C225_C226_the_holder_gets_its_certificate(seeker):
    assert seeker.found(seeker.ask()) == ([seeker.leaf], [])


def test_C227_an_unknown_serial_and_an_unknown_issuer_have_one_answer(seeker):
    assert seeker.refusal(seeker.ask(0x4711)) == UNKNOWN
    assert seeker.refusal(seeker.ask(issuer=make.name(CN="Another CA"))) == UNKNOWN


def test_C228_another_device_learns_nothing(seeker):
    assert seeker.refusal(seeker.ask(signer=STRANGER)) == UNKNOWN


def test_C228_a_live_certificate_of_the_same_subject_may_ask(keys, tmp_path):
    seeker = Seeker(make_world(keys, tmp_path))
    other = make.party("second key")
    sibling = make.Party(other.key, seeker.enrol(signer=other, transaction_id="second"))
    assert seeker.found(seeker.ask(signer=sibling), sibling)[0] == [seeker.leaf]
    third = make.party("third key")
    stranger = make.Party(
        third.key, seeker.enrol(signer=third, transaction_id="third", subject=make.name(CN="somebody"))
    )
    assert seeker.refusal(seeker.ask(signer=stranger)) == UNKNOWN
    serial = load_certificate(sibling.certificate_der).serial
    world = seeker.world
    world.store.revoke("devices", serial, Revocation(NOW, RevocationReason.superseded), who="test")
    assert seeker.refusal(seeker.ask(signer=sibling)) == UNKNOWN


def test_C228_a_profile_may_show_its_certificates_to_everybody(keys, tmp_path):
    seeker = Seeker(make_world(keys, tmp_path, profiles=[default_profile(get_cert="public")]))
    assert seeker.found(seeker.ask(signer=STRANGER), STRANGER)[0] == [seeker.leaf]


def test_C228_another_profiles_certificate_is_unknown(keys, tmp_path):
    world = make_world(keys, tmp_path, profiles=[default_profile(), default_profile(name="second", default=False)])
    seeker = Seeker(world)
    assert seeker.refusal(seeker.ask(), profile="second") == UNKNOWN


def test_C226_what_waits_is_unknown_and_not_pending(keys, tmp_path):
    world = make_world(keys, tmp_path)
    seeker = Seeker(world)
    world.profiles["default"] = default_profile(approval=ApprovalRule())
    seeker.send(seeker.request(signer=STRANGER, transaction_id="waits"))
    assert seeker.refusal(seeker.ask(1, signer=STRANGER)) == UNKNOWN


def test_C231_both_can_be_switched_off(keys, tmp_path):
    world = make_world(keys, tmp_path, profiles=[default_profile(get_cert="off", get_crl=False)])
    seeker = Seeker(world)
    for message_type in (21, 22):
        refused = seeker.refusal(seeker.ask(message_type=message_type))
        assert refused == ("lookup_disabled", "badRequest", "lookup not enabled")


@pytest.mark.parametrize("message_type", [21, 22])
@pytest.mark.parametrize(
    "data",
    [
        b"no ASN.1",
        make.csr(),
        make.issuer_and_subject(CA, make.name(CN="device")),
        make.issuer_and_serial(CA, 1) + b"\0",
    ],
    ids=["garbage", "PKCS#10", "IssuerAndSubject", "trailing"],
)
def test_C109_C110_S13_content_of_another_kind_is_no_oracle(seeker, message_type, data):
    assert seeker.refusal(seeker.ask(message_type=message_type, data=data)) == UNREADABLE


@pytest.mark.parametrize("message_type", [21, 22])
def test_S10_S13_a_lookup_that_does_not_decrypt_is_answered_like_an_unknown_one(seeker, message_type):
    plaintext = make.issuer_and_serial(CA, seeker.serial)
    content = bytearray(make.envelope(plaintext, seeker.ra))
    content[-1] ^= 1
    body = make.message(bytes(content), message_type=message_type)
    assert seeker.refusal(body) == UNREADABLE
    elsewhere = make.message(make.envelope(plaintext, STRANGER), message_type=message_type)
    assert seeker.refusal(elsewhere)[0] == "recipient_unknown"


def test_C229_C121_the_newest_crl_and_no_certificate(seeker, world):
    add_crl(world)
    newest = add_crl(world, number=2)
    assert seeker.found(seeker.ask(message_type=22)) == ([], [newest])


def test_C230_the_serial_need_not_exist_but_the_issuer_must(seeker, world):
    der = add_crl(world)
    assert seeker.found(seeker.ask(0x4711, message_type=22, signer=STRANGER), STRANGER) == ([], [der])
    assert seeker.refusal(seeker.ask(issuer=make.name(CN="Another CA"), message_type=22)) == UNKNOWN


def test_C230_older_clients_name_the_ca_certificate_itself(keys, tmp_path):
    # A self-signed CA is its own issuer; the serial is then the CA's.
    world = make_world(keys, tmp_path)
    der = add_crl(world)
    seeker = Seeker(world)
    own = load_certificate(keys.ca_der)
    assert seeker.found(seeker.ask(own.serial, message_type=22)) == ([], [der])


def test_C229_C294_where_there_are_shards_the_crl_is_that_of_the_certificate(keys, tmp_path):
    world = make_world(keys, tmp_path)
    world.context.shards.replace({"devices": 3})
    seeker = Seeker(world)
    (row,) = world.issued()
    assert row.shard == 3
    first, fourth = add_crl(world), add_crl(world, number=2, shard=3)
    assert seeker.found(seeker.ask(message_type=22)) == ([], [fourth])
    assert seeker.found(seeker.ask(0x4711, message_type=22)) == ([], [first])


def test_C232_without_a_valid_crl_the_answer_is_503(seeker, world):
    response = seeker.send(seeker.ask(message_type=22))
    assert (response.answer.status, response.answer.retry_after) == (503, 60)
    add_crl(world)
    world.clock.time += timedelta(days=7, seconds=1)
    assert seeker.send(seeker.ask(message_type=22)).answer.status == 503


def test_C229_the_crl_of_the_issuer_that_is_named(keys, tmp_path):
    successions = {"devices": Succession("second", NOW - timedelta(days=1), timedelta(days=30))}
    world = make_world(keys, tmp_path, others={"second": make_keys(name="Second CA")}, successions=successions)
    seeker = Seeker(world)
    add_crl(world)
    second = add_crl(world, issuer="second")
    assert seeker.found(seeker.ask(message_type=22, issuer=make.name(CN="Second CA"))) == ([], [second])


def test_a_revoked_certificate_can_still_be_fetched(seeker, world):
    world.store.revoke("devices", seeker.serial, Revocation(NOW, RevocationReason.superseded), who="test")
    assert seeker.found(seeker.ask()) == ([seeker.leaf], [])


def test_a_renewed_holder_finds_both(keys, tmp_path):
    world = make_world(keys, tmp_path, profiles=[default_profile(renewal=RenewalRule(earliest=0))])
    seeker = Seeker(world)
    own = make.Party(make.device().key, seeker.leaf)
    body = seeker.request(
        challenge=None,
        signer=own,
        private_key=make.device().key,
        message_type=17,
        transaction_id="next",
        signing_time=NOW,
    )
    renewed = seeker.certificates(seeker.send(body), own)[0]
    serial = x509.load_der_x509_certificate(renewed).serial_number
    assert seeker.found(seeker.ask(serial))[0] == [renewed]


def test_C228_a_certificate_of_a_live_holder_says_nothing_of_another_subject(seeker, world):
    own = make.Party(make.device().key, seeker.leaf)
    other = make.party("another device")
    leaf = seeker.enrol(signer=other, transaction_id="other", subject=make.name(CN="other"))
    assert seeker.refusal(seeker.ask(load_certificate(leaf).serial, signer=own)) == UNKNOWN


def test_S10_C228_what_is_wrong_with_the_signer_is_refused_before_the_content_is_read(seeker, recorded):
    calls = len(recorded.calls)
    forged = make.certificate(STRANGER.key, issuer_name=CA, serial_der=tlv.integer(seeker.serial))
    signer = make.Party(STRANGER.key, forged)
    assert seeker.refusal(seeker.ask(signer=signer))[0] == "renewal_signer_altered"
    assert len(recorded.calls) == calls


def test_C228_a_namesake_of_another_profile_or_time_learns_nothing(keys, tmp_path):
    profiles = [default_profile(validity=timedelta(days=9)), default_profile(name="second", default=False)]
    world = make_world(keys, tmp_path, profiles=profiles)
    seeker = Seeker(world)
    other = make.party("second key")
    foreign = world.respond(seeker.request(signer=other, transaction_id="second"), profile="second")
    namesake = make.Party(other.key, seeker.certificates(foreign, other)[0])
    assert seeker.refusal(seeker.ask(signer=namesake)) == UNKNOWN
    own = make.Party(other.key, seeker.enrol(signer=other, transaction_id="third"))
    assert seeker.found(seeker.ask(signer=own), own)
    world.clock.time += timedelta(days=10)
    assert seeker.refusal(seeker.ask(signer=own)) == UNKNOWN
