"""The outbox: what is to be told is durable with what happened, and kept until it was told or given up."""

from datetime import timedelta

import attrs
import pytest

from scepd.records import Notice, Posting, TransactionState
from scepd.refusal import Reason
from scepd.store import outbox
from scepd.store.outbox import Told
from tests.store.building import BEGIN, Device, certificate_of, make_intent, make_petition

BOTH = ("intune", "webhook-0")


@pytest.fixture
def device():
    return Device.make()


def due(store):
    return [(posting.kind, posting.notice.outcome) for posting in store.due_notices(100)]


def test_P5_nothing_is_told_before_the_certificate_is_on_record(store, issuer, device):
    intent = make_intent(issuer, device, notify=BOTH, enclosure=b"sealed", request_id="r1")
    claimed, _ = store.claim(intent)
    assert due(store) == []
    certificate_der = certificate_of(issuer, device, intent)
    store.record(claimed, certificate_der, ())
    first, second = store.due_notices(100)
    assert (first.kind, second.kind, first.enclosure, first.attempts) == (*BOTH, b"sealed", 0)
    assert first.notice == Notice(
        profile="routers",
        transaction_id=intent.key.transaction_id,
        request_id="r1",
        outcome="issued",
        subject=intent.subject,
        serial=intent.serial,
        not_after=intent.not_after,
        certificate_der=certificate_der,
        identity_method="static",
        identity_name="r1.example.net",
        number=1,
    )
    assert second.notice == attrs.evolve(first.notice, number=2)


def test_P5_a_lane_that_takes_over_after_a_crash_tells_too(store, issuer, device):
    intent = make_intent(issuer, device, notify=BOTH)
    claimed, _ = store.claim(intent)
    found = store.transaction(claimed.id)  # as recovery reads it: it knows nothing of notifiers
    store.record(found, certificate_of(issuer, device, intent), ())
    store.record(found, certificate_of(issuer, device, intent), ())  # who was second tells nothing
    assert due(store) == [("intune", "issued"), ("webhook-0", "issued")]


def test_P5_without_notifiers_nothing_is_kept(store, issuer, device):
    intent = make_intent(issuer, device)
    claimed, _ = store.claim(intent)
    store.record(claimed, certificate_of(issuer, device, intent), ())
    assert due(store) == []


def test_P5_a_request_that_is_given_up_is_told_with_its_reason(store, issuer, device):
    claimed, _ = store.claim(make_intent(issuer, device, notify=("intune",)))
    store.abandon(claimed, Reason.interrupted, "detail", ())
    (posting,) = store.due_notices(100)
    assert (posting.notice.outcome, posting.notice.reason, posting.notice.serial) == ("rejected", "interrupted", None)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("reject", ("rejected", "rejected_by_approver")),
        ("expire", ("rejected", "request_expired")),
        ("issue", ("issued", "")),
    ],
)
def test_P5_a_request_that_waits_is_told_and_so_is_how_it_ends(store, issuer, device, clock, end, told):
    petition = make_petition(issuer, device, notify=("webhook-0",))
    waiting, _ = store.petition(petition)
    (pending,) = store.due_notices(100)
    assert pending.notice.outcome == "pending"
    store.settle_notices([Told(pending.notice.number)])
    if end == "expire":
        clock.moment = BEGIN + timedelta(days=8)
        assert store.expire_pending() == 1
    else:
        store.decide(waiting.id, approve=end == "issue", who="ann")
    if end == "issue":
        assert due(store) == []
        intent = make_intent(issuer, device)
        issuing, _ = store.proceed(store.transaction(waiting.id), intent)
        done = store.record(issuing, certificate_of(issuer, device, intent), ())
        assert done.state is TransactionState.ISSUED
    (posting,) = store.due_notices(100)
    assert (posting.notice.outcome, posting.notice.reason) == told


def test_P5_notices_without_a_transaction(store):
    notice = Notice("routers", "4B2F", "r1", "rejected", reason="name_refused")
    store.add_notices([])
    store.add_notices([Posting("intune", notice, b"sealed"), Posting("webhook-0", notice)])
    assert due(store) == [("intune", "rejected"), ("webhook-0", "rejected")]
    assert store.due_notices(1)[0].notice == attrs.evolve(notice, number=1)


def test_P5_told_put_off_and_given_up(store, clock):
    notice = Notice("routers", "4B2F", "r1", "rejected")
    store.add_notices([Posting("a", notice), Posting("b", notice), Posting("c", notice)])
    later = BEGIN + timedelta(seconds=10)
    store.settle_notices([])
    store.settle_notices([Told(1), Told(2, "HTTP 500", later), Told(3, "x" * 5000)])
    assert due(store) == []
    clock.moment = later
    (posting,) = store.due_notices(100)
    assert (posting.kind, posting.attempts, posting.notice.number) == ("b", 1, 2)
    assert [posting.kind for posting in store.given_up_notices()] == ["c"]
    assert store.sweep_notices() == 0
    clock.moment = BEGIN + timedelta(days=31)
    assert store.sweep_notices() == 1
    assert store.given_up_notices() == []
    assert due(store) == [("b", "rejected")]  # never forgotten while it can be told


def test_S41_what_is_told_once_is_told_once_by_whichever_writer(opening, store, clock):
    other = opening(owner="alpha/1")
    notice = Notice("routers", "4B2F", "r1", "rejected", reason="name_refused")
    same = [Posting("intune", notice, once=b"1" * 32), Posting("webhook-0", notice, once=b"1" * 32)]
    for writer in (store, other, store):
        assert writer.add_notices(same) == 0
    assert due(store) == [("intune", "rejected"), ("webhook-0", "rejected")]
    store.settle_notices([Told(1), Told(2)])  # what was delivered is known to have been told too
    clock.moment = BEGIN + timedelta(minutes=59)
    other.add_notices([*same, Posting("intune", notice, once=b"2" * 32)])
    assert due(store) == [("intune", "rejected")]
    clock.moment = BEGIN + timedelta(hours=1)
    other.add_notices(same)
    store.add_notices(same)
    assert len(due(store)) == 3


def test_S41_what_was_told_is_remembered_within_bounds(opening, store, table_rows, monkeypatch):
    monkeypatch.setattr(outbox, "_TOLD_KEPT", 2)
    monkeypatch.setattr(outbox, "_MOST_LOOSE", 4)
    notice = Notice("routers", "4B2F", "r1", "rejected")
    for number in range(4):
        assert store.add_notices([Posting("a", notice, once=bytes([number]) * 32)]) == 0
    assert table_rows("SELECT hex(substr(digest, 1, 1)) FROM told ORDER BY id") == [("02",), ("03",)]
    assert store.add_notices([Posting("a", notice, once=bytes([9]) * 32)]) == 1
    # Nobody hears of what had no room: so it is not known to have been told.
    assert table_rows("SELECT count(*) FROM told") == [(2,)]
