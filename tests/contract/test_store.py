"""What every implementation of `ports.Store` must do. Today there is one: SQLite."""

import os
from datetime import timedelta

import attrs
import pytest

from scepd.ports import SerialTaken
from scepd.records import CertificateState, ChallengeState, Refusal, Step, TransactionState
from scepd.refusal import Reason, Reject
from tests.store.building import (
    BEGIN,
    TRAIL,
    Device,
    add_challenge,
    certificate_of,
    enrol,
    make_intent,
)


def test_claim_stores_the_whole_intent(store, issuer, device):
    intent = make_intent(issuer, device)
    claimed, created = store.claim(intent)
    assert created
    assert claimed.state is TransactionState.ISSUING
    assert claimed.owner == "alpha/0"
    for field in ("key", "message_type", "issuer", "serial", "draft_der", "csr_der", "csr_fingerprint", "wishes"):
        assert getattr(claimed, field) == getattr(intent, field)
    for field in ("subject", "names", "identity", "address", "trail", "not_before", "not_after"):
        assert getattr(claimed, field) == getattr(intent, field)
    assert store.recall(intent.key) == claimed
    assert store.transaction(claimed.id) == claimed


def test_record_stores_what_it_returns(store, issuer, device, clock):
    intent = make_intent(issuer, device)
    claimed, _ = store.claim(intent)
    clock.moment += timedelta(seconds=1)
    der = certificate_of(issuer, device, intent)
    issued = store.record(claimed, der, TRAIL)
    assert issued.state is TransactionState.ISSUED
    assert issued.certificate_der == der
    assert issued.certificate_state is CertificateState.ISSUED
    assert issued.updated == clock.moment
    assert issued.trail == TRAIL
    assert store.recall(intent.key) == issued
    assert store.certificate("main", intent.serial).der == der
    assert store.certificate("main", intent.serial).state is CertificateState.ISSUED


def test_C205_a_repeated_request_gets_the_same_transaction_and_certificate(store, issuer, device):
    challenge = add_challenge(store)
    issued = enrol(store, issuer, device, challenge=challenge.id)
    again, created = store.claim(make_intent(issuer, device, challenge=challenge.id))
    assert not created
    assert again == issued
    after = store.challenge(challenge.id)
    assert (after.uses_left, after.state) == (0, ChallengeState.SPENT)
    assert len(store.certificates()) == 1


def test_C205_a_repeat_meets_the_claim_in_progress(store, issuer, device):
    claimed, _ = store.claim(make_intent(issuer, device))
    assert store.claim(make_intent(issuer, device)) == (claimed, False)


def test_C205_a_repeat_of_a_refused_request_gets_the_refusal(store, issuer, device):
    claimed, _ = store.claim(make_intent(issuer, device))
    rejected = store.abandon(claimed, Reason.lint_failed, "bad name", TRAIL)
    assert (rejected.state, rejected.reason, rejected.detail) == (
        TransactionState.REJECTED,
        Reason.lint_failed,
        "bad name",
    )
    assert store.claim(make_intent(issuer, device)) == (rejected, False)


def test_C205_a_second_record_keeps_the_first_certificate(store, issuer, device):
    intent = make_intent(issuer, device)
    claimed, _ = store.claim(intent)
    first, second = certificate_of(issuer, device, intent), certificate_of(issuer, device, intent)
    assert first != second
    issued = store.record(claimed, first, TRAIL)
    assert store.record(claimed, second, ()) == issued
    assert store.certificate("main", intent.serial).der == first


def test_C206_S39_the_same_transaction_id_of_another_key_is_another_transaction(store, issuer, device):
    squatter = Device.make("CN=squatter")
    ahead, _ = store.claim(make_intent(issuer, squatter, transaction_id=device.key_digest.hex()))
    issued = enrol(store, issuer, device)
    assert issued.id != ahead.id
    assert issued.key.transaction_id == ahead.key.transaction_id
    assert store.recall(ahead.key) == ahead


def test_C206_another_request_under_a_known_identity_leaves_the_transaction_as_it_was(store, issuer, device):
    issued = enrol(store, issuer, device)
    other = make_intent(issuer, device, csr_der=b"another csr")
    known, created = store.claim(other)
    assert not created
    assert known == issued
    assert known.wishes != other.wishes  # by which the caller refuses: transaction_conflict


