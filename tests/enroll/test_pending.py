"""Requests that a person decides about: PENDING, polls, approval, rejection, expiry, races."""

import re
import secrets
from datetime import timedelta
from ipaddress import ip_network

import attrs
import pytest
from cryptography import x509

from scepd.enroll.authorize import authorize_by_approval
from scepd.message.certificate import load_certificate
from scepd.message.csr import write_name
from scepd.profile.blocked_keys import BlockedKeys, read_entries
from scepd.profile.model import ApprovalRule, AutomaticWhen, NoChallengeRule, RenewalRule
from scepd.records import Attribute, Revocation, RevocationReason, TransactionState
from scepd.x509.keys import spki_digest
from tests import make
from tests.enroll.conftest import Device
from tests.enroll.test_renewal import HALF, NEW, OTHER, Holder
from tests.world import STATIC, default_profile, make_world, spki_of

OTHER_DEVICE = make.party("other device")


def world_of(keys, tmp_path, rule=None, **changes):
    return make_world(
        keys, tmp_path, profiles=[default_profile(approval=ApprovalRule() if rule is None else rule, **changes)]
    )


@pytest.fixture
def world(keys, tmp_path):
    return world_of(keys, tmp_path)


def only(world):
    [transaction] = world.store.transactions()
    return transaction


def decide(world, *, approve, transaction=None):
    number = (transaction or only(world)).id
    return world.store.decide(number, approve=approve, who="approver", detail="" if approve else "not today")


def status(device, body):
    return device.read(device.send(body)).status


def test_C200_C149_S41_a_request_waits_durably_and_nothing_is_issued(device, world):
    response = device.send(device.request())
    assert (device.read(response).status, response.answer.outcome) == (3, "pending")
    transaction = only(world)
    assert transaction.state is TransactionState.PENDING
    assert transaction.subject == "CN=device"
    assert transaction.csr_fingerprint
    assert world.store.certificates() == []


def test_C130_C117_the_reply_to_a_poll_echoes_the_polls_own_nonce(device):
    device.send(device.request())
    reply = device.read(device.send(device.poll(sender_nonce=b"0123456789abcdef")))
    assert (reply.status, reply.recipient_nonce) == (3, b"0123456789abcdef")


def test_a_wrong_challenge_waits_for_nobody(device, world):
    assert device.refusal(device.request(challenge="wrong"))[0] == "challenge_invalid"
    assert world.store.transactions() == []


def test_C201_C205_polls_and_repeated_requests_stay_pending_in_one_row(device, world):
    for body in (
        device.request(),
        device.poll(),
        device.request(),
        device.request(sender_nonce=bytes(16)),
        device.poll(),
    ):
        assert status(device, body) == 3
    assert len(world.store.transactions()) == 1


@pytest.mark.parametrize("asks", ["poll", "request"])
def test_C202_C207_after_the_approval_the_next_to_ask_gets_the_certificate(device, world, asks):
    device.send(device.request())
    decide(world, approve=True)
    ask = getattr(device, asks)
    leaf = device.certificates(device.send(ask()))[0]
    certificate = x509.load_der_x509_certificate(leaf)
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(world.keys.ca_der))
    assert certificate.public_key() == make.device().key.public_key()
    # C-208: the reply was lost.
    assert device.certificates(device.send(device.poll()))[0] == leaf
    assert len(world.issued()) == 1
    assert only(world).state is TransactionState.ISSUED


def test_the_certificate_says_what_the_person_saw(keys, tmp_path):
    world = world_of(keys, tmp_path)
    device = Device(world)
    device.send(device.request(extensions=(make.dns_names("device"),)))
    decide(world, approve=True)
    certificate = x509.load_der_x509_certificate(device.certificates(device.send(device.poll()))[0])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["device"]
    assert only(world).decided_by == "approver"


def test_S28_a_key_listed_while_a_person_decided_is_never_certified(device, world):
    device.send(device.request())
    decide(world, approve=True)
    world.context.blocked_keys = BlockedKeys.of([read_entries(spki_digest(spki_of(make.device().certificate_der)).hex())])
    assert device.refusal(device.poll())[0] == "key_refused"
    assert only(world).state is TransactionState.REJECTED
    assert world.issued() == []


