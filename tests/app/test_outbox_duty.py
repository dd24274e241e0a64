"""Telling outside services: once where all is well, ever more seldom where it is not, for ever nowhere."""

import itertools
from datetime import timedelta

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from scepd.app.leases import Lease
from scepd.app.outbox_duty import OutboxDuty
from scepd.challenge.enclosure import Enclosures
from scepd.records import Notice, Posting
from scepd.refusal import OperatorError, Unavailable
from tests.store.building import BEGIN, Clock, open_repository, prepare

from .town import Inline, attend

STORE_KEY = bytes(range(32))
NOTICE = Notice("routers", "4B2F", "r1", "rejected", reason="name_refused")


@attrs.define
class Service:
    """A notifier whose answer a test holds in its hand."""

    trouble: Exception | None = None
    waiting: Deferred | None = None
    told: list = attrs.field(factory=list)

    async def notify(self, notice):
        self.told.append(notice)
        if self.waiting is not None:
            await self.waiting
        if self.trouble is not None:
            raise self.trouble


class Post:
    def __init__(self, directory):
        prepare(directory)
        self.clock, self.seconds = Clock(), 0.0
        self.store = open_repository(directory, self.clock)
        self.service, self.other = Service(), Service()
        self.enclosures = Enclosures(STORE_KEY, bytes)
        self.duty = self.make_duty(self.store)

    def make_duty(self, store, holder="alpha/0.duties"):
        return OutboxDuty(
            lease=Lease("outbox", holder, self.clock),
            clerk=Inline(store),
            clock=self.clock,
            notifiers={("routers", "webhook-0"): self.service, ("routers", "intune"): self.other},
            enclosures=self.enclosures,
            monotonic=lambda: self.seconds,
        )

    def add(self, kind="webhook-0", notice=NOTICE, enclosure=None):
        self.store.add_notices([Posting(kind, notice, enclosure)])

    def attend(self, duty=None):
        attend(duty or self.duty)


@pytest.fixture
def post(tmp_path):
    post = Post(tmp_path)
    yield post
    post.store.close()


@pytest.fixture
def log():
    events = EventLoggingObserver()
    globalLogPublisher.addObserver(events)
    yield events
    globalLogPublisher.removeObserver(events)


def test_P5_what_is_due_is_told_once(post):
    post.add()
    for _ in range(3):
        post.attend()
    assert post.service.told == [attrs.evolve(NOTICE, number=1)]


def test_P5_a_service_that_fails_hears_ever_more_seldom_and_then_no_more(post, log):
    post.service.trouble = Unavailable("webhook: HTTP 500", 1)
    post.add()
    moments = []
    for _ in range(60_000):
        before = len(post.service.told)
        post.attend()
        if len(post.service.told) > before:
            moments.append(post.clock.moment)
        if post.store.given_up_notices():
            break
        post.clock.moment += timedelta(seconds=10)
    pauses = [round((after - before).total_seconds()) for before, after in itertools.pairwise(moments)]
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, *[3600] * 10]
    put_off = [event for event in log if event.get("event") == "notice_put_off"]
    (given_up,) = [event for event in log if event.get("event") == "notice_given_up"]
    assert len(put_off) == 19
    assert (put_off[0]["cause"], put_off[0]["attempts"]) == ("webhook: HTTP 500", 1)
    assert given_up["hint"]
    assert given_up["cause"] == "webhook: HTTP 500"


def test_P5_a_services_own_wish_is_a_longer_pause(post):
    post.service.trouble = Unavailable("webhook: HTTP 429", 300)
    post.add()
    post.attend()
    post.clock.moment += timedelta(seconds=299)
    post.attend()
    assert len(post.service.told) == 1
    post.clock.moment += timedelta(seconds=1)
    post.attend()
    assert len(post.service.told) == 2


def test_P5_a_slow_service_keeps_no_other_duty_waiting(post):
    post.service.waiting = Deferred()
    post.add()
    post.attend()  # it returned although nobody has answered
    post.attend()
    assert len(post.service.told) == 1  # and began no second round
    post.service.waiting.callback(None)
    post.attend()
    assert post.store.due_notices(10) == []


def test_P5_one_service_that_fails_keeps_no_other_from_hearing(post):
    post.service.trouble = Unavailable("down")
    post.add()
    post.add("intune")
    post.attend()
    assert len(post.other.told) == 1
    assert [posting.kind for posting in post.store.due_notices(10)] == []
    post.clock.moment += timedelta(minutes=1)
    assert [posting.kind for posting in post.store.due_notices(10)] == ["webhook-0"]


def test_P5_only_the_holder_of_the_lease_tells(post, tmp_path):
    post.attend()
    post.add()
    other = open_repository(tmp_path, post.clock, owner="alpha/1")
    post.attend(post.make_duty(other, "alpha/1.duties"))
    other.close()
    assert post.service.told == []
    post.attend()
    assert len(post.service.told) == 1


def test_S33_the_request_is_sealed_in_the_store_and_opened_for_the_service(post, tmp_path):
    sealed = post.enclosures.seal("routers", b"canary request")
    assert b"canary" not in sealed
    post.add(enclosure=sealed)
    post.attend()
    assert post.service.told[0].csr_der == b"canary request"
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"canary" not in files


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(40)])
def test_S33_what_cannot_be_opened_is_given_up(post, log, sealed):
    post.add(enclosure=sealed)
    post.attend()
    assert post.service.told == []
    assert len(post.store.given_up_notices()) == 1


def test_S33_a_request_opens_for_its_own_profile_alone(post):
    sealed = post.enclosures.seal("routers", b"x")
    assert post.enclosures.open("routers", sealed) == b"x"
    assert post.enclosures.open("laptops", sealed) is None


def test_P5_a_service_that_is_configured_no_more_is_given_up(post, log):
    post.add("webhook-9")
    post.attend()
    assert len(post.store.given_up_notices()) == 1


def test_P5_what_the_operator_must_mend_is_given_up_at_once(post, log):
    post.service.trouble = OperatorError("wrong", "right")
    post.add()
    post.attend()
    assert len(post.store.given_up_notices()) == 1


def test_P5_a_fault_of_ours_is_tried_again(post, log):
    post.service.trouble = KeyError("fault")
    post.add()
    post.attend()
    post.clock.moment = BEGIN + timedelta(seconds=10)
    (posting,) = post.store.due_notices(10)
    assert posting.attempts == 1


def test_P5_a_round_whose_end_cannot_be_written_is_told_again(post, log):
    post.add()
    settle, post.store.settle_notices = post.store.settle_notices, None
    post.attend()
    assert any(event.get("event") == "duty_failed" for event in log)
    post.store.settle_notices = settle
    post.attend()
    assert len(post.service.told) == 2
    assert post.store.due_notices(10) == []
