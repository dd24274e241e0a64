"""What every store must hold about keys that no certificate may have again, and about subjects in any letter case."""

from datetime import timedelta

import attrs
import pytest

from scepd.records import Revocation, RevocationReason, TransactionState
from scepd.refusal import Reason, Reject
from tests.store.building import (
    BEGIN,
    Device,
    after,
    certificate_row,
    enrol,
    make_intent,
    make_petition,
)

BLOCKING = {
    RevocationReason.keyCompromise,
    RevocationReason.aACompromise,
    RevocationReason.certificateHold,
    RevocationReason.privilegeWithdrawn,
}


def rejected(attempt):
    with pytest.raises(Reject) as caught:
        attempt()
    return caught.value.reason


def revoke(store, transaction, reason):
    return store.revoke("main", transaction.serial, Revocation(BEGIN, reason), who="ann")


@pytest.mark.parametrize("reason", list(RevocationReason))
def test_S48_some_revocations_block_the_key_for_ever(store, issuer, device, reason):
    issued = enrol(store, issuer, device)
    assert not store.is_key_blocked(device.key_digest)
    revoke(store, issued, reason)
    assert store.is_key_blocked(device.key_digest) is (reason in BLOCKING)
    assert not store.is_key_blocked(Device.make().key_digest)
    again = make_intent(issuer, device, transaction_id="again")
    if reason in BLOCKING:
        assert rejected(lambda: store.claim(again)) is Reason.key_refused
        assert len(store.certificates()) == len(store.transactions()) == 1
    else:
        assert store.claim(again)[1]


def test_S48_C296_a_released_key_is_good_again(store, issuer, device):
    issued = enrol(store, issuer, device)
    revoke(store, issued, RevocationReason.certificateHold)
    store.release("main", issued.serial, who="ann")
    assert not store.is_key_blocked(device.key_digest)
    assert store.claim(make_intent(issuer, device, transaction_id="again"))[1]


def test_S48_a_key_that_is_blocked_after_the_approval_stays_without_certificate(store, issuer, device):
    issued = enrol(store, issuer, device)
    waiting, _ = store.petition(make_petition(issuer, device, transaction_id="again"))
    approved = store.decide(waiting.id, approve=True, who="ann")
    revoke(store, issued, RevocationReason.keyCompromise)
    assert rejected(lambda: store.proceed(approved, make_intent(issuer, device))) is Reason.key_refused
    assert store.transaction(waiting.id).state is TransactionState.APPROVED


def test_S48_the_new_key_of_a_renewal_is_looked_at_again_in_the_claim(store, issuer, device):
    old = certificate_row(store, enrol(store, issuer, device))
    fresh = attrs.evolve(device, key=Device.make().key)
    enrol(store, issuer, fresh, transaction_id="overtook")
    renewal = make_intent(issuer, fresh, transaction_id="renewal", lineage=after(old))
    assert rejected(lambda: store.claim(renewal)) is Reason.renewal_key_taken
    petition = make_petition(issuer, fresh, transaction_id="renewal", lineage=after(old))
    assert rejected(lambda: store.petition(petition)) is Reason.renewal_key_taken
    # The old key again is judged by the profile alone.
    assert store.claim(make_intent(issuer, device, transaction_id="same", lineage=after(old)))[1]


def test_S48_a_key_taken_while_the_renewal_waited_stops_it(store, issuer, device):
    old = certificate_row(store, enrol(store, issuer, device))
    fresh = attrs.evolve(device, key=Device.make().key)
    waiting, _ = store.petition(make_petition(issuer, fresh, transaction_id="renewal", lineage=after(old)))
    approved = store.decide(waiting.id, approve=True, who="ann")
    enrol(store, issuer, fresh, transaction_id="overtook")
    assert rejected(lambda: store.proceed(approved, make_intent(issuer, fresh))) is Reason.renewal_key_taken


def test_S45_a_claim_within_the_grace_of_its_predecessor(store, issuer, device, clock):
    old = certificate_row(store, enrol(store, issuer, device))
    clock.moment = old.not_after + timedelta(days=1)
    late = make_intent(issuer, device, transaction_id="late", lineage=after(old), grace=timedelta(hours=23))
    assert rejected(lambda: store.claim(late)) is Reason.renewal_signer_expired
    assert store.claim(attrs.evolve(late, grace=timedelta(days=1)))[1]


@pytest.mark.parametrize("other", ["CN=R1,O=Example", "cn=r1,O=EXAMPLE", "CN=r1,O=exAmple"])
def test_C218_a_subject_is_taken_in_any_letter_case(store, issuer, other):
    enrol(store, issuer, Device.make("CN=r1,O=Example"))
    asked = attrs.evolve(make_intent(issuer, Device.make("CN=x")), subject=other, unique_subject=True)
    assert rejected(lambda: store.claim(asked)) is Reason.name_taken


def test_C218_letters_beyond_ascii_are_folded_too(store, issuer):
    enrol(store, issuer, Device.make("CN=Prüfstraße ÄÖ"))
    asked = make_intent(issuer, Device.make("CN=PRÜFSTRASSE äö"), unique_subject=True)
    assert rejected(lambda: store.claim(asked)) is Reason.name_taken
    assert store.claim(make_intent(issuer, Device.make("CN=Pruefstrasse"), unique_subject=True))[1]


def test_S48_C218_keys_and_subjects_are_found_by_an_index(store, table_rows):
    from sqlalchemy.dialects import sqlite

    from scepd.store import lineage

    for statement, index in (
        (lineage.KEY_BLOCKED, "ix_certificate_revoked_key"),
        (lineage._SUBJECT_TAKEN, "ix_certificate_subject_folded"),
    ):
        compiled = statement.compile(dialect=sqlite.dialect())
        text = str(compiled)
        for _ in compiled.positiontup:
            text = text.replace("?", "'x'", 1)
        plan = [row[3] for row in table_rows(f"EXPLAIN QUERY PLAN {text}")]
        assert any(index in step for step in plan), plan
