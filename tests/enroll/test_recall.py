"""The same transaction asked twice, polled, squatted, interrupted: one certificate, the same answer."""

from datetime import timedelta

import attrs
import pytest

from scepd.enroll.recall import recover
from scepd.records import CertificateState, TransactionState
from scepd.refusal import Reason
from tests import make
from tests.enroll.conftest import Device
from tests.world import STATIC, make_world


class Crash(BaseException):
    """The process ends here."""


def crash_at(point):
    def checkpoint(name):
        if name == point:
            raise Crash

    return checkpoint


def test_C205_C209_S36_the_same_request_gets_the_same_certificate_encrypted_afresh(device, world):
    body = device.request()
    first, second = device.send(body), device.send(body)
    assert device.certificates(first) == device.certificates(second)
    assert first.answer.body != second.answer.body
    assert (first.answer.again, second.answer.again) == (False, True)
    assert len(world.issued()) == 1


def test_C205_a_freshly_signed_request_of_the_same_transaction_is_the_same_request(device, world):
    first = device.enrol()
    assert device.enrol(sender_nonce=bytes(16)) == first
    assert len(world.issued()) == 1


def test_recall_asks_for_no_challenge_again(device, world):
    world.one_time("once")
    leaf = device.enrol(challenge="once")
    assert device.enrol(challenge="forgotten") == leaf


def test_C206_S39_another_request_under_the_same_transaction_and_key_is_refused(device):
    leaf = device.enrol()
    assert device.refusal(device.request(subject=make.name(CN="admin")))[0] == "transaction_conflict"
    assert device.enrol() == leaf


def test_S39_a_squatted_transaction_id_harms_nobody(device, world):
    squatter = make.party("squatter")
    device.enrol(signer=squatter)
    assert device.enrol()
    assert len(world.issued()) == 2


def test_C207_C151_the_same_key_and_one_time_challenge_under_a_new_transaction_gets_the_same_certificate(device, world):
    world.one_time("once")
    leaf = device.enrol(challenge="once", transaction_id="a")
    assert device.enrol(challenge="once", transaction_id="b") == leaf
    assert len(world.issued()) == 1


def test_C151_another_key_cannot_use_a_spent_challenge(device, world):
    world.one_time("once")
    device.enrol(challenge="once")
    body = device.request(challenge="once", signer=make.party("other"), transaction_id="b")
    assert device.refusal(body) == ("challenge_replayed", "badRequest", "challenge rejected")


@pytest.mark.parametrize("move", [timedelta(minutes=61), timedelta(days=1)])
def test_C152_an_expired_challenge_is_refused(device, world, move):
    world.one_time("once")
    world.clock.time += move
    assert device.refusal(device.request(challenge="once"))[0] == "challenge_expired"


def test_C152_S05_a_challenge_is_bound_to_its_subject_and_not_consumed_by_another(device, world):
    world.one_time("once", cn="device")
    body = device.request(challenge="once", subject=make.name(CN="admin"))
    assert device.refusal(body)[0] == "challenge_not_for_request"
    assert device.enrol(challenge="once")


def test_C152_a_challenge_of_another_profile_is_unknown(keys, tmp_path):
    from tests.world import default_profile

    world = make_world(keys, tmp_path, profiles=[default_profile(), default_profile(name="second", default=False)])
    device = Device(world)
    world.one_time("once", profile="second")
    assert device.refusal(device.request(challenge="once"))[0] == "challenge_invalid"
    assert device.certificates(device.send(device.request(challenge="once"), profile="second"))


def test_C210_after_half_its_life_a_certificate_is_no_more_redelivered(device, world):
    first = device.enrol()
    world.clock.time += timedelta(days=190)
    assert device.enrol() != first
    assert len(world.issued()) == 2


def test_C208_C217_S38_a_poll_gets_the_certificate_of_its_own_transaction(device):
    leaf = device.enrol()
    assert device.certificates(device.send(device.poll()))[0] == leaf


def test_C204_C212_S38_a_poll_of_another_key_or_transaction_is_unknown(device):
    device.enrol()
    unknown = ("transaction_unknown", "badCertId", "no such transaction")
    assert device.refusal(device.poll(signer=make.party("thief"))) == unknown
    assert device.refusal(device.poll(transaction_id="never")) == unknown
    assert device.refusal(device.poll(transaction_id=make.TRANSACTION.lower() + "x")) == unknown


