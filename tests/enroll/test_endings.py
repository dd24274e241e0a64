"""How requests and keys end: approvals that cannot be used, keys that were revoked, waiting rooms that are full."""

import secrets
from datetime import timedelta

import attrs
import pytest

from scepd.enroll.raw import respond_raw
from scepd.enroll.state import may_move
from scepd.profile.model import ApprovalRule, NoChallengeRule, RenewalRule
from scepd.records import Revocation, RevocationReason, TransactionState
from scepd.refusal import Reason, Reject
from tests import make
from tests.enroll.conftest import Device
from tests.enroll.test_renewal import HALF, NEW, OTHER, Holder
from tests.world import ORIGIN, STATIC, default_profile, make_world

SECOND = make.party("second device")
THIRD = make.party("third device")
PERSON = ApprovalRule()


def world_of(keys, tmp_path, **changes):
    return make_world(keys, tmp_path, profiles=[default_profile(**{"approval": PERSON, **changes})])


@pytest.fixture
def world(keys, tmp_path):
    return world_of(keys, tmp_path)


def waiting(world):
    return [row for row in world.store.transactions() if row.state is TransactionState.PENDING]


def approve_all(world):
    for row in waiting(world):
        world.store.decide(row.id, approve=True, who="approver")


def state_of(world, number=1):
    return world.store.transaction(number).state


def reason_of(response):
    return response.answer.outcome, response.answer.reason


def revoke(world, row, reason=RevocationReason.keyCompromise):
    world.store.revoke("devices", row.serial, Revocation(world.clock.now(), reason), who="op")


def change_profile(world, **changes):
    world.profiles["default"] = attrs.evolve(world.profiles["default"], **changes)


def test_S129_an_approval_has_three_ends():
    ends = {new for new in TransactionState if may_move(TransactionState.APPROVED, new)}
    assert ends == {TransactionState.ISSUING, TransactionState.REJECTED, TransactionState.EXPIRED}


# Approvals that end.


@pytest.mark.parametrize("swept", [True, False])
def test_C215_an_approval_that_nobody_fetched_ends(device, world, swept):
    challenge = world.one_time("once")
    device.send(device.request(challenge="once"))
    approve_all(world)
    world.clock.time += timedelta(days=7)
    if swept:
        assert world.store.expire_pending() == 1
        assert world.store.challenge(challenge.id).state.value == "free"
    assert device.refusal(device.poll())[0] == "request_expired"
    assert world.issued() == []


def test_C215_an_approval_is_good_for_its_whole_time(device, world):
    device.send(device.request())
    world.clock.time += timedelta(days=6)
    approve_all(world)
    world.clock.time += timedelta(days=6)
    assert device.certificates(device.send(device.poll()))


def test_C203_a_person_takes_an_approval_back(device, world):
    device.send(device.request())
    approve_all(world)
    assert world.store.decide(1, approve=False, who="other") is not None
    assert device.refusal(device.poll())[0] == "rejected_by_approver"


def test_C218_a_name_that_is_taken_may_be_free_before_the_approval_ends(keys, tmp_path):
    world = world_of(keys, tmp_path, unique_subject=True)
    device = Device(world)
    device.send(device.request(transaction_id="a"))
    device.send(device.request(signer=SECOND, private_key=SECOND.key, transaction_id="b"))
    approve_all(world)
    assert device.certificates(device.send(device.poll(signer=SECOND, transaction_id="b")), SECOND)
    assert device.refusal(device.poll(transaction_id="a"))[0] == "name_taken"
    assert state_of(world) is TransactionState.APPROVED
    revoke(world, world.issued()[0], RevocationReason.superseded)
    assert device.certificates(device.send(device.poll(transaction_id="a")))


def test_C218_nobody_waits_for_a_name_that_is_taken(keys, tmp_path):
    world = world_of(keys, tmp_path, approval=None, unique_subject=True)
    device = Device(world)
    device.enrol(subject=make.name(CN="Device"))
    change_profile(world, approval=PERSON)
    body = device.request(subject=make.name(CN="device"), signer=SECOND, private_key=SECOND.key, transaction_id="2")
    assert device.refusal(body)[0] == "name_taken"
    assert waiting(world) == []


def end_issuer(world, monkeypatch, reason):
    issuer = world.context.issuers["devices"]

    def refuse(*_arguments, **_named):
        raise Reject(reason, "not today")

    monkeypatch.setattr(type(issuer), "draft", refuse)


@pytest.mark.parametrize("reason", [Reason.lint_failed, Reason.validity_exhausted, Reason.key_refused])
def test_S41_what_can_never_be_issued_is_closed_and_gives_its_challenge_back(device, world, monkeypatch, reason):
    challenge = world.one_time("once")
    device.send(device.request(challenge="once"))
    approve_all(world)
    end_issuer(world, monkeypatch, reason)
    for _ in range(2):
        assert device.refusal(device.poll())[0] == reason.value
    assert state_of(world) is TransactionState.REJECTED
    assert world.store.transaction(1).reason is reason
    assert world.store.challenge(challenge.id).state.value == "free"


