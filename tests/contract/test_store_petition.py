"""What every store must do with requests that a person decides about."""

import os
from datetime import timedelta

import attrs
import pytest

from scepd.ports import SerialTaken
from scepd.records import CertificateState, ChallengeState, TransactionState
from scepd.refusal import Reason, Reject, Unavailable
from tests.store.building import (
    BEGIN,
    Device,
    add_challenge,
    after,
    certificate_row,
    enrol,
    finish,
    make_intent,
    make_petition,
)


def rejected(attempt):
    with pytest.raises(Reject) as caught:
        attempt()
    return caught.value.reason


def test_a_petition_is_stored_whole_without_certificate_and_draft(store, issuer, device):
    petition = make_petition(
        issuer, device, transaction_id="t", csr_fingerprint_sha1="ab" * 20, request_id="r1", serial=7
    )
    waiting, created = store.petition(petition)
    assert created
    assert (waiting.state, waiting.serial, waiting.draft_der) == (TransactionState.PENDING, 0, b"")
    assert (waiting.certificate_der, waiting.certificate_state, waiting.not_after) == (None, None, None)
    assert (waiting.expires, waiting.decided, waiting.decided_by) == (BEGIN + timedelta(days=7), None, "")
    for field in attrs.fields_dict(type(petition)):
        if field not in {"valid", "most", "public_key", "notify", "enclosure", "unique_subject"}:
            assert getattr(waiting, field) == getattr(petition, field), field
    assert store.recall(petition.key) == store.transaction(waiting.id) == waiting
    assert store.certificates() == []


def test_what_an_identity_vouches_for_is_kept(store, issuer, device):
    identity = attrs.evolve(make_intent(issuer, device).identity, names=("dns:a.example", "upn:ü@example"))
    waiting, _ = store.petition(make_petition(issuer, device, identity=identity))
    assert store.transaction(waiting.id).identity == identity


def test_C205_C207_a_repeated_request_meets_the_petition(store, issuer, device):
    challenge = add_challenge(store)
    waiting, _ = store.petition(make_petition(issuer, device, challenge=challenge.id))
    assert store.petition(make_petition(issuer, device, challenge=challenge.id)) == (waiting, False)
    again = make_petition(issuer, device, challenge=challenge.id, transaction_id="fresh")
    assert store.petition(again) == (waiting, False)
    assert store.claim(make_intent(issuer, device, challenge=challenge.id)) == (waiting, False)
    assert store.challenge(challenge.id).state is ChallengeState.RESERVED


def test_a_petition_meets_what_was_issued(store, issuer, device):
    issued = enrol(store, issuer, device)
    assert store.petition(make_petition(issuer, device)) == (issued, False)


def test_C151_a_reserved_challenge_serves_no_second_petition(store, issuer, device):
    challenge = add_challenge(store)
    store.petition(make_petition(issuer, device, challenge=challenge.id))
    other = Device.make("CN=other")
    assert rejected(lambda: store.petition(make_petition(issuer, other, challenge=challenge.id))) is (
        Reason.challenge_replayed
    )
    assert rejected(lambda: store.claim(make_intent(issuer, other, challenge=challenge.id))) is (
        Reason.challenge_replayed
    )
    assert len(store.transactions()) == 1


def test_C152_an_expired_challenge_leaves_no_petition(store, issuer, device, clock):
    challenge = add_challenge(store, expires=BEGIN + timedelta(hours=1))
    clock.moment += timedelta(hours=1)
    assert rejected(lambda: store.petition(make_petition(issuer, device, challenge=challenge.id))) is (
        Reason.challenge_expired
    )
    assert store.transactions() == []


def test_S41_a_profile_has_room_for_so_many_requests(store, issuer):
    devices = [Device.make(f"CN=r{number}") for number in range(4)]
    for device in devices[:3]:
        store.petition(make_petition(issuer, device, most=3))
    assert rejected(lambda: store.petition(make_petition(issuer, devices[3], most=3))) is Reason.pending_full
    # Who waits already is not turned away, another profile has room of its own, and each decision makes room.
    assert store.petition(make_petition(issuer, devices[0], most=3))[1] is False
    assert store.petition(make_petition(issuer, devices[3], most=3, profile="phones"))[1]
    store.decide(1, approve=True, who="ann")
    assert store.petition(make_petition(issuer, devices[3], most=3))[1]


