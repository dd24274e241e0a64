"""What every store must do about revocation, the CRLs that publish it, leases and news."""

from datetime import timedelta

import attrs
import pytest

from scepd.records import CertificateState, Revocation, RevocationReason, RevokedEntry, TransactionState
from scepd.refusal import OperatorError, Reason
from tests.store.building import (
    BEGIN,
    Device,
    add_challenge,
    after,
    certificate_row,
    enrol,
    finish,
    make_crl,
    make_intent,
    make_petition,
)

HOLD = Revocation(BEGIN, RevocationReason.certificateHold)
COMPROMISED = Revocation(
    BEGIN + timedelta(minutes=1), RevocationReason.keyCompromise, invalid_since=BEGIN - timedelta(days=2)
)
LONG_AGO = BEGIN - timedelta(days=10_000)


@pytest.fixture
def issued(store, issuer, device):
    return enrol(store, issuer, device)


def listed(store, ends_after=LONG_AGO, issuer="main"):
    return list(store.revoked_entries(issuer, ends_after=ends_after))


def test_a_certificate_is_revoked_with_reason_and_times(store, issued):
    revoked = store.revoke("main", issued.serial, COMPROMISED, who="user ann")
    assert (revoked.state, revoked.revocation) == (CertificateState.REVOKED, COMPROMISED)
    assert revoked == store.certificate("main", issued.serial)
    assert revoked.der == issued.certificate_der
    assert store.transaction(issued.id).certificate_state is CertificateState.REVOKED
    assert listed(store) == [RevokedEntry(issued.serial, COMPROMISED)]
    [row] = store.audit(target=f"certificate main {issued.serial:x}")
    assert (row.action, row.actor) == ("certificate_revoked", "user ann")


def test_what_is_not_known_is_not_revoked(store, issued):
    assert store.revoke("main", 4711, COMPROMISED, who="ann") is None
    assert store.revoke("other", issued.serial, COMPROMISED, who="ann") is None
    assert store.release("main", 4711, who="ann") is None
    assert listed(store) == []


def test_C296_a_revocation_is_permanent(store, issued):
    store.revoke("main", issued.serial, COMPROMISED, who="ann")
    for again in (COMPROMISED, HOLD, attrs.evolve(COMPROMISED, reason=RevocationReason.superseded)):
        with pytest.raises(OperatorError, match="was revoked"):
            store.revoke("main", issued.serial, again, who="bob")
    with pytest.raises(OperatorError, match="not on hold"):
        store.release("main", issued.serial, who="bob")
    assert store.certificate("main", issued.serial).revocation == COMPROMISED


def test_C296_a_hold_is_lifted(store, issued):
    before = store.certificate("main", issued.serial)
    store.revoke("main", issued.serial, HOLD, who="ann")
    assert listed(store) == [RevokedEntry(issued.serial, HOLD)]
    with pytest.raises(OperatorError, match="on hold already"):
        store.revoke("main", issued.serial, HOLD, who="ann")
    assert store.release("main", issued.serial, who="bob") == before
    assert listed(store) == []
    actions = [row.action for row in store.audit(target=f"certificate main {issued.serial:x}")]
    assert sorted(actions) == ["certificate_released", "certificate_revoked"]
    with pytest.raises(OperatorError, match="not on hold"):
        store.release("main", issued.serial, who="bob")


def test_C296_a_hold_becomes_permanent(store, issued):
    store.revoke("main", issued.serial, HOLD, who="ann")
    assert store.revoke("main", issued.serial, COMPROMISED, who="ann").revocation == COMPROMISED
    assert listed(store) == [RevokedEntry(issued.serial, COMPROMISED)]


def test_a_serial_can_be_revoked_before_it_is_signed(store, issuer, device):
    claimed, _ = store.claim(make_intent(issuer, device))
    store.revoke("main", claimed.serial, COMPROMISED, who="ann")
    assert listed(store) == [RevokedEntry(claimed.serial, COMPROMISED)]
    issued = finish(store, issuer, device, claimed)
    assert (issued.state, issued.certificate_state) == (TransactionState.ISSUED, CertificateState.REVOKED)
    kept = store.certificate("main", claimed.serial)
    assert (kept.revocation, kept.der) == (COMPROMISED, issued.certificate_der)