def test_S41_nobody_is_asked_to_approve_what_can_never_be_issued(device, world, monkeypatch):
    challenge = world.one_time("once")
    end_issuer(world, monkeypatch, Reason.lint_failed)
    assert device.refusal(device.request(challenge="once"))[0] == "lint_failed"
    assert world.store.transactions() == []
    assert world.store.challenge(challenge.id).state.value == "free"


def test_S49_a_renewal_that_was_overtaken_is_closed(keys, tmp_path):
    world = world_of(keys, tmp_path, approval=None)
    holder = Holder(world)
    world.clock.time += HALF
    change_profile(world, approval=PERSON)
    holder.send(holder.renewal())
    approve_all(world)
    change_profile(world, approval=None)
    assert holder.renew(OTHER, transaction_id="overtakes")
    poll = holder.poll(signer=holder.held, transaction_id="renewal", signing_time=world.clock.time)
    assert holder.refusal(poll)[0] == "renewal_superseded"
    assert state_of(world, 2) is TransactionState.REJECTED


# The certificate that is renewed, at the time of the issue.


def pending_renewal(keys, tmp_path, **changes):
    world = world_of(keys, tmp_path, approval=None, **changes)
    holder = Holder(world)
    world.clock.time = holder.row(holder.held).not_after - timedelta(days=1)
    change_profile(world, approval=PERSON)
    assert holder.read(holder.send(holder.renewal())).status == 3
    approve_all(world)
    poll = holder.poll(signer=holder.held, transaction_id="renewal")
    return world, holder, poll


@pytest.mark.parametrize("renewal", [RenewalRule(), None], ids=["no grace", "renewal is off now"])
def test_S45_a_renewal_is_not_issued_after_its_certificate_ended(keys, tmp_path, renewal):
    world, holder, poll = pending_renewal(keys, tmp_path)
    change_profile(world, renewal=renewal)
    world.clock.time = holder.row(holder.held).not_after + timedelta(microseconds=1)
    assert holder.refusal(poll)[0] == "renewal_signer_expired"
    assert state_of(world, 2) is TransactionState.REJECTED


def test_S45_a_renewal_is_issued_within_the_grace(keys, tmp_path):
    world, holder, poll = pending_renewal(keys, tmp_path, renewal=RenewalRule(grace=timedelta(days=2)))
    world.clock.time = holder.row(holder.held).not_after + timedelta(days=2)
    assert holder.certificates(holder.send(poll), holder.held)


def test_S44_a_renewal_is_not_issued_after_its_certificate_was_revoked(keys, tmp_path):
    world, holder, poll = pending_renewal(keys, tmp_path)
    revoke(world, holder.row(holder.held), RevocationReason.superseded)
    assert holder.refusal(poll)[0] == "renewal_signer_revoked"
    assert state_of(world, 2) is TransactionState.REJECTED


def test_C207_a_renewal_with_a_new_transaction_id_for_each_attempt_gets_its_certificate(keys, tmp_path):
    world, holder, _poll = pending_renewal(keys, tmp_path)
    renewed = holder.renew(transaction_id="second")
    assert holder.row(renewed).transaction == 2
    assert holder.renew(transaction_id="third") == renewed
    assert len(world.store.transactions()) == 2


def test_C206_another_request_meets_no_others_approval(keys, tmp_path, monkeypatch):
    """The store may find a transaction of the same identity that another lane has just made: wishes are compared."""
    world = world_of(keys, tmp_path)
    device = Device(world)
    device.send(device.request())
    approve_all(world)
    stored, recall = world.store.transaction(1), world.store.recall
    monkeypatch.setattr(world.store, "recall", lambda _key: None)
    monkeypatch.setattr(world.store, "petition", lambda _petition: (recall(stored.key), False))
    assert device.refusal(device.request(subject=make.name(CN="admin")))[0] == "transaction_conflict"
    assert state_of(world) is TransactionState.APPROVED


# Keys.


@pytest.mark.parametrize(
    "reason",
    [
        RevocationReason.keyCompromise,
        RevocationReason.aACompromise,
        RevocationReason.certificateHold,
        RevocationReason.privilegeWithdrawn,
    ],
)
def test_S36_S48_a_key_that_was_revoked_as_such_is_certified_no_more(keys, tmp_path, reason):
    world = world_of(keys, tmp_path, approval=None)
    device = Device(world)
    recorded = device.request()
    device.send(recorded)
    revoke(world, world.issued()[0], reason)
    for body in (recorded, device.request(transaction_id="fresh")):
        assert device.refusal(body) == ("key_refused", "badRequest", "key rejected")
    assert device.refusal(device.poll())[0] == "certificate_revoked"
    bare = respond_raw(world.context, world.profiles["default"], make.csr(challenge=STATIC), ORIGIN)
    assert (bare.answer.status, bare.answer.reason) == (403, "key_refused")
    assert len(world.issued()) == 1