def test_C203_after_the_rejection_poll_and_request_hear_the_same_refusal(device, world):
    device.send(device.request())
    decide(world, approve=False)
    for body in (device.poll(), device.request()):
        assert device.refusal(body) == ("rejected_by_approver", "badRequest", "request rejected")
    assert "not today" not in repr(device.read(device.send(device.poll())))


def test_C203_a_rejected_request_gives_its_challenge_back(device, world):
    challenge = world.one_time("once")
    device.send(device.request(challenge="once"))
    assert world.store.challenge(challenge.id).uses_left == 0
    decide(world, approve=False)
    assert world.store.challenge(challenge.id).uses_left == 1


def test_C153_C202_the_challenge_is_spent_with_the_certificate(device, world):
    challenge = world.one_time("once")
    device.send(device.request(challenge="once"))
    world.clock.time += timedelta(hours=5)  # it has expired meanwhile, but it was taken in time
    decide(world, approve=True)
    assert device.certificates(device.send(device.poll()))
    assert world.store.challenge(challenge.id).state.value == "spent"


def test_C204_S38_anothers_poll_is_answered_like_one_for_nothing(device, world):
    device.send(device.request())
    unknown = device.refusal(device.poll(transaction_id="never existed"))
    assert unknown == ("transaction_unknown", "badCertId", "no such transaction")
    assert device.refusal(device.poll(signer=OTHER_DEVICE)) == unknown
    decide(world, approve=True)
    assert device.refusal(device.poll(signer=OTHER_DEVICE)) == unknown
    assert only(world).state is TransactionState.APPROVED


def test_C212_a_poll_with_another_key_leaves_the_transaction_alone(device, world):
    device.send(device.request())
    before = only(world)
    device.refusal(device.poll(signer=OTHER_DEVICE))
    assert only(world) == before


def test_C204_a_poll_at_another_profile_finds_nothing(keys, tmp_path):
    profiles = [default_profile(approval=ApprovalRule()), default_profile(name="second", default=False)]
    world = make_world(keys, tmp_path, profiles=profiles)
    device = Device(world)
    device.send(device.request())
    assert device.refusal(device.poll(), profile="second")[0] == "transaction_unknown"


def test_a_poll_finds_its_transaction_in_another_letter_case(device):
    device.send(device.request(transaction_id="0ABCDEF"))
    reply = device.read(device.send(device.poll(transaction_id="0abcdef")))
    assert (reply.status, reply.transaction_id) == (3, "0abcdef")


def test_C211_C216_the_poll_is_found_by_id_and_key_whatever_else_it_says(device):
    device.send(device.request())
    data = make.issuer_and_subject(make.name(CN="Another CA"), make.name(CN="somebody"))
    body = make.message(make.envelope(data, device.ra), message_type=20, sender_nonce=b"unrelated nonce!")
    assert status(device, body) == 3


def test_C213_C214_transactions_of_other_ids_and_keys_are_apart(device, world):
    device.send(device.request(transaction_id="a"))
    device.send(device.request(transaction_id="a", signer=OTHER_DEVICE))
    device.send(device.request(transaction_id="b"))
    assert len(world.store.transactions()) == 3
    second = world.store.transactions()[1]
    decide(world, approve=True, transaction=second)
    assert device.certificates(device.send(device.poll(transaction_id="a", signer=OTHER_DEVICE)), OTHER_DEVICE)
    assert status(device, device.poll(transaction_id="a")) == 3


def test_C215_a_request_that_nobody_decides_expires(device, world):
    device.send(device.request())
    world.clock.time += timedelta(days=7)
    # Before the duty has come by, and after it.
    assert device.refusal(device.poll()) == ("request_expired", "badRequest", "request expired")
    assert world.store.expire_pending() == 1
    assert only(world).state is TransactionState.EXPIRED
    assert device.refusal(device.poll())[0] == "request_expired"


def test_C215_after_the_expiry_the_device_may_ask_anew(device, world):
    device.send(device.request())
    world.clock.time += timedelta(days=8)
    world.store.expire_pending()
    assert status(device, device.request()) == 3
    assert [row.state.value for row in world.store.transactions()] == ["PENDING", "EXPIRED"]


def test_C206_another_request_under_a_pending_transaction_is_refused(device, world):
    device.send(device.request())
    assert device.refusal(device.request(subject=make.name(CN="admin")))[0] == "transaction_conflict"
    assert only(world).subject == "CN=device"