def test_an_approved_request_proceeds_to_its_certificate(store, issuer, device, clock):
    challenge = add_challenge(store)
    waiting, _ = store.petition(make_petition(issuer, device, challenge=challenge.id))
    clock.moment += timedelta(minutes=5)
    approved = store.decide(waiting.id, approve=True, who="user ann", detail="known to me")
    assert (approved.state, approved.decided_by, approved.decided, approved.reason) == (
        TransactionState.APPROVED,
        "user ann",
        clock.moment,
        None,
    )
    clock.moment += timedelta(minutes=5)
    intent = make_intent(issuer, device, challenge=challenge.id, subject="CN=r1.example.net,O=Example")
    claimed, moved = store.proceed(approved, intent)
    assert moved
    assert (claimed.state, claimed.serial, claimed.draft_der, claimed.owner) == (
        TransactionState.ISSUING,
        intent.serial,
        intent.draft_der,
        "alpha/0",
    )
    assert (claimed.decided_by, claimed.expires, claimed.created) == ("user ann", approved.expires, BEGIN)
    assert list(store.unfinished("alpha/0")) == [claimed]
    issued = finish(store, issuer, device, claimed)
    assert issued.state is TransactionState.ISSUED
    assert store.recall(intent.key) == issued
    assert store.challenge(challenge.id).state is ChallengeState.SPENT
    acts = [row.action for row in store.audit(target=f"transaction {waiting.id}")]
    assert sorted(acts) == [
        "certificate_issued",
        "transaction_approved",
        "transaction_claimed",
        "transaction_pending",
    ]


def test_only_an_approved_request_proceeds_and_only_once(store, issuer, device):
    waiting, _ = store.petition(make_petition(issuer, device))
    assert store.proceed(waiting, make_intent(issuer, device)) == (waiting, False)
    approved = store.decide(waiting.id, approve=True, who="ann")
    claimed, _ = store.proceed(approved, make_intent(issuer, device))
    assert store.proceed(approved, make_intent(issuer, device)) == (claimed, False)
    assert [row.serial for row in store.certificates()] == [claimed.serial]


def test_S103_a_taken_serial_leaves_the_request_approved(store, issuer, device):
    taken = enrol(store, issuer, Device.make("CN=first"))
    waiting, _ = store.petition(make_petition(issuer, device))
    approved = store.decide(waiting.id, approve=True, who="ann")
    with pytest.raises(SerialTaken):
        store.proceed(approved, make_intent(issuer, device, serial=taken.serial))
    assert store.transaction(waiting.id) == approved
    assert store.proceed(approved, make_intent(issuer, device))[1]


def test_what_was_approved_can_still_fail(store, issuer, device):
    challenge = add_challenge(store)
    waiting, _ = store.petition(make_petition(issuer, device, challenge=challenge.id))
    claimed, _ = store.proceed(
        store.decide(waiting.id, approve=True, who="ann"), make_intent(issuer, device, challenge=challenge.id)
    )
    failed = store.abandon(claimed, Reason.interrupted, "token gone", ())
    assert (failed.state, failed.certificate_state) == (TransactionState.REJECTED, CertificateState.FAILED)
    assert store.challenge(challenge.id).state is ChallengeState.FREE


def test_a_rejected_request_frees_its_challenge_and_answers_with_the_refusal(store, issuer, device):
    challenge = add_challenge(store)
    waiting, _ = store.petition(make_petition(issuer, device, challenge=challenge.id))
    refused = store.decide(waiting.id, approve=False, who="user ann", detail="who is that?" * 200)
    assert (refused.state, refused.reason) == (TransactionState.REJECTED, Reason.rejected_by_approver)
    assert (refused.decided_by, refused.decided, len(refused.detail)) == ("user ann", BEGIN, 1000)
    assert store.challenge(challenge.id) == challenge
    assert store.petition(make_petition(issuer, device, challenge=challenge.id)) == (refused, False)
    [row] = [row for row in store.audit(target=f"transaction {waiting.id}") if row.action == "transaction_rejected"]
    assert row.actor == "user ann"


@pytest.mark.parametrize(("first", "second"), [(True, True), (False, True), (False, False)])
def test_S129_a_decision_is_made_once(store, issuer, device, first, second):
    waiting, _ = store.petition(make_petition(issuer, device))
    decided = store.decide(waiting.id, approve=first, who="ann")
    audited = len(store.audit())
    assert store.decide(waiting.id, approve=second, who="bob") is None
    assert store.transaction(waiting.id) == decided
    assert len(store.audit()) == audited


