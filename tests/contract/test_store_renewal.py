"""What every store must hold about certificates that follow each other, and about names and keys that are taken."""

from datetime import timedelta

import attrs
import pytest

from scepd.ports import SerialTaken
from scepd.records import CertificateState, Lineage, Revocation, RevocationReason, TransactionKey
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

END = BEGIN + timedelta(days=365)


def rejected(attempt):
    with pytest.raises(Reject) as caught:
        attempt()
    return caught.value.reason


def with_new_key(device):
    return attrs.evolve(device, key=Device.make().key)


def revoke(store, certificate, reason=RevocationReason.keyCompromise):
    return store.revoke(certificate.issuer, certificate.serial, Revocation(BEGIN, reason), who="ann")


@pytest.fixture
def first(store, issuer, device):
    return certificate_row(store, enrol(store, issuer, device))


def test_a_line_of_certificates_is_on_record(store, issuer, device, first):
    assert first.lineage is None
    assert store.successor(first.id) is None
    second_device = with_new_key(device)
    issued = enrol(store, issuer, second_device, lineage=after(first))
    second = certificate_row(store, issued)
    assert issued.lineage == second.lineage == Lineage(first.id, 1, first.not_before)
    third = certificate_row(store, enrol(store, issuer, with_new_key(device), lineage=after(second)))
    assert third.lineage == Lineage(second.id, 2, first.not_before)
    assert store.successor(first.id) == second
    assert store.successor(second.id) == third
    assert store.successor(third.id) is None


def test_S49_a_certificate_has_one_successor(store, issuer, device, first):
    claimed, _ = store.claim(make_intent(issuer, with_new_key(device), lineage=after(first)))
    assert store.successor(first.id).state is CertificateState.RESERVED
    audited = len(store.audit())
    other = make_intent(issuer, with_new_key(device), lineage=after(first))
    assert rejected(lambda: store.claim(other)) is Reason.renewal_superseded
    assert len(store.audit()) == audited
    # The renewal itself, asked again, is answered.
    same = attrs.evolve(make_intent(issuer, device), key=claimed.key, lineage=after(first))
    assert store.claim(same) == (claimed, False)


def test_S49_the_tables_themselves_hold_one_successor(store, issuer, device, first, monkeypatch):
    store.claim(make_intent(issuer, with_new_key(device), lineage=after(first)))
    monkeypatch.setattr("scepd.store.repository.require_renewable", lambda *_: None)
    with pytest.raises(SerialTaken):  # as the constraint is taken: the caller draws another serial, and fails again
        store.claim(make_intent(issuer, with_new_key(device), lineage=after(first)))
    assert len(store.certificates()) == 2


def test_a_renewal_that_failed_leaves_the_certificate_without_successor(store, issuer, device, first):
    claimed, _ = store.claim(make_intent(issuer, with_new_key(device), lineage=after(first)))
    store.abandon(claimed, Reason.interrupted, "token gone", ())
    assert store.successor(first.id) is None
    renewed = with_new_key(device)
    second = certificate_row(store, enrol(store, issuer, renewed, lineage=after(first)))
    assert store.successor(first.id) == second
    # The failed one was signed after all and is revoked to be sure: the successor stays the one there is.
    revoke(store, store.certificate("main", claimed.serial))
    assert store.successor(first.id) == second


def test_a_revoked_successor_is_still_the_successor(store, issuer, device, first):
    second = certificate_row(store, enrol(store, issuer, with_new_key(device), lineage=after(first)))
    revoke(store, second)
    assert store.successor(first.id).id == second.id
    assert rejected(lambda: store.claim(make_intent(issuer, with_new_key(device), lineage=after(first)))) is (
        Reason.renewal_superseded
    )


@pytest.mark.parametrize("reason", [RevocationReason.keyCompromise, RevocationReason.certificateHold])
def test_S44_S51_a_certificate_revoked_meanwhile_is_not_renewed(store, issuer, device, first, reason):
    revoke(store, first, reason)
    renewal = make_intent(issuer, with_new_key(device), lineage=after(first))
    assert rejected(lambda: store.claim(renewal)) is Reason.renewal_signer_revoked
    assert len(store.transactions()) == 1


def test_an_unknown_predecessor_is_refused(store, issuer, device):
    renewal = make_intent(issuer, device, lineage=Lineage(4711, 1, BEGIN))
    assert rejected(lambda: store.claim(renewal)) is Reason.renewal_signer_unknown