@pytest.mark.parametrize("reason", [RevocationReason.superseded, RevocationReason.cessationOfOperation])
def test_S36_a_key_whose_certificate_just_ended_enrols_anew(keys, tmp_path, reason):
    world = world_of(keys, tmp_path, approval=None)
    device = Device(world)
    recorded = device.request()
    first = device.certificates(device.send(recorded))[0]
    revoke(world, world.issued()[0], reason)
    assert device.certificates(device.send(recorded))[0] != first


def test_S48_a_compromised_key_is_no_new_key_of_a_renewal(keys, tmp_path):
    world = world_of(keys, tmp_path, approval=None)
    holder = Holder(world)
    holder.send(holder.request(signer=NEW, private_key=NEW.key, transaction_id="n"))
    revoke(world, next(row for row in world.issued() if row.transaction == 2))
    world.clock.time += HALF
    assert holder.refusal(holder.renewal())[0] == "key_refused"


def at_intent(keys, tmp_path, act, **changes):
    """A world in which something happens between the judgement of a request and its intent."""
    done = []

    def checkpoint(name):
        if name == "before_intent" and not done and "world" in held:
            done.append(name)
            act(held["world"])

    held = {}
    world = make_world(keys, tmp_path, profiles=[default_profile(**changes)], checkpoint=checkpoint)
    return world, lambda: held.setdefault("world", world)


def test_S48_a_revocation_while_the_request_is_on_its_way_blocks_the_key(keys, tmp_path):
    world, begin = at_intent(keys, tmp_path, lambda world: revoke(world, world.issued()[0]))
    device = Device(world)
    device.enrol(transaction_id="first")
    begin()
    assert device.refusal(device.request(transaction_id="second"))[0] == "key_refused"


def test_S48_a_key_taken_while_the_renewal_is_on_its_way_is_taken(keys, tmp_path):
    def overtake(world):
        device = Device(world)
        device.send(device.request(signer=NEW, private_key=NEW.key, transaction_id="n"))

    world, begin = at_intent(keys, tmp_path, overtake)
    holder = Holder(world)
    world.clock.time += HALF
    begin()
    response = holder.send(holder.renewal())
    assert reason_of(response) == ("rejected", "renewal_key_taken")


def test_S51_what_was_revoked_before_it_was_signed_is_not_delivered(keys, tmp_path):
    held = {}

    def checkpoint(name):
        if name == "after_intent":
            [row] = held["world"].store.certificates()
            revoke(held["world"], row, RevocationReason.cessationOfOperation)

    held["world"] = world = make_world(keys, tmp_path, checkpoint=checkpoint)
    device = Device(world)
    response = device.send(device.request())
    assert reason_of(response) == ("rejected", "certificate_revoked")
    assert device.read(response).status == 2
    assert state_of(world) is TransactionState.ISSUED
    assert device.send(device.poll()).answer.reason == "certificate_revoked"


# The waiting room.


def test_S41_a_stranger_fills_no_waiting_room(keys, tmp_path):
    rule = ApprovalRule(most=20)
    world = world_of(keys, tmp_path, challenge=(NoChallengeRule(),), approval=rule)
    device = Device(world)
    outcomes = [device.send(device.request(challenge=None, transaction_id=f"t{n}")).answer for n in range(5)]
    # Two of twenty from one address.
    assert [answer.outcome for answer in outcomes] == ["pending"] * 2 + ["rejected"] * 3
    assert {answer.reason for answer in outcomes[2:]} == {"pending_full"}
    world.store.decide(1, approve=False, who="approver")
    honest = device.send(device.request(challenge=None, signer=SECOND, private_key=SECOND.key, transaction_id="h"))
    assert honest.answer.outcome == "pending"


def test_S41_three_requests_of_a_key_that_nobody_vouches_for(keys, tmp_path):
    world = world_of(keys, tmp_path, challenge=(NoChallengeRule(),))
    device = Device(world)
    ids = [secrets.token_hex(4) for _ in range(4)]
    outcomes = [device.send(device.request(challenge=None, transaction_id=name)).answer.outcome for name in ids]
    assert outcomes == ["pending"] * 3 + ["rejected"]
    other = device.request(challenge=None, signer=THIRD, private_key=THIRD.key, transaction_id="other")
    assert device.send(other).answer.outcome == "pending"