def test_a_released_serial_is_what_it_would_have_been(store, issuer, device):
    reserved, _ = store.claim(make_intent(issuer, device))
    failed, _ = store.claim(make_intent(issuer, Device.make("CN=r2")))
    store.abandon(failed, Reason.interrupted, "", ())
    for transaction, state in ((reserved, CertificateState.RESERVED), (failed, CertificateState.FAILED)):
        store.revoke("main", transaction.serial, HOLD, who="ann")
        assert store.release("main", transaction.serial, who="ann").state is state
    store.revoke("main", reserved.serial, HOLD, who="ann")
    finish(store, issuer, device, reserved)
    assert store.release("main", reserved.serial, who="ann").state is CertificateState.ISSUED


def test_a_certificate_signed_too_late_can_be_revoked(store, issuer, device):
    claimed, _ = store.claim(make_intent(issuer, device))
    store.abandon(claimed, Reason.interrupted, "", ())
    finish(store, issuer, device, claimed)
    store.revoke("main", claimed.serial, COMPROMISED, who="ann")
    assert listed(store) == [RevokedEntry(claimed.serial, COMPROMISED)]


def test_C293_S107_entries_stay_until_the_certificates_end_was_on_a_crl(store, issuer, issued):
    store.revoke("main", issued.serial, COMPROMISED, who="ann")
    end = issued.not_after
    assert len(listed(store, ends_after=end - timedelta(microseconds=1))) == 1
    assert listed(store, ends_after=end) == []
    assert listed(store, issuer="other") == []


def test_many_entries_come_in_the_order_of_issue_through_several_pages(store, issuer, monkeypatch):
    from scepd.store import revocation

    monkeypatch.setattr(revocation, "_ENTRIES", revocation._ENTRIES.limit(7))
    serials = []
    for number in range(30):
        intent = make_intent(issuer, Device.make(), transaction_id=f"t{number}")
        transaction, _ = store.claim(intent)
        store.record(transaction, intent.draft_der, ())
        if number % 5 != 3:
            store.revoke("main", intent.serial, COMPROMISED, who="ann")
            serials.append(intent.serial)
    assert [entry.serial for entry in listed(store)] == serials


def test_C185_what_was_renewed_long_ago_is_revoked(store, issuer, device, clock):
    old = certificate_row(store, enrol(store, issuer, device))
    clock.moment += timedelta(days=1)
    new = certificate_row(store, enrol(store, issuer, device, transaction_id="2", lineage=after(old)))
    assert store.revoke_superseded("phones", clock.moment, "duty") == 0
    assert store.revoke_superseded("routers", clock.moment - timedelta(seconds=1), "duty") == 0
    assert store.revoke_superseded("routers", clock.moment, "duty") == 1
    assert store.revoke_superseded("routers", clock.moment, "duty") == 0
    assert store.certificate("main", old.serial).revocation == Revocation(clock.moment, RevocationReason.superseded)
    assert store.certificate("main", new.serial) == new
    assert store.successor(old.id) == new


def test_C185_a_predecessor_stays_while_its_successor_is_not_good(store, issuer, device, clock):
    for number, revoke in ((1, True), (2, False)):
        one = Device.make(f"CN=r{number}")
        old = certificate_row(store, enrol(store, issuer, one))
        renewal, _ = store.claim(make_intent(issuer, one, transaction_id="2", lineage=after(old)))
        if revoke:
            finish(store, issuer, one, renewal)
            store.revoke("main", renewal.serial, HOLD, who="ann")
    clock.moment += timedelta(days=1)
    assert store.revoke_superseded("routers", clock.moment, "duty") == 0


def test_C185_many_are_revoked_a_part_at_a_time(store, issuer, device):
    for number in range(130):
        intent = make_intent(issuer, device, transaction_id=f"a{number}")
        store.record(store.claim(intent)[0], intent.draft_der, ())
        old = store.certificate("main", intent.serial)
        renewal = make_intent(issuer, device, transaction_id=f"b{number}", lineage=after(old))
        store.record(store.claim(renewal)[0], renewal.draft_der, ())
    assert store.revoke_superseded("routers", BEGIN, "duty") == 130