def test_C213_transaction_ids_are_exact_and_belong_to_a_profile(store, issuer, device):
    issued = enrol(store, issuer, device, transaction_id="AbC-0")
    assert store.recall(attrs.evolve(issued.key, transaction_id="abc-0")) is None
    assert store.recall(attrs.evolve(issued.key, profile="phones")) is None
    enrol(store, issuer, device, transaction_id="AbC-0", profile="phones")


def test_polls_match_the_exact_transaction_id_before_one_of_another_case(store, issuer, device):
    upper = enrol(store, issuer, device, transaction_id="ABC")
    assert store.recall(attrs.evolve(upper.key, transaction_id="abc"), case_blind=True) == upper
    lower = enrol(store, issuer, device, transaction_id="abc")
    assert store.recall(attrs.evolve(upper.key, transaction_id="abc"), case_blind=True) == lower
    assert store.recall(upper.key, case_blind=True) == upper
    assert store.recall(attrs.evolve(upper.key, transaction_id="ab_"), case_blind=True) is None


def test_C207_the_same_request_under_a_new_transaction_id_gets_the_same_certificate(store, issuer, device, clock):
    challenge = add_challenge(store)
    issued = enrol(store, issuer, device, challenge=challenge.id)
    clock.moment += timedelta(days=2)  # the challenge has expired; what it bought stays
    again, created = store.claim(make_intent(issuer, device, challenge=challenge.id, transaction_id="fresh"))
    assert not created
    assert again == issued


def test_C207_a_claim_in_progress_answers_under_a_new_transaction_id(store, issuer, device):
    challenge = add_challenge(store)
    claimed, _ = store.claim(make_intent(issuer, device, challenge=challenge.id))
    again, created = store.claim(make_intent(issuer, device, challenge=challenge.id, transaction_id="fresh"))
    assert not created
    assert again == claimed


def test_C207_C209_redelivery_is_for_the_same_signer_and_the_same_wishes_only(store, issuer, device):
    challenge = add_challenge(store)
    enrol(store, issuer, device, challenge=challenge.id)
    for change in ({"requester": os.urandom(32)}, {"csr_der": b"other wishes"}):
        with pytest.raises(Reject) as caught:
            store.claim(make_intent(issuer, device, challenge=challenge.id, transaction_id="fresh", **change))
        assert caught.value.reason is Reason.challenge_replayed


def test_C210_a_retired_transaction_answers_no_more(store, issuer, device):
    issued = enrol(store, issuer, device)
    store.retire(issued)
    assert store.recall(issued.key) is None
    second = enrol(store, issuer, device)
    assert second.id != issued.id
    assert second.serial != issued.serial
    store.retire(second)
    third = enrol(store, issuer, device)
    assert store.recall(issued.key) == third
    assert store.transaction(issued.id).certificate_der == issued.certificate_der


def test_C210_a_retired_transaction_gives_no_redelivery_of_its_challenge(store, issuer, device):
    challenge = add_challenge(store)
    store.retire(enrol(store, issuer, device, challenge=challenge.id))
    with pytest.raises(Reject) as caught:
        store.claim(make_intent(issuer, device, challenge=challenge.id))
    assert caught.value.reason is Reason.challenge_replayed


def test_an_unfinished_transaction_cannot_be_retired(store, issuer, device):
    claimed, _ = store.claim(make_intent(issuer, device))
    store.retire(claimed)
    assert store.recall(claimed.key) == claimed


def test_C151_S34_a_challenge_goes_from_free_to_reserved_to_spent(store, issuer, device):
    challenge = add_challenge(store)
    assert challenge.state is ChallengeState.FREE
    intent = make_intent(issuer, device, challenge=challenge.id)
    claimed, _ = store.claim(intent)
    reserved = store.find_challenge("routers", challenge.digest)
    assert (reserved.state, reserved.transaction, reserved.spent_by) == (
        ChallengeState.RESERVED,
        claimed.id,
        device.key_digest,
    )
    store.record(claimed, certificate_of(issuer, device, intent), TRAIL)
    assert store.find_challenge("routers", challenge.digest).state is ChallengeState.SPENT