def test_C217_another_worker_or_a_restart_between_request_and_poll_changes_nothing(device, keys, tmp_path, world):
    device.send(device.request())
    decide(world, approve=True)
    world.store.close()
    other = make_world(keys, tmp_path, profiles=list(world.profiles.values()), owner="other/3.0")
    assert Device(other).certificates(other.respond(device.poll()))
    other.store.close()


def test_C202_C220_two_polls_at_once_issue_one_certificate(device, keys, tmp_path, world):
    device.send(device.request())
    decide(world, approve=True)
    rival = make_world(keys, tmp_path, profiles=list(world.profiles.values()), owner="node/1.0")
    leaves = []

    def overtaken(name):
        if name == "before_intent" and not leaves:
            leaves.append(Device(rival).certificates(rival.respond(device.poll()))[0])

    world.context.checkpoint = overtaken
    assert device.certificates(device.send(device.poll()))[0] == leaves[0]
    assert len(world.issued()) == 1
    rival.store.close()


def test_C220_approve_and_reject_have_one_winner(device, world):
    device.send(device.request())
    assert decide(world, approve=False) is not None
    assert decide(world, approve=True) is None
    assert only(world).state is TransactionState.REJECTED


def test_C207_a_new_transaction_with_the_challenge_of_a_waiting_one_waits_with_it(device, world):
    world.one_time("once")
    device.send(device.request(challenge="once", transaction_id="a"))
    assert status(device, device.request(challenge="once", transaction_id="b")) == 3
    assert len(world.store.transactions()) == 1
    decide(world, approve=True)
    # Whoever draws a new transactionID for each attempt never polls: its next request fetches the certificate.
    leaf = device.certificates(device.send(device.request(challenge="once", transaction_id="b")))
    assert device.certificates(device.send(device.poll(transaction_id="a"))) == leaf


def test_S41_only_so_many_wait(keys, tmp_path):
    world = world_of(keys, tmp_path, ApprovalRule(most=1))
    device = Device(world)
    device.send(device.request())
    full = device.refusal(device.request(signer=OTHER_DEVICE))
    assert full == ("pending_full", "badRequest", "too many requests wait for approval")
    assert status(device, device.poll()) == 3


def test_C149_without_any_challenge_a_person_decides(keys, tmp_path):
    world = world_of(keys, tmp_path, challenge=(NoChallengeRule(),))
    device = Device(world)
    assert status(device, device.request(challenge=None)) == 3
    assert only(world).identity.method == "none"
    decide(world, approve=True)
    assert device.certificates(device.send(device.poll()))


@pytest.mark.parametrize("rule", [None, ApprovalRule(automatic=AutomaticWhen())], ids=["no rule", "automatic"])
def test_C149_no_rule_issues_to_somebody_whom_nobody_knows(keys, tmp_path, rule):
    device = Device(
        make_world(keys, tmp_path, profiles=[default_profile(approval=rule, challenge=(NoChallengeRule(),))])
    )
    assert status(device, device.request(challenge=None)) == 3


def when(**conditions):
    return ApprovalRule(automatic=AutomaticWhen(**conditions))


@pytest.mark.parametrize(
    ("rule", "status_of_request"),
    [
        (when(), 0),
        (when(subject=(("CN", re.compile("dev.*")),)), 0),
        (when(subject=(("CN", re.compile("r[0-9]+")),)), 3),
        (when(subject=(("O", re.compile(".*")),)), 3),
        (when(methods=frozenset({"static"})), 0),
        (when(methods=frozenset({"one-time"})), 3),
        (when(networks=(ip_network("192.0.2.0/24"),)), 0),
        (when(networks=(ip_network("198.51.100.0/24"),)), 3),
        (when(methods=frozenset({"static"}), networks=(ip_network("198.51.100.0/24"),)), 3),
    ],
)
def test_a_rule_decides_which_requests_need_a_person(keys, tmp_path, rule, status_of_request):
    device = Device(world_of(keys, tmp_path, rule))
    assert status(device, device.request()) == status_of_request


@pytest.mark.parametrize(("renewals", "outcome"), [(True, "issued"), (False, "pending")])
def test_a_rule_says_whether_renewals_need_a_person(keys, tmp_path, renewals, outcome):
    rule = when(methods=frozenset({"static"}), renewals=renewals)
    world = world_of(keys, tmp_path, rule, renewal=RenewalRule(earliest=0))
    holder = Holder(world)
    assert holder.send(holder.renewal()).answer.outcome == outcome