def test_S49_a_suspected_clone_is_audited_once_for_each_requester(store, device, first):
    key = TransactionKey("routers", "t", b"\1" * 32)
    for attempt in range(3):
        store.suspect_clone(first.id, attrs.evolve(key, transaction_id=f"t{attempt}"), "192.0.2.1")
    store.suspect_clone(first.id, key, "192.0.2.2")
    store.suspect_clone(4711, key, "192.0.2.2")
    rows = store.audit(target=f"certificate main {first.serial:x}")
    assert [row.action for row in rows] == ["clone_suspected"] * 2
    assert "192.0.2.2" in rows[0].details
    assert '"requester":"0101' in rows[0].details


def test_S49_alarms_of_a_clone_are_bounded(store, first):
    key = TransactionKey("routers", "t", bytes(32))
    for number in range(130):
        store.suspect_clone(first.id, key, f"192.0.2.{number}")
    assert len(store.audit(target=f"certificate main {first.serial:x}", limit=1000)) == 100


def test_C218_a_subject_that_another_key_has_is_taken(store, issuer, device, first):
    other = with_new_key(device)
    intent = make_intent(issuer, other, unique_subject=True)
    assert rejected(lambda: store.claim(intent)) is Reason.name_taken
    assert store.claim(make_intent(issuer, other, unique_subject=True, profile="phones"))[1]
    assert store.claim(make_intent(issuer, Device.make("CN=free"), unique_subject=True))[1]
    assert store.claim(make_intent(issuer, other))[1]  # a profile that does not ask


def test_C218_the_same_key_may_have_its_subject_again(store, issuer, device, first):
    assert store.claim(make_intent(issuer, device, unique_subject=True, transaction_id="again"))[1]


def test_C218_a_revoked_certificate_gives_its_subject_free(store, issuer, device, first):
    revoke(store, first)
    assert store.claim(make_intent(issuer, with_new_key(device), unique_subject=True))[1]


def test_C218_a_certificate_on_hold_keeps_its_subject(store, issuer, device, first):
    revoke(store, first, RevocationReason.certificateHold)
    assert rejected(lambda: store.claim(make_intent(issuer, with_new_key(device), unique_subject=True))) is (
        Reason.name_taken
    )


def test_C218_an_expired_certificate_gives_its_subject_free(store, issuer, device, first, clock):
    clock.moment = END
    assert store.claim(make_intent(issuer, with_new_key(device), unique_subject=True))[1]


def test_C218_a_certificate_to_come_has_its_subject_already(store, issuer, device):
    claimed, _ = store.claim(make_intent(issuer, device, unique_subject=True))
    intent = make_intent(issuer, with_new_key(device), unique_subject=True)
    assert rejected(lambda: store.claim(intent)) is Reason.name_taken
    store.abandon(claimed, Reason.interrupted, "", ())
    assert store.claim(intent)[1]


def test_C218_a_renewal_may_take_the_subject_of_its_whole_line(store, issuer, device, first):
    second = certificate_row(
        store, enrol(store, issuer, with_new_key(device), lineage=after(first), unique_subject=True)
    )
    third = make_intent(issuer, with_new_key(device), lineage=after(second), unique_subject=True)
    claimed, _ = store.claim(third)
    assert claimed.lineage == third.lineage
    stranger = make_intent(issuer, with_new_key(device), unique_subject=True)
    assert rejected(lambda: store.claim(stranger)) is Reason.name_taken


def test_C218_holds_for_approved_requests_too(store, issuer, device, first):
    other = with_new_key(device)
    waiting, _ = store.petition(make_petition(issuer, other))
    approved = store.decide(waiting.id, approve=True, who="ann")
    intent = make_intent(issuer, other, unique_subject=True)
    assert rejected(lambda: store.proceed(approved, intent)) is Reason.name_taken
    revoke(store, first)
    assert store.proceed(approved, intent)[1]


def test_S48_a_key_that_has_a_live_certificate_is_certified(store, issuer, device, first, clock):
    def certified(besides=0, key=device.key_digest):
        return store.is_key_certified(key, clock.moment, besides=besides)

    assert certified()
    assert not certified(besides=first.id)
    assert not certified(key=b"\0" * 32)
    second = certificate_row(store, enrol(store, issuer, device, lineage=after(first), transaction_id="2"))
    assert certified(besides=first.id)
    assert not certified(besides=second.id)  # nor does what the predecessor itself renewed count
    other = certificate_row(store, enrol(store, issuer, device, profile="phones"))
    assert certified(besides=second.id)
    revoke(store, other, RevocationReason.certificateHold)
    assert certified(besides=second.id)
    revoke(store, other)
    assert not certified(besides=second.id)
    clock.moment = END
    assert not certified()


def test_S48_a_key_of_a_certificate_to_come_is_certified(store, issuer, device, clock):
    claimed, _ = store.claim(make_intent(issuer, device))
    assert store.is_key_certified(device.key_digest, clock.moment, besides=0)
    store.abandon(claimed, Reason.interrupted, "", ())
    assert not store.is_key_certified(device.key_digest, clock.moment, besides=0)