def test_C151_a_challenge_serves_no_second_key(store, issuer, device):
    challenge = add_challenge(store)
    claimed, _ = store.claim(make_intent(issuer, device, challenge=challenge.id))
    for _ in range(2):  # while reserved, and when spent
        with pytest.raises(Reject) as caught:
            store.claim(make_intent(issuer, Device.make("CN=other"), challenge=challenge.id))
        assert caught.value.reason is Reason.challenge_replayed
        store.record(claimed, certificate_of(issuer, device, attrs.evolve(claimed)), TRAIL)
    assert len(store.transactions()) == 1


def test_S34_a_failed_signature_gives_the_challenge_back(store, issuer, device):
    challenge = add_challenge(store)
    claimed, _ = store.claim(make_intent(issuer, device, challenge=challenge.id))
    store.abandon(claimed, Reason.interrupted, "token gone", TRAIL)
    assert store.challenge(challenge.id) == challenge
    assert store.certificate("main", claimed.serial).state is CertificateState.FAILED
    store.retire(claimed)
    issued = enrol(store, issuer, device, challenge=challenge.id)
    assert store.challenge(challenge.id).transaction == issued.id


def test_C152_an_expired_challenge_is_not_taken(store, issuer, device, clock):
    challenge = add_challenge(store, expires=BEGIN + timedelta(seconds=5))
    clock.moment = BEGIN + timedelta(seconds=5)
    with pytest.raises(Reject) as caught:
        store.claim(make_intent(issuer, device, challenge=challenge.id))
    assert caught.value.reason is Reason.challenge_expired
    clock.moment = BEGIN + timedelta(seconds=5) - timedelta(microseconds=1)
    enrol(store, issuer, device, challenge=challenge.id)


def test_C152_a_challenge_of_another_profile_is_not_taken(store, issuer, device):
    challenge = add_challenge(store, profile="phones")
    assert store.find_challenge("routers", challenge.digest) is None
    with pytest.raises(Reject) as caught:
        store.claim(make_intent(issuer, device, challenge=challenge.id))
    assert caught.value.reason is Reason.challenge_invalid


def test_C152_a_counted_challenge_serves_as_often_as_it_says(store, issuer):
    challenge = add_challenge(store, uses=3)
    devices = [Device.make(f"CN=r{number}") for number in range(4)]
    issued = [enrol(store, issuer, device, challenge=challenge.id) for device in devices[:3]]
    with pytest.raises(Reject) as caught:
        store.claim(make_intent(issuer, devices[3], challenge=challenge.id))
    assert caught.value.reason is Reason.challenge_replayed
    assert store.challenge(challenge.id).state is ChallengeState.SPENT
    # The first user, whom the row no longer names, still gets what it got, and no use is counted for it.
    again = make_intent(issuer, devices[0], challenge=challenge.id, transaction_id="fresh")
    assert store.claim(again) == (issued[0], False)


def test_C152_a_counted_challenge_is_free_again_when_one_use_fails(store, issuer):
    challenge = add_challenge(store, uses=2)
    one, two = Device.make("CN=r1"), Device.make("CN=r2")
    claimed, _ = store.claim(make_intent(issuer, one, challenge=challenge.id))
    enrol(store, issuer, two, challenge=challenge.id)
    assert store.challenge(challenge.id).state is ChallengeState.RESERVED
    store.abandon(claimed, Reason.interrupted, "", TRAIL)
    after = store.challenge(challenge.id)
    assert (after.state, after.uses_left) == (ChallengeState.FREE, 1)


def test_a_cancelled_challenge_is_not_taken(store, issuer, device):
    challenge = add_challenge(store)
    assert store.cancel_challenge(challenge.id, cancelled_by="bob")
    assert not store.cancel_challenge(challenge.id, cancelled_by="bob")
    with pytest.raises(Reject) as caught:
        store.claim(make_intent(issuer, device, challenge=challenge.id))
    assert caught.value.reason is Reason.challenge_replayed


def test_a_challenge_cancelled_while_reserved_stays_cancelled(store, issuer, device):
    challenge = add_challenge(store)
    claimed, _ = store.claim(make_intent(issuer, device, challenge=challenge.id))
    assert store.cancel_challenge(challenge.id, cancelled_by="bob")
    store.abandon(claimed, Reason.interrupted, "", TRAIL)
    assert store.challenge(challenge.id).state is ChallengeState.CANCELLED