def test_C109_a_request_with_the_content_of_a_poll_is_refused_uniformly(device):
    poll = make.issuer_and_subject(make.name(CN="Test CA"), make.name(CN="device"))
    body = make.message(make.envelope(poll, device.ra))
    assert device.refusal(body)[1:] == ("badRequest", "request refused")


def test_S12_S06_a_poll_tells_nothing_of_what_it_encloses(device, recorded):
    """Captured envelopes, bent at will and signed as a poll, are answered alike and never decrypted."""
    attacker = make.party("attacker")
    device.enrol(signer=attacker, transaction_id="own")
    victim = make.bent_envelope(make.csr(challenge=STATIC), recipient=device.ra)
    enclosed = [
        make.bent_envelope(make.issuer_and_subject(make.name(CN="a"), make.name(CN="b")), recipient=device.ra),
        make.bent_envelope(b"junk", recipient=device.ra),
        victim,
        victim.bend(encrypted_key=bytes(256)),
        attrs.evolve(victim, ciphertext=bytes(32)),
    ]
    recorded.calls.clear()
    for transaction, expected in (("none", (2, 4)), ("own", (0, None))):
        answers = {
            (reply.status, reply.fail_info)
            for envelope in enclosed
            for reply in [device.read(device.send(device.bent_poll(envelope, attacker, transaction)))]
        }
        assert answers == {expected}
    assert recorded.calls == []


@pytest.mark.parametrize(
    ("point", "durable"),
    [
        ("before_intent", False),
        ("claim.before_commit", False),
        ("claim.after_commit", True),
        ("after_intent", True),
        ("after_sign", True),
        ("record.before_commit", True),
        ("record.after_commit", True),
        ("after_record", True),
        ("before_reply", True),
    ],
)
def test_C219_S34_a_crash_anywhere_leaves_one_certificate_and_one_use_of_the_challenge(keys, tmp_path, point, durable):
    world = make_world(keys, tmp_path, checkpoint=crash_at(point))
    world.one_time("once")
    body = Device(world).request(challenge="once")
    with pytest.raises(Crash):
        world.respond(body)
    world.store.close()

    again = make_world(keys, tmp_path)
    assert bool(again.store.transactions()) is durable
    recover(again.context)
    device = Device(again)
    assert device.certificates(device.send(body))
    assert len(again.issued()) == 1
    assert [row.state.value for row in again.store.challenges()] == ["spent"]
    assert again.store.challenges()[0].uses_left == 0


def test_a_claim_of_our_own_that_was_interrupted_is_finished_by_the_next_request(keys, tmp_path):
    faults = iter([True])

    def once(name):
        if name == "after_sign" and next(faults, False):
            raise OSError("token gone")

    world = make_world(keys, tmp_path, checkpoint=once)
    device = Device(world)
    body = device.request()
    with pytest.raises(OSError, match="token gone"):
        world.respond(body)
    assert world.context.owes
    assert device.certificates(device.send(body))
    assert not world.context.owes
    assert len(world.issued()) == 1


def test_a_transaction_that_another_lane_is_signing_is_answered_503(keys, tmp_path):
    world = make_world(keys, tmp_path, checkpoint=crash_at("after_intent"))
    body = Device(world).request()
    with pytest.raises(Crash):
        world.respond(body)
    other = make_world(keys, tmp_path, owner="node/1.0")
    answer = other.respond(body).answer
    assert (answer.status, answer.retry_after, answer.outcome) == (503, 1, "unavailable")
    assert not other.context.owes
    assert other.store.transactions()[0].state is TransactionState.ISSUING


def test_recovery_of_an_owner_that_is_gone(keys, tmp_path):
    world = make_world(keys, tmp_path, checkpoint=crash_at("after_intent"))
    body = Device(world).request()
    with pytest.raises(Crash):
        world.respond(body)
    other = make_world(keys, tmp_path, owner="node/1.0")
    assert recover(other.context, "node/0.0") == 1
    assert Device(other).certificates(other.respond(body))