def test_what_does_not_wait_cannot_be_decided(store, issuer, device):
    issued = enrol(store, issuer, device)
    assert store.decide(issued.id, approve=False, who="ann") is None
    assert store.decide(4711, approve=True, who="ann") is None


def test_C215_a_request_expires_and_frees_its_challenge(store, issuer, device, clock):
    challenge = add_challenge(store, expires=BEGIN + timedelta(days=30))
    waiting, _ = store.petition(make_petition(issuer, device, challenge=challenge.id))
    lasting, _ = store.petition(make_petition(issuer, Device.make("CN=r2"), valid=timedelta(days=8)))
    clock.moment = waiting.expires - timedelta(microseconds=1)
    assert store.expire_pending() == 0
    clock.moment = waiting.expires
    assert store.expire_pending() == 1
    expired = store.transaction(waiting.id)
    assert (expired.state, expired.reason, expired.decided_by) == (TransactionState.EXPIRED, None, "")
    assert store.transaction(lasting.id) == lasting
    assert store.challenge(challenge.id) == challenge
    store.retire(expired)
    assert store.petition(make_petition(issuer, device, challenge=challenge.id))[1]


@pytest.mark.parametrize("approve", [True, False])
def test_C215_a_decision_comes_too_late_for_what_has_expired(store, issuer, device, clock, approve):
    waiting, _ = store.petition(make_petition(issuer, device))
    clock.moment = waiting.expires
    assert store.decide(waiting.id, approve=approve, who="ann") is None
    assert store.transaction(waiting.id).state is TransactionState.EXPIRED


def test_C215_an_approval_is_good_as_long_as_the_request_might_have_waited_for_it(store, issuer, device, clock):
    challenge = add_challenge(store, expires=BEGIN + timedelta(days=30))
    waiting, _ = store.petition(make_petition(issuer, device, challenge=challenge.id))
    clock.moment += timedelta(days=6)
    approved = store.decide(waiting.id, approve=True, who="ann")
    assert approved.expires == clock.moment + timedelta(days=7)
    clock.moment = approved.expires - timedelta(microseconds=1)
    assert store.expire_pending() == 0
    clock.moment = approved.expires
    # Before the duty has come by, and after it.
    assert store.proceed(approved, make_intent(issuer, device, challenge=challenge.id)) == (approved, False)
    assert store.decide(waiting.id, approve=False, who="ann") is None
    expired = store.transaction(waiting.id)
    assert (expired.state, expired.decided_by, expired.decided) == (
        TransactionState.EXPIRED,
        "ann",
        BEGIN + timedelta(days=6),
    )
    assert store.challenge(challenge.id) == challenge
    assert store.proceed(approved, make_intent(issuer, device, challenge=challenge.id)) == (expired, False)


def test_C215_the_duty_ends_approvals_that_nobody_fetched(store, issuer, device, clock):
    approved = store.decide(store.petition(make_petition(issuer, device))[0].id, approve=True, who="ann")
    clock.moment = approved.expires
    assert store.expire_pending() == 1
    assert store.transaction(approved.id).state is TransactionState.EXPIRED
    [row] = [row for row in store.audit() if row.action == "transaction_expired"]
    assert row.target == f"transaction {approved.id}"


def test_S129_an_approval_can_be_taken_back_until_it_is_used(store, issuer, device):
    challenge = add_challenge(store)
    waiting, _ = store.petition(make_petition(issuer, device, challenge=challenge.id))
    approved = store.decide(waiting.id, approve=True, who="ann")
    assert store.decide(waiting.id, approve=True, who="bob") is None
    refused = store.decide(waiting.id, approve=False, who="bob", detail="stolen")
    assert (refused.state, refused.decided_by, refused.reason) == (
        TransactionState.REJECTED,
        "bob",
        Reason.rejected_by_approver,
    )
    assert store.challenge(challenge.id) == challenge
    assert store.proceed(approved, make_intent(issuer, device, challenge=challenge.id)) == (refused, False)
    other = Device.make("CN=r2")
    proceeding = store.decide(store.petition(make_petition(issuer, other))[0].id, approve=True, who="ann")
    store.proceed(proceeding, make_intent(issuer, other))
    assert store.decide(proceeding.id, approve=False, who="bob") is None