def test_a_spent_challenge_cannot_be_cancelled(store, issuer, device):
    challenge = add_challenge(store)
    enrol(store, issuer, device, challenge=challenge.id)
    assert not store.cancel_challenge(challenge.id, cancelled_by="bob")
    assert store.challenge(challenge.id).state is ChallengeState.SPENT


def test_S103_a_serial_is_taken_once_and_nothing_of_the_second_claim_stays(store, issuer, device):
    challenge = add_challenge(store)
    intent = make_intent(issuer, Device.make("CN=first"))
    store.claim(intent)
    audited = len(store.audit())
    with pytest.raises(SerialTaken):
        store.claim(make_intent(issuer, device, serial=intent.serial, challenge=challenge.id))
    assert store.challenge(challenge.id).state is ChallengeState.FREE
    assert len(store.transactions()) == 1
    assert len(store.audit()) == audited
    enrol(store, issuer, device, challenge=challenge.id)


def test_S103_a_failed_serial_is_never_used_again(store, issuer, device):
    intent = make_intent(issuer, device)
    claimed, _ = store.claim(intent)
    store.abandon(claimed, Reason.interrupted, "", TRAIL)
    with pytest.raises(SerialTaken):
        store.claim(make_intent(issuer, Device.make("CN=second"), serial=intent.serial))


def test_abandon_leaves_an_issued_transaction_alone(store, issuer, device):
    issued = enrol(store, issuer, device)
    assert store.abandon(issued, Reason.interrupted, "", ()) == issued


def test_a_certificate_signed_too_late_is_kept_for_revocation(store, issuer, device):
    intent = make_intent(issuer, device)
    claimed, _ = store.claim(intent)
    rejected = store.abandon(claimed, Reason.interrupted, "", TRAIL)
    der = certificate_of(issuer, device, intent)
    assert store.record(claimed, der, TRAIL) == rejected
    kept = store.certificate("main", intent.serial)
    assert (kept.der, kept.state) == (der, CertificateState.FAILED)
    assert store.audit(target=f"transaction {claimed.id}")[0].action == "certificate_unclaimed"


def test_unfinished_transactions_are_found_by_owner(opening, issuer):
    first, second, third, other_node = (
        opening(owner=owner) for owner in ("alpha/0", "alpha/1", "alpha/2", "alphabet/0")
    )
    made = [
        repository.claim(make_intent(issuer, Device.make(f"CN={repository.owner}")))[0]
        for repository in (first, second, third, other_node)
    ]
    enrol(first, issuer, Device.make("CN=done"))
    assert list(first.unfinished("alpha/0")) == [made[0]]
    assert list(first.unfinished_of_others(["alpha/0", "alpha/1"])) == [made[2]]
    assert list(other_node.unfinished_of_others([])) == [made[3]]


def test_refusals_are_kept_newest_first_and_bounded(opening):
    store = opening(refusals_kept=5)
    made = [
        Refusal(
            at=BEGIN + timedelta(seconds=number),
            profile="routers" if number % 2 else "phones",
            transaction_id=f"t{number}",
            requester=b"key",
            message_type=19,
            reason=Reason.challenge_invalid,
            detail="no method knows it",
            subject="CN=r1",
            address="192.0.2.7",
            request_id=f"r{number}",
            trail=(Step("open", 0.5, "note"),),
        )
        for number in range(12)
    ]
    store.refused(made[:4])
    assert list(store.refusals()) == made[3::-1]
    store.refused(made[4:])
    store.refused([])
    assert list(store.refusals()) == made[:6:-1]
    assert [refusal.request_id for refusal in store.refusals(profile="routers")] == ["r11", "r9", "r7"]


def test_long_refusals_are_cut(store):
    refusal = Refusal(BEGIN, "routers", "t", b"k", 19, Reason.csr_invalid, "d" * 5000, "s" * 5000, "a", "r")
    store.refused([refusal])
    [kept] = store.refusals()
    assert (len(kept.detail), len(kept.subject)) == (1000, 1000)


def test_two_connections_see_each_other(opening, issuer, device):
    one, two = opening(owner="alpha/0"), opening(owner="alpha/1")
    issued = enrol(one, issuer, device)
    assert two.recall(issued.key) == issued
    assert two.claim(make_intent(issuer, device)) == (issued, False)