def test_C290_S106_crl_numbers_rise(store, issuer):
    assert store.latest_crl("main") is None
    assert store.latest_crl_number("main") == 0
    first = make_crl(issuer, 1)
    assert store.add_crl(first, who="alpha/0")
    assert store.latest_crl("main") == first
    for number in (0, 1):
        assert not store.add_crl(make_crl(issuer, number), who="alpha/0")
    second = make_crl(issuer, 2, BEGIN + timedelta(hours=1), serials=[7, 8])
    assert store.add_crl(second, who="alpha/0")
    assert (store.latest_crl("main"), store.latest_crl_number("main")) == (second, 2)
    assert store.latest_crl("other") is None
    after_a_restore = make_crl(issuer, 1000, BEGIN + timedelta(hours=2))
    assert store.add_crl(after_a_restore, who="alpha/0")
    assert not store.add_crl(make_crl(issuer, 3), who="alpha/0")
    assert store.latest_crl("main") == after_a_restore
    assert [row.action for row in store.audit(target="crl main 2")] == ["crl_published"]


def test_the_last_few_crls_are_kept(store, issuer, table_rows):
    for number in range(1, 7):
        assert store.add_crl(make_crl(issuer, number), who="alpha/0")
    assert table_rows("SELECT number FROM crl ORDER BY number") == [(4,), (5,), (6,)]


def test_a_lease_has_one_holder_until_it_ends(opening, clock):
    one, two = opening(owner="alpha/0"), opening(owner="alpha/1")
    until = BEGIN + timedelta(seconds=30)
    assert one.take_lease("crl main", "alpha/0", until)
    assert not two.take_lease("crl main", "alpha/1", until)
    assert two.take_lease("crl other", "alpha/1", until)
    assert one.take_lease("crl main", "alpha/0", until + timedelta(seconds=30))
    clock.moment = until
    assert not two.take_lease("crl main", "alpha/1", until + timedelta(seconds=90))
    clock.moment = until + timedelta(seconds=30)
    assert two.take_lease("crl main", "alpha/1", until + timedelta(seconds=90))
    assert not one.take_lease("crl main", "alpha/0", until + timedelta(seconds=90))
    one.drop_lease("crl main", "alpha/0")
    assert not one.take_lease("crl main", "alpha/0", until + timedelta(seconds=90))
    two.drop_lease("crl main", "alpha/1")
    assert one.take_lease("crl main", "alpha/0", until + timedelta(seconds=90))


def test_news_have_a_number_that_every_process_sees(opening, issuer, device):
    one, two = opening(owner="alpha/0"), opening(owner="alpha/1")
    assert one.generation() == 0
    issued = enrol(one, issuer, device)
    assert two.generation() == 0
    one.revoke("main", issued.serial, HOLD, who="ann")
    assert two.generation() == 1
    one.release("main", issued.serial, who="ann")
    waiting, _ = one.petition(make_petition(issuer, Device.make("CN=r2")))
    one.decide(waiting.id, approve=True, who="ann")
    one.add_crl(make_crl(issuer, 1), who="alpha/0")
    assert two.generation() == 4
    one.add_crl(make_crl(issuer, 1), who="alpha/0")
    one.decide(waiting.id, approve=True, who="ann")
    one.revoke("main", 4711, HOLD, who="ann")
    assert two.generation() == 4


def test_C253_challenges_with_a_sealed_text_wait_newest_first(store, issuer, device, clock):
    sealed = [add_challenge(store, sealed=bytes([number])) for number in range(4)]
    add_challenge(store)
    add_challenge(store, sealed=b"x", profile="phones")
    add_challenge(store, sealed=b"x", expires=BEGIN + timedelta(seconds=1))
    store.cancel_challenge(sealed[1].id, cancelled_by="ann")
    store.claim(make_intent(issuer, device, challenge=sealed[2].id))
    clock.moment += timedelta(seconds=1)
    assert store.waiting_challenges("routers", clock.moment, 8) == [sealed[3], sealed[0]]
    assert store.waiting_challenges("routers", clock.moment, 1) == [sealed[3]]
    assert store.find_challenge("routers", sealed[3].digest).sealed == b"\3"


def test_S111_a_lease_that_was_taken_while_the_clock_was_wrong_binds_nobody(opening, clock):
    one, other = opening(), opening(owner="n1/1")
    right = clock.now()
    clock.moment = right + timedelta(days=3650)
    assert one.take_lease("crl:main", "one", clock.now() + timedelta(seconds=20))
    clock.moment = right
    assert other.take_lease("crl:main", "other", right + timedelta(seconds=20))
    assert not one.take_lease("crl:main", "one", right + timedelta(seconds=20))