def test_S41_what_was_approved_and_can_never_be_issued_is_withdrawn(store, issuer, device):
    challenge = add_challenge(store)
    waiting, _ = store.petition(make_petition(issuer, device, challenge=challenge.id))
    assert store.withdraw(waiting, Reason.lint_failed, "no") == waiting
    approved = store.decide(waiting.id, approve=True, who="ann")
    closed = store.withdraw(approved, Reason.lint_failed, "the key" * 200)
    assert (closed.state, closed.reason, closed.decided_by, len(closed.detail)) == (
        TransactionState.REJECTED,
        Reason.lint_failed,
        "ann",
        1000,
    )
    assert store.challenge(challenge.id) == challenge
    assert store.withdraw(approved, Reason.key_refused, "again") == closed
    acts = [row.action for row in store.audit(target=f"transaction {waiting.id}")]
    assert acts.count("transaction_rejected") == 1
    with pytest.raises(Unavailable, match="is gone"):
        store.withdraw(attrs.evolve(approved, id=4711), Reason.lint_failed, "")


def test_many_requests_expire_a_part_at_a_time(store, issuer, device, clock):
    petition = make_petition(issuer, device)
    for number in range(230):
        key = attrs.evolve(petition.key, transaction_id=f"t{number}", requester=os.urandom(32))
        store.petition(attrs.evolve(petition, key=key))
    clock.moment += timedelta(days=7)
    assert [store.expire_pending(limit=120), store.expire_pending(), store.expire_pending()] == [120, 110, 0]


def test_pending_requests_are_listed_by_state_and_profile(store, issuer, device):
    enrol(store, issuer, Device.make("CN=done"))
    waiting, _ = store.petition(make_petition(issuer, device))
    other, _ = store.petition(make_petition(issuer, device, profile="phones"))
    assert store.transactions(state=TransactionState.PENDING) == [other, waiting]
    assert store.transactions(state=TransactionState.PENDING, profile="phones") == [other]


def test_S38_another_connection_sees_what_waits_and_issues_what_is_approved(opening, issuer, device):
    one, two, desk = opening(owner="alpha/0"), opening(owner="alpha/1"), opening(owner="alpha/desk")
    waiting, _ = one.petition(make_petition(issuer, device))
    assert desk.decide(waiting.id, approve=True, who="ann").state is TransactionState.APPROVED
    claimed, moved = two.proceed(two.recall(waiting.key), make_intent(issuer, device))
    assert (moved, claimed.owner) == (True, "alpha/1")
    finish(two, issuer, device, claimed)
    assert one.recall(waiting.key).state is TransactionState.ISSUED


def test_S49_one_renewal_of_a_certificate_waits_at_a_time(store, issuer, device):
    lineage = after(certificate_row(store, enrol(store, issuer, device)))
    waiting, _ = store.petition(make_petition(issuer, device, transaction_id="one", lineage=lineage))
    assert store.transaction(waiting.id).lineage == lineage
    second = make_petition(issuer, device, transaction_id="two", lineage=lineage, csr_der=b"another wish")
    assert rejected(lambda: store.petition(second)) is Reason.renewal_superseded
    approved = store.decide(waiting.id, approve=True, who="ann")
    assert rejected(lambda: store.petition(second)) is Reason.renewal_superseded
    claimed, _ = store.proceed(approved, make_intent(issuer, device))
    assert rejected(lambda: store.petition(second)) is Reason.renewal_superseded
    renewed = certificate_row(store, finish(store, issuer, device, claimed))
    assert renewed.lineage == lineage
    assert rejected(lambda: store.petition(second)) is Reason.renewal_superseded


def test_S49_after_a_refusal_another_renewal_may_wait(store, issuer, device):
    lineage = after(certificate_row(store, enrol(store, issuer, device)))
    waiting, _ = store.petition(make_petition(issuer, device, transaction_id="one", lineage=lineage))
    store.decide(waiting.id, approve=False, who="ann")
    assert store.petition(make_petition(issuer, device, transaction_id="two", lineage=lineage))[1]


def test_S49_a_renewal_that_was_overtaken_cannot_proceed(store, issuer, device):
    lineage = after(certificate_row(store, enrol(store, issuer, device)))
    waiting, _ = store.petition(make_petition(issuer, device, transaction_id="one", lineage=lineage))
    enrol(store, issuer, device, transaction_id="two", lineage=lineage)
    approved = store.decide(waiting.id, approve=True, who="ann")
    assert rejected(lambda: store.proceed(approved, make_intent(issuer, device))) is Reason.renewal_superseded
    assert store.transaction(waiting.id) == approved


