"""Services outside hear how the requests of known devices end: the places are held with the claim (P5, C9)."""

import secrets
from datetime import timedelta

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from scepd.challenge.enclosure import Enclosures
from scepd.challenge.told import INTUNE, webhook_name
from scepd.enroll import backlog
from scepd.enroll.answer import Answerer
from scepd.profile.access import IntuneRule, WebhookRule
from scepd.profile.model import ApprovalRule
from scepd.records import Identity, Secret
from scepd.refusal import Reason, Reject, Unavailable
from scepd.store import outbox
from tests import make
from tests.enroll.test_answer import NoLane, OneLane
from tests.enroll.test_remote import Asked, Site
from tests.world import ORIGIN, STATIC, STORE_KEY, default_profile, make_world

NOTIFY = WebhookRule(url="https://mdm.example.net/told", secret=Secret("s" * 32))
INTUNES = IntuneRule(tenant="t", client_id="c", secret=Secret("x"), timeout=timedelta(seconds=1))
ENCLOSURES = Enclosures(STORE_KEY, secrets.token_bytes)


@pytest.fixture
def site(keys, tmp_path):
    def make_site(known=Identity("intune", "laptop 7"), **fields):  # noqa: B008 - a frozen value
        made = Site(keys, tmp_path, Asked(known), notify=(NOTIFY,), **fields)
        made.world.context.enclosures = ENCLOSURES
        return made

    return make_site


def due(site):
    return {(posting.kind, posting.notice.outcome): posting for posting in site.world.store.due_notices(100)}


def test_P5_a_webhook_hears_of_a_certificate(site):
    site = site(place=2)
    site.send(site.device.request(challenge=STATIC))
    [((kind, outcome), posting)] = due(site).items()
    assert (kind, outcome) == (webhook_name(NOTIFY), "issued")
    assert posting.notice.serial == site.world.issued()[0].serial
    assert posting.enclosure is None


def test_C9_intune_hears_of_its_own_and_gets_the_request_back(site):
    site = site(rule=INTUNES)
    body = make.csr(challenge="theirs")
    site.send(site.device.request(csr_der=body))
    told = due(site)
    assert set(told) == {(INTUNE, "issued"), (webhook_name(NOTIFY), "issued")}
    assert ENCLOSURES.open("default", told[INTUNE, "issued"].enclosure) == body


def test_P5_a_request_that_waits_is_told_of_twice(site):
    site = site(approval=ApprovalRule(), rule=INTUNES)
    site.send(site.device.request(challenge="theirs"))
    assert {outcome for _kind, outcome in due(site)} == {"pending"}
    [transaction] = site.world.store.transactions()
    site.world.store.decide(transaction.id, approve=True, who="test")
    site.send(site.device.poll())
    assert (INTUNE, "issued") in due(site)


def test_P5_nobody_is_told_of_a_stranger(site):
    site = site(known=None, rule=INTUNES)
    assert site.send(site.device.request(challenge="wrong")).reason == "challenge_invalid"
    assert due(site) == {}


def test_C9_without_a_key_to_seal_with_nothing_is_enclosed(site):
    site = site(rule=INTUNES)
    site.world.context.enclosures = None
    site.send(site.device.request(challenge="theirs"))
    assert due(site)[INTUNE, "issued"].enclosure is None


def flush(site):
    written = []
    ensureDeferred(site.answerer.flush()).addBoth(written.append)
    return written[0]


def refused(site, **request):
    """Send a request that somebody known may not have; return the reason."""
    return site.send(site.device.request(challenge="theirs", extensions=[make.dns_names("other.example")], **request)).reason


def test_P5_C9_a_refusal_of_somebody_known_is_told_after_its_answer(site):
    site = site(rule=INTUNES)
    body = make.csr(challenge="theirs", extensions=[make.dns_names("other.example")])
    assert site.send(site.device.request(csr_der=body)).reason == "name_refused"
    assert due(site) == {}  # no packet costs a write
    assert flush(site) == 1
    told = due(site)
    assert set(told) == {(INTUNE, "rejected"), (webhook_name(NOTIFY), "rejected")}
    notice = told[INTUNE, "rejected"].notice
    assert (notice.reason, notice.identity_method, notice.identity_name) == ("name_refused", "intune", "laptop 7")
    assert ENCLOSURES.open("default", told[INTUNE, "rejected"].enclosure) == body
    assert told[webhook_name(NOTIFY), "rejected"].enclosure is None


def test_P5_C10_a_refusal_by_the_compliance_hook_is_told(site):
    site = site(compliance=Asked(Reject(Reason.compliance_denied, "no")))
    assert site.send(site.device.request(challenge="theirs")).reason == "compliance_denied"
    flush(site)
    assert [posting.notice.reason for posting in due(site).values()] == ["compliance_denied"]


def test_P5_nobody_is_told_of_a_strangers_refusal(site):
    site = site(known=None)
    assert refused(site) == "challenge_invalid"
    assert flush(site) == 1
    assert due(site) == {}


def test_P5_a_profile_that_tells_nobody_keeps_no_notice(keys, tmp_path):
    site = Site(keys, tmp_path, Asked(Identity("webhook", "laptop 7")))
    assert refused(site) == "name_refused"
    flush(site)
    assert due(site) == {}