def test_a_draft_that_cannot_be_sealed_is_given_up_and_the_challenge_is_free_again(keys, tmp_path):
    world = make_world(keys, tmp_path, checkpoint=crash_at("after_intent"))
    world.one_time("once")
    body = Device(world).request(challenge="once")
    with pytest.raises(Crash):
        world.respond(body)
    world.store.close()
    again = make_world(keys, tmp_path)
    again.context.issuers.clear()
    assert recover(again.context) == 1
    (transaction,) = again.store.transactions()
    assert (transaction.state, transaction.reason) == (TransactionState.REJECTED, Reason.interrupted)
    assert again.store.challenges()[0].uses_left == 1

    third = make_world(keys, tmp_path)
    device = Device(third)
    assert device.certificates(device.send(body))
    assert len(third.issued()) == 1


def test_a_transaction_that_another_finished_while_it_was_given_up_stays(keys, tmp_path):
    world = make_world(keys, tmp_path, checkpoint=crash_at("after_intent"))
    body = Device(world).request()
    with pytest.raises(Crash):
        world.respond(body)
    again = make_world(keys, tmp_path)
    (row,) = again.store.unfinished("node/0.0")

    class Late:
        def check(self, _draft):
            other = make_world(keys, tmp_path, owner="node/9.0")
            other.store.record(row, other.context.issuers["devices"].sign(row.draft_der), row.trail)
            raise KeyError

    good = again.context.issuers
    again.context.issuers = {"devices": Late()}
    recover(again.context)
    again.context.issuers = good
    assert Device(again).certificates(again.respond(body))
    assert len(again.issued()) == 1


def test_a_transaction_given_up_while_it_was_signed_delivers_nothing(keys, tmp_path):
    def give_up(name):
        if name == "after_sign":
            other = make_world(keys, tmp_path, owner="node/9.0")
            (row,) = other.store.unfinished("node/0.0")
            other.store.abandon(row, Reason.interrupted, "by hand", row.trail)

    device = Device(make_world(keys, tmp_path, checkpoint=give_up))
    response = device.send(device.request())
    assert (response.answer.outcome, response.answer.reason) == ("rejected", "interrupted")


def test_C210_a_spent_challenge_is_no_longer_redelivered_after_half_the_life(device, world):
    world.one_time("once")
    device.enrol(challenge="once", transaction_id="a")
    world.clock.time += timedelta(days=190)
    assert device.refusal(device.request(challenge="once", transaction_id="b"))[0] == "challenge_replayed"


def test_S110_a_signature_over_other_bytes_is_never_recorded(keys, tmp_path):
    world = make_world(keys, tmp_path)
    body = Device(world).request()
    wrong = attrs.evolve(world.context.issuers["devices"], key=keys.sign)
    world.context.issuers = {"devices": wrong}
    with pytest.raises(Exception, match="verif"):
        world.respond(body)
    assert world.issued() == []
    assert [row.state for row in world.store.certificates()] == [CertificateState.RESERVED]


def test_a_pending_transaction_answers_pending(device, world):
    body = device.request()
    device.send(body)

    class Waiting:
        def __init__(self, store):
            self.store = store

        def recall(self, key):
            found = self.store.recall(key)
            return attrs.evolve(found, state=TransactionState.PENDING)

        def is_key_blocked(self, public_key):
            return self.store.is_key_blocked(public_key)

    world.context.store = Waiting(world.store)
    response = world.respond(body)
    assert response.answer.outcome == "pending"
    assert device.read(response).status == 3


def test_C205_a_rejected_transaction_answers_with_its_reason_again(keys, tmp_path):
    world = make_world(keys, tmp_path, checkpoint=crash_at("after_intent"))
    device = Device(world)
    body = device.request()
    with pytest.raises(Crash):
        world.respond(body)
    (row,) = world.store.transactions()
    world.store.abandon(row, Reason.rejected_by_approver, "not ours", row.trail)
    again = Device(make_world(keys, tmp_path))
    assert again.refusal(body) == ("rejected_by_approver", "badRequest", "request rejected")
    assert again.refusal(again.poll())[0] == "rejected_by_approver"


def test_S36_a_revoked_certificate_is_not_redelivered(device, world):
    device.enrol()
    from scepd.enroll.recall import answer_again
    from scepd.refusal import Reject

    (transaction,) = world.store.transactions()
    revoked = attrs.evolve(transaction, certificate_state=CertificateState.REVOKED)
    with pytest.raises(Reject) as refusal:
        answer_again(world.context, revoked, None)
    assert refusal.value.reason is Reason.certificate_revoked