def test_C207_S49_a_waiting_renewal_answers_the_same_request_under_any_transaction_id(store, issuer, device):
    lineage = after(certificate_row(store, enrol(store, issuer, device)))
    waiting, _ = store.petition(make_petition(issuer, device, transaction_id="one", lineage=lineage))
    again = make_petition(issuer, device, transaction_id="two", lineage=lineage)
    assert store.petition(again) == (waiting, False)
    assert store.decide(waiting.id, approve=True, who="ann").state is TransactionState.APPROVED
    assert store.petition(again) == (store.transaction(waiting.id), False)
    for change in ({"requester": os.urandom(32)}, {"profile": "phones"}, {"csr_der": b"another wish"}):
        other = make_petition(issuer, device, transaction_id="three", lineage=lineage, **change)
        assert rejected(lambda other=other: store.petition(other)) is Reason.renewal_superseded


def test_S49_a_waiting_renewal_that_is_over_is_in_nobodys_way(store, issuer, device, clock):
    lineage = after(certificate_row(store, enrol(store, issuer, device)))
    waiting, _ = store.petition(make_petition(issuer, device, transaction_id="one", lineage=lineage))
    clock.moment = waiting.expires
    second = make_petition(issuer, device, transaction_id="two", lineage=lineage, csr_der=b"another wish")
    assert store.petition(second)[1]
    assert store.transaction(waiting.id).state is TransactionState.EXPIRED


def test_S41_whom_nobody_vouches_for_has_little_room(store, issuer):
    def ask(number, **changes):
        device = changes.pop("device", None) or Device.make(f"CN=r{number}")
        identity = attrs.evolve(make_intent(issuer, device).identity, method=changes.pop("method", "none"))
        made = make_petition(issuer, device, identity=identity, transaction_id=f"t{number}", most=50, **changes)
        return store.petition(made)[1]

    one = Device.make("CN=one")
    assert [ask(number, device=one) for number in range(3)] == [True] * 3
    assert rejected(lambda: ask(3, device=one)) is Reason.pending_full
    assert ask(3, device=one, profile="phones")
    assert ask(3, device=one, method="static")
    # Five of fifty from one address: three are there.
    assert ask(4)
    assert rejected(lambda: ask(5)) is Reason.pending_full
    assert ask(6, address="192.0.2.8")
    assert ask(7, method="static")
    lonely = attrs.evolve(make_petition(issuer, Device.make("CN=l"), most=2, profile="lonely"), address="192.0.2.9")
    nobody = attrs.evolve(lonely.identity, method="none")
    assert store.petition(attrs.evolve(lonely, identity=nobody))[1]


def test_C218_a_taken_subject_lets_nobody_wait_for_it(store, issuer, device):
    enrol(store, issuer, Device.make("CN=R1.Example.net,O=example"))
    petition = make_petition(issuer, device)
    assert rejected(lambda: store.petition(attrs.evolve(petition, unique_subject=True))) is Reason.name_taken
    assert store.transactions(state=TransactionState.PENDING) == []
    assert store.petition(petition)[1]


def test_S45_an_approved_renewal_proceeds_within_the_grace_of_its_predecessor(store, issuer, device, clock):
    old = certificate_row(store, enrol(store, issuer, device))
    petition = make_petition(issuer, device, transaction_id="one", lineage=after(old), valid=timedelta(days=1000))
    approved = store.decide(store.petition(petition)[0].id, approve=True, who="ann")
    intent = make_intent(issuer, device, grace=timedelta(days=7))
    clock.moment = old.not_after + timedelta(days=7, microseconds=1)
    assert rejected(lambda: store.proceed(approved, intent)) is Reason.renewal_signer_expired
    clock.moment = old.not_after + timedelta(days=7)
    claimed, moved = store.proceed(approved, intent)
    assert (moved, claimed.key) == (True, petition.key)


def test_S41_the_tables_find_what_waits_by_an_index(store, table_rows):
    from sqlalchemy.dialects import sqlite

    from scepd.store import petition

    for statement, index in (
        (petition._COUNT_WAITING, "ix_transaction_waiting"),
        (petition._COUNT_OF_ADDRESS, "ix_transaction_waiting"),
        (petition._COUNT_OF_REQUESTER, "INDEX"),
        (petition._OVERDUE, "ix_transaction_waiting"),
        (petition._RENEWING, "ix_transaction_predecessor"),
    ):
        compiled = statement.compile(dialect=sqlite.dialect())
        text = str(compiled)
        for _ in compiled.positiontup:
            text = text.replace("?", "'x'", 1)
        plan = table_rows(f"EXPLAIN QUERY PLAN {text}")
        assert index in plan[0][3], plan