def test_P5_what_was_given_up_with_its_transaction_is_told_once(site, monkeypatch):
    site = site()

    def give_up(*_):
        raise Reject(Reason.interrupted, "given up meanwhile")

    monkeypatch.setattr(site.world.store, "record", give_up)
    assert site.send(site.device.request(challenge="theirs")).reason == "interrupted"
    flush(site)
    assert due(site) == {}  # the row's own notice goes with its end


def test_P5_C108_the_refusal_of_a_bare_request_is_told(keys, tmp_path):
    world = make_world(keys, tmp_path, profiles=[default_profile(notify=(NOTIFY,), insecurely_accept_raw_csr=True)])
    answerer, results = Answerer(OneLane(world.context), Clock()), []
    body = make.csr(challenge=STATIC, extensions=[make.dns_names("other.example")])
    ensureDeferred(answerer.answer_raw(world.profiles["default"], body, ORIGIN)).addCallback(results.append)
    assert results[0].reason == "name_refused"
    ensureDeferred(answerer.flush())
    [posting] = world.store.due_notices(10)
    assert (posting.notice.reason, posting.notice.identity_method) == ("name_refused", "static")


def test_S41_whoever_repeats_a_refused_request_is_told_of_once_an_hour(site):
    site = site()
    for _ in range(3):
        assert refused(site, transaction_id="same") == "name_refused"
        flush(site)
    assert len(site.world.store.due_notices(100)) == 1
    site.clock.advance(3601)
    assert refused(site, transaction_id="same") == "name_refused"
    flush(site)
    assert len(site.world.store.due_notices(100)) == 1  # another worker may have told of it meanwhile: the store knows
    site.world.clock.time += timedelta(seconds=3601)
    site.clock.advance(3601)
    assert refused(site, transaction_id="same") == "name_refused"
    flush(site)
    assert len(site.world.store.due_notices(100)) == 2


def test_S41_another_worker_that_refuses_the_same_request_tells_nobody(site):
    site = site()
    other = Answerer(OneLane(site.world.context), site.clock, remotes=site.answerer._remotes)
    body = site.device.request(challenge="theirs", extensions=[make.dns_names("other.example")], transaction_id="same")
    for answerer in (site.answerer, other):
        results = []
        ensureDeferred(answerer.answer(site.world.profiles["default"], body, ORIGIN)).addCallback(results.append)
        assert results[0].reason == "name_refused"
        ensureDeferred(answerer.flush())
    [posting] = site.world.store.due_notices(100)
    assert posting.notice.transaction_id == "same"


@pytest.fixture
def log():
    observer = EventLoggingObserver()
    globalLogPublisher.addObserver(observer)
    yield observer
    globalLogPublisher.removeObserver(observer)


def test_S41_notices_of_refusals_stay_within_bounds(site, monkeypatch, log):
    monkeypatch.setattr(backlog, "_MOST_NOTICES", 3)
    monkeypatch.setattr(backlog, "_REMEMBERED", 2)
    monkeypatch.setattr(outbox, "_MOST_LOOSE", 4)
    site = site()
    for batch in range(2):
        for number in range(5):
            assert refused(site, transaction_id=f"t{batch}{number}") == "name_refused"
        flush(site)
    told = {posting.notice.transaction_id for posting in site.world.store.due_notices(100)}
    assert told == {"t00", "t01", "t02", "t10"}
    assert [event["count"] for event in log if event.get("event") == "notices_dropped"] == [2, 4]


def test_P5_notices_wait_while_the_store_is_busy(site):
    site = site()
    assert refused(site) == "name_refused"
    lanes, site.answerer._lanes = site.answerer._lanes, NoLane()
    flush(site).trap(Unavailable)
    site.answerer._lanes = lanes
    assert flush(site) == 0  # the trail was lost, as the log says; the notice was not
    assert len(due(site)) == 1


def test_S41_notices_that_were_put_back_leave_no_room_below_none(site, monkeypatch, log):
    monkeypatch.setattr(backlog, "_MOST_NOTICES", 2)
    site = site(rule=INTUNES)  # two notices for each refusal
    for batch in range(2):
        assert refused(site, transaction_id=f"t{batch}") == "name_refused"
        if batch == 0:
            held = site.answerer._backlog.take()
    site.answerer._backlog.put_back(held[1])
    assert refused(site, transaction_id="beyond") == "name_refused"
    flush(site)
    told = {posting.notice.transaction_id for posting in site.world.store.due_notices(100)}
    assert told == {"t0", "t1"}
    assert [event["count"] for event in log if event.get("event") == "notices_dropped"] == [2]


def test_S41_one_notice_beyond_the_bound_is_room_for_none(site, monkeypatch, log):
    site = site(rule=INTUNES)
    for number in range(2):
        monkeypatch.setattr(backlog, "_MOST_NOTICES", 4 - number)  # 2 held of 4; then 2 more of 3: one is kept
        assert refused(site, transaction_id=f"t{number}") == "name_refused"
    monkeypatch.setattr(backlog, "_MOST_NOTICES", 2)  # as after `put_back`: one more than may be
    assert refused(site, transaction_id="beyond") == "name_refused"
    flush(site)
    assert len(site.world.store.due_notices(100)) == 3
    assert [event["count"] for event in log if event.get("event") == "notices_dropped"] == [3]