def test_C200_a_renewal_waits_and_comes_with_its_line(keys, tmp_path):
    world = make_world(keys, tmp_path)
    holder = Holder(world)
    world.clock.time += HALF
    world.profiles["default"] = attrs.evolve(world.profiles["default"], approval=ApprovalRule())
    assert status(holder, holder.renewal()) == 3
    waiting = world.store.transactions()[0]
    assert waiting.lineage.predecessor == holder.row(holder.held).id
    assert holder.refusal(holder.renewal(OTHER, transaction_id="thief"))[0] == "renewal_superseded"
    decide(world, approve=True, transaction=waiting)
    poll = holder.poll(signer=holder.held, transaction_id="renewal", signing_time=world.clock.time)
    renewed = holder.party(NEW, holder.certificates(holder.send(poll), holder.held)[0])
    assert holder.row(renewed).lineage == waiting.lineage


def test_C218_one_live_certificate_for_each_subject_where_the_profile_says_so(keys, tmp_path):
    world = make_world(keys, tmp_path, profiles=[default_profile(unique_subject=True)])
    device = Device(world)
    leaf = device.enrol()
    body = device.request(signer=OTHER_DEVICE)
    assert device.refusal(body) == ("name_taken", "badRequest", "subject already in use")
    assert device.enrol() == leaf
    serial = x509.load_der_x509_certificate(leaf).serial_number
    world.store.revoke("devices", serial, Revocation(world.clock.time, RevocationReason.superseded), who="test")
    assert device.enrol(signer=OTHER_DEVICE)


def test_only_an_approved_transaction_stands_for_a_decision(device, world):
    device.send(device.request())
    with pytest.raises(ValueError, match="is not approved"):
        authorize_by_approval(world.profiles["default"], only(world))


def test_C201_polls_write_nothing(device, world):
    device.send(device.request())
    before = len(world.store.audit(limit=1000))
    for _ in range(5):
        device.send(device.poll())
    assert len(world.store.audit(limit=1000)) == before


def test_static_challenges_are_good_for_many_that_wait(device, world):
    for who in (make.device(), OTHER_DEVICE, NEW):
        assert status(device, device.request(signer=who, challenge=STATIC)) == 3
    assert len(world.store.transactions()) == 3


def test_C275_an_approved_request_draws_another_serial_where_one_exists(keys, tmp_path):
    numbers = [bytes(17), bytes(17), bytes(17), bytes(16) + b"\1"]  # the first request, its own draft, two attempts

    def random(size):
        return numbers.pop(0) if size == 17 and numbers else secrets.token_bytes(size)

    world = make_world(keys, tmp_path, random=random)
    device = Device(world)
    device.enrol()
    world.profiles["default"] = attrs.evolve(world.profiles["default"], approval=ApprovalRule())
    device.send(device.request(signer=OTHER_DEVICE, transaction_id="second"))
    transaction = world.store.transactions()[0]
    decide(world, approve=True, transaction=transaction)
    poll = device.poll(signer=OTHER_DEVICE, transaction_id="second")
    assert device.certificates(device.send(poll), OTHER_DEVICE)


def test_S103_a_random_source_that_repeats_itself_issues_nothing_twice(keys, tmp_path):
    world = make_world(keys, tmp_path, random=bytes)
    device = Device(world)
    device.enrol()
    world.profiles["default"] = attrs.evolve(world.profiles["default"], approval=ApprovalRule())
    device.send(device.request(signer=OTHER_DEVICE, transaction_id="second"))
    decide(world, approve=True, transaction=world.store.transactions()[0])
    with pytest.raises(RuntimeError, match="repeats itself"):
        device.send(device.poll(signer=OTHER_DEVICE, transaction_id="second"))
    assert len(world.issued()) == 1


def test_an_approved_subject_keeps_the_string_types_of_the_request(device, world):
    printable = ((Attribute("2.5.4.3", "device", 19),),)
    device.send(device.request(subject=printable))
    decide(world, approve=True)
    leaf = device.certificates(device.send(device.poll()))[0]
    assert load_certificate(leaf).subject_der == write_name(printable)
