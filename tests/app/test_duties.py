"""Duties and news over a real store: who does them, when, and what happens when something is in the way."""

import threading
from datetime import timedelta
from types import SimpleNamespace

import attrs
import pytest
from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock as FakeReactor

from scepd.app.clerk import Clerk
from scepd.app.crl_duty import CrlDuty
from scepd.app.duties import Duties, Ended, Housekeeping, Pause
from scepd.app.halt import Halt
from scepd.app.leases import Lease
from scepd.app.marks_duty import MarksDuty
from scepd.app.news import Audience, News
from scepd.app.shard_duty import ShardDuty
from scepd.ca.publish import Publisher
from scepd.ca.shards import OpenShards
from scepd.ca.shelf import CrlShelf
from scepd.hsm.faults import TokenFault
from scepd.profile.model import Profile, RenewalRule
from scepd.profile.switches import Switches
from scepd.records import CertificateState, TransactionState
from scepd.refusal import OperatorError, Unavailable
from scepd.store.published import PublishedCrl, newest_published
from scepd.store.read_only import go_on
from tests.store.building import (
    BEGIN,
    Device,
    add_challenge,
    after,
    enrol,
    make_crl,
    make_petition,
    open_repository,
)
from tests.x509 import material

from .town import Inline, attend, log, town

__all__ = ["Inline", "log", "town"]  # fixtures

DAY = timedelta(days=1)


@attrs.frozen
class Terms:
    every: timedelta = DAY
    valid: timedelta = 7 * DAY


def going():
    """A halt that is off."""
    halt = Halt()
    halt.hear(None)
    return halt


class Worker:
    """What one worker has of the duty of publishing."""

    def __init__(self, town, number):
        self.store = town.open(f"alpha/{number}.duties")
        self.clerk = Inline(self.store)
        self.lane = Inline(SimpleNamespace(issuers={"main": town.issuer}))
        self.shelf = CrlShelf()
        publisher = Publisher(issuer="main", certificate=town.issuer.certificate, terms=Terms(), shelf=self.shelf)
        self.duty = CrlDuty(
            publisher=publisher,
            lease=Lease("crl:main", self.store.owner, town.clock),
            clerk=self.clerk,
            lanes=self.lane,
            marks=town.marks,
            published=PublishedCrl.within(town.directory, "main"),
            clock=town.clock,
            monotonic=town.seconds,
        )

    def attend(self):
        attend(self.duty)

    @property
    def number(self):
        return self.store.latest_crl_number("main")


def test_C290_a_crl_appears_at_once_on_schedule_and_on_revocation(town, log):
    worker, serial = Worker(town, 0), town.enrol().serial
    worker.attend()
    assert worker.number == 1
    for _ in range(3):
        town.wait(1)
        worker.attend()
    assert worker.number == 1
    town.revoke(serial)
    worker.attend()
    assert worker.number == 2
    assert worker.store.latest_crl("main").entries == 1
    town.wait(DAY.total_seconds() - 1)
    worker.attend()
    assert worker.number == 2
    town.wait(1)
    worker.attend()
    assert [event["number"] for event in log("crl_published")] == [1, 2, 3]
    assert worker.lane.calls == 3


def test_S112_what_lists_nothing_new_costs_no_signature_and_is_not_looked_at_twice(town):
    worker, other = Worker(town, 0), town.enrol("r2")
    worker.attend()
    town.store.retire(other)
    town.revoke(other.serial)
    worker.attend()
    assert (worker.number, worker.lane.calls) == (2, 2)
    reads = []
    entries = worker.store.revoked_entries
    worker.store.revoked_entries = lambda *arguments, **options: reads.append(1) or entries(*arguments, **options)
    for _ in range(5):
        town.wait(1)
        worker.attend()
    assert (reads, worker.lane.calls) == ([], 2)


def test_S112_a_storm_of_revocations_makes_crls_for_a_tenth_of_the_time_at_most(town):
    worker = Worker(town, 0)
    serials = [town.enrol(f"r{count}").serial for count in range(10)]
    worker.attend()
    sign = worker.lane.run

    def slow(function):
        town.wait(2)
        return sign(function)

    worker.lane.run = slow
    for serial in serials:
        town.revoke(serial)
        town.wait(1)
        worker.attend()
    assert worker.number == 2
    town.wait(20)
    worker.attend()
    assert worker.number == 3
    assert worker.store.latest_crl("main").entries == 10


def test_C290_what_is_revoked_while_a_crl_is_made_is_in_the_next(town):
    worker = Worker(town, 0)
    one, other = (town.enrol(name).serial for name in ("r1", "r2"))
    town.revoke(one)
    sign = worker.lane.run

    def meanwhile(function):
        worker.lane.run = sign
        town.revoke(other)
        return sign(function)

    worker.lane.run = meanwhile
    worker.attend()
    assert worker.store.latest_crl("main").entries == 1
    town.wait(1)
    worker.attend()
    assert worker.store.latest_crl("main").entries == 2


def test_C290_one_worker_has_the_lease_and_another_follows_when_it_dies(town):
    first, second = Worker(town, 0), Worker(town, 1)
    first.attend()
    serial = town.enrol().serial
    for _ in range(30):  # it renews the lease: the other never gets a turn
        town.wait(1)
        first.attend()
        second.attend()
    town.revoke(serial)
    second.attend()
    assert first.number == 1
    assert second.lane.calls == 0
    for _ in range(21):  # the first says nothing any more
        town.wait(1)
        second.attend()
    assert second.number == 2
    assert second.lane.calls == 1


def test_C290_a_worker_that_leaves_hands_over_at_once(town):
    first, second = Worker(town, 0), Worker(town, 1)
    first.attend()
    town.revoke(town.enrol().serial)
    duties = Duties(FakeReactor(), first.clerk, [first.duty], going())
    duties.start()
    assert first.number == 2
    Deferred.fromCoroutine(duties.stop())
    town.revoke(town.enrol("r2").serial)
    second.attend()
    assert second.number == 3


@pytest.mark.parametrize(
    ("fault", "cause", "hint"),
    [
        (Unavailable("the token is away"), "the token is away", "scepd status"),
        (TokenFault("device", "CKR_DEVICE_ERROR"), "CKR_DEVICE_ERROR", "scepd status"),
        (OperatorError("no such key", "scepd hsm list"), "no such key", "scepd hsm list"),
    ],
)
def test_C295_while_generation_fails_the_old_one_stays_and_the_log_says_why_and_what_next(
    town, log, fault, cause, hint
):
    worker = Worker(town, 0)
    worker.attend()
    old = worker.store.latest_crl("main")
    town.wait(DAY.total_seconds())
    worker.lane.fault = fault
    worker.attend()
    (alarm,) = log("crl_overdue")
    assert (alarm["cause"], alarm["hint"], alarm["log_level"].name) == (cause, hint, "error")
    assert alarm["valid_until"] == old.next_update.isoformat()
    assert worker.shelf.newest(worker.store, "main", town.clock.now()) == old
    for _ in range(60):
        town.wait(1)
        worker.attend()
    assert 4 <= len(log("crl_overdue")) <= 8  # ever more seldom
    town.wait(4 * DAY.total_seconds())
    worker.attend()
    assert log("crl_overdue")[-1]["log_level"].name == "critical"
    worker.lane.fault = None
    town.wait(61)
    worker.attend()
    assert worker.number == 2
    assert worker.shelf.newest(worker.store, "main", town.clock.now()).number == worker.number


def test_C295_the_alarm_of_an_issuer_without_any_crl_is_critical(town, log):
    worker = Worker(town, 0)
    worker.lane.fault = Unavailable("the token is away")
    worker.attend()
    (alarm,) = log("crl_overdue")
    assert (alarm["log_level"].name, alarm["valid_until"]) == ("critical", None)


def test_S110_a_wrong_signature_is_an_alarm_and_nothing_is_published(town, log):
    worker = Worker(town, 0)
    worker.lane.own = SimpleNamespace(issuers={"main": attrs.evolve(town.issuer, key=material.ec_key("other"))})
    worker.attend()
    assert worker.number == 0
    (alarm,) = log("crl_overdue")
    assert "does not verify" in alarm["cause"]
    assert alarm["hint"] == "scepd hsm probe"


def test_C290_S105_after_a_restore_numbers_go_on_above_the_mark(town):
    worker = Worker(town, 0)
    worker.attend()
    assert town.marks.last_crl("main") == 1
    town.marks.reserve_crl("main", 41)
    restored = Worker(town, 0)
    restored.attend()
    assert restored.number == 42
    crl = x509.load_der_x509_crl(restored.store.latest_crl("main").der)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 42
    assert town.marks.last_crl("main") == 42
    assert PublishedCrl.within(town.directory, "main").read() == attrs.evolve(
        restored.store.latest_crl("main"), this_update=crl.last_update_utc, next_update=crl.next_update_utc
    )


def test_marks_that_cannot_be_read_put_the_crl_off(town, log):
    town.marks.path.write_text("seven")
    worker = Worker(town, 0)
    worker.attend()
    assert worker.number == 0
    assert "high-water.json" in log("crl_overdue")[0]["cause"]


def housekeeping(town, clerk, *profiles):
    lease = Lease("housekeeping", "alpha/0.duties", town.clock)
    return Housekeeping(SimpleNamespace(profiles=profiles), lease, clerk, town.clock, town.seconds)


def test_C185_housekeeping_expires_requests_and_revokes_what_was_renewed(town, log):
    device = Device.make("CN=r1")
    old = enrol(town.store, town.ca, device)
    before = town.store.certificate("main", old.serial)
    enrol(town.store, town.ca, device, lineage=after(before), transaction_id="renewal")
    waiting, _ = town.store.petition(make_petition(town.ca, Device.make("CN=r2"), valid=timedelta(hours=1)))
    clerk = Inline(town.store)
    renewing = Profile(name="routers", renewal=RenewalRule(revoke_previous=timedelta(days=7)))
    duty = housekeeping(town, clerk, renewing, Profile(name="p", renewal=None), Profile(name="q"))

    def attend():
        Deferred.fromCoroutine(duty.attend())
        return town.store.transaction(waiting.id).state, town.store.certificate("main", old.serial).state

    assert attend() == (TransactionState.PENDING, CertificateState.ISSUED)
    town.wait(3601)
    assert attend() == (TransactionState.EXPIRED, CertificateState.ISSUED)
    calls = clerk.calls
    town.wait(30)
    attend()
    assert clerk.calls == calls  # once a minute
    town.wait(7 * DAY.total_seconds())
    assert attend() == (TransactionState.EXPIRED, CertificateState.REVOKED)
    add_challenge(town.store, sealed=b"text", expires=town.clock.now() - DAY)
    town.wait(60)
    attend()
    events = [(event["expired"], event["revoked"], event["forgotten"]) for event in log("housekeeping")]
    assert events == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_housekeeping_is_the_lease_holders_alone(town):
    town.store.take_lease("housekeeping", "beta/0.duties", BEGIN + timedelta(minutes=5))
    waiting, _ = town.store.petition(make_petition(town.ca, Device.make("CN=r2"), valid=timedelta(seconds=1)))
    town.wait(60)
    Deferred.fromCoroutine(housekeeping(town, Inline(town.store)).attend())
    assert town.store.transaction(waiting.id).state is TransactionState.PENDING


class Breaking:
    """A duty that raises."""

    def __init__(self, town, *errors):
        self.lease, self.errors, self.calls = Lease("breaking", "alpha/0.duties", town.clock), list(errors), 0

    async def attend(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


def test_a_duty_that_breaks_is_logged_and_ends_neither_itself_nor_the_others(town, log):
    reactor = FakeReactor()
    bad = Breaking(
        town, ValueError("x"), Unavailable("store: locked"), OperatorError("no store", "restore it"), Ended()
    )
    good = Breaking(town)
    duties = Duties(reactor, Inline(town.store), [bad, good], going())
    duties.start()
    reactor.pump([1.0] * 4)
    assert (bad.calls, good.calls) == (5, 4)  # after the end of a pause nothing more is begun
    (failure,) = log("duty_failed")
    assert failure["duty"] == "breaking"
    assert [event["cause"] for event in log("duty_put_off")] == ["store: locked", "no store"]


def test_stopping_without_a_store_is_quiet(town):
    clerk = Inline(town.store)
    duties = Duties(FakeReactor(), clerk, [], going())
    assert Deferred.fromCoroutine(duties.stop()).called
    assert clerk.calls == 0
    duties.start()
    clerk.fault = OperatorError("there is no store", "restore the backup")
    stopped = []
    Deferred.fromCoroutine(duties.stop()).addBoth(stopped.append)
    assert stopped == [None]


def test_a_pause_is_short_and_ends_the_work_with_the_process():
    pause = Pause()
    pause()
    pause.end()
    with pytest.raises(Ended):
        pause()


def test_news_tells_of_each_crl_once_and_of_a_fault_once(town, log):
    reactor, told, worker = FakeReactor(), [], Worker(town, 0)
    clerk, halt = Inline(town.store), Halt()
    news = News(reactor, clerk, CrlShelf(), ["main", "empty"], Audience(lambda crl: told.append(crl.number), Switches(), halt))
    news.start()
    assert told == []
    worker.attend()
    reactor.advance(0.25)
    reactor.advance(0.25)
    assert told == [1]
    clerk.fault = Unavailable("store: locked")
    reactor.pump([0.25] * 4)
    assert len(log("news_lost")) == 1
    clerk.fault = None
    town.revoke(town.enrol().serial)
    worker.attend()
    reactor.advance(0.25)
    assert told == [1, 2]
    news.stop()
    news.stop()
    assert not reactor.getDelayedCalls()


def test_news_tell_which_shard_is_filled_once_it_has_a_crl(town):
    reactor, shards, told = FakeReactor(), OpenShards(), []
    audience = Audience(lambda crl: told.append(crl.issuer), Switches(), Halt(), shards=shards)
    news = News(reactor, Inline(town.store), CrlShelf(), ["main", "empty"], audience)
    news.start()
    assert (shards.of("main"), shards.of("empty")) == (0, 0)
    town.enrol()
    town.store.deal_shards("main", 1, who="alpha/0.duties")
    town.store.add_crl(make_crl(town.ca, 1), who="alpha/0.duties")
    reactor.advance(0.25)
    assert shards.of("main") == 0  # nobody could fetch the CRL of the next one yet
    town.store.add_crl(make_crl(town.ca, 1, name="main.1"), who="alpha/0.duties")
    reactor.advance(0.25)
    assert shards.of("main") == 1
    assert told[-2:] == ["main", "main.1"]
    news.stop()


def test_C294_S106_the_duty_of_an_issuer_publishes_each_shard(town, log):
    worker, url = Worker(town, 0), "http://pki.example.net/crl/main.crl"

    def make(shard):
        publisher = attrs.evolve(worker.duty.publisher, shard=shard, urls=(url,))
        published = PublishedCrl.within(town.directory, publisher.name)
        return attrs.evolve(worker.duty, publisher=publisher, published=published)

    duty = ShardDuty(
        issuer="main", size=2, kept=timedelta(days=8), clock=town.clock, lease=worker.duty.lease, clerk=worker.clerk,
        make=make, monotonic=town.seconds,
    )  # fmt: skip

    town.enrol("r0")
    attend(duty)
    assert (worker.number, town.store.latest_crl_number("main.1")) == (1, 0)
    town.enrol("r1", transaction_id="two")
    attend(duty)
    assert not log("crl_shard_opened")  # counted a moment ago
    town.wait(5)
    attend(duty)
    assert [event["shard"] for event in log("crl_shard_opened")] == [1]
    assert (worker.number, town.store.latest_crl_number("main.1")) == (2, 1)
    serial = town.enrol("r2", transaction_id="three", shard=1).serial
    town.revoke(serial)
    town.wait(1)
    attend(duty)
    assert (worker.number, town.store.latest_crl_number("main.1")) == (2, 2)
    assert town.marks.last_crl("main.1") == 2
    kept = newest_published(town.directory, ["main", "empty"])
    assert {name: crl.number for name, crl in kept.items()} == {"main": 2, "main.1": 2}


def test_without_a_place_in_the_certificates_there_is_one_shard(town):
    worker = Worker(town, 0)
    duty = ShardDuty(
        issuer="main", size=None, kept=timedelta(days=8), clock=town.clock, lease=worker.duty.lease,
        clerk=worker.clerk, make=lambda _shard: worker.duty, monotonic=town.seconds,
    )  # fmt: skip
    town.enrol()
    for _ in range(2):
        Deferred.fromCoroutine(duty.attend())
        town.wait(60)
    assert town.store.crl_shards("main") == (0,)
    assert worker.number == 1


def test_a_clerk_works_in_its_own_thread_and_tries_to_open_the_store_again(town):
    reactor, found, opened = EPollReactor(), [], []

    def open_store():
        opened.append(threading.current_thread().name)
        if len(opened) == 1:
            raise Unavailable("store: locked")
        return open_repository(town.directory, town.clock)

    clerk = Clerk(reactor, "news", open_store)

    async def work():
        for _ in range(3):
            try:
                found.append(await clerk.run(lambda repository: repository.generation()))
            except Unavailable as trouble:
                found.append(trouble.cause)
        await clerk.stop()

    clerk.start()
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work()).addBoth(lambda _: reactor.stop()))
    reactor.callLater(10, reactor.stop)
    reactor.run(installSignalHandlers=False)
    assert found[0] == "store: locked"
    assert found[1] == found[2] == town.store.generation()
    assert opened == ["news", "news"]


def test_a_clerk_that_never_began_stops_at_once():
    assert Clerk(FakeReactor(), "news", lambda: None).stop().called


def test_S105_an_older_store_halts_the_process_until_it_is_recovered(town, log):
    reactor, worker, halt = FakeReactor(), Worker(town, 0), Halt(tells=True)
    for wanted in ("starting", None):
        with_store = wanted is None
        if with_store:
            news = News(reactor, Inline(town.store), CrlShelf(), ["main"], Audience(print, Switches(), halt))
            news.start()
            halt.require_off()
        else:
            with pytest.raises(Unavailable, match=wanted):
                halt.require_off()
    duty = MarksDuty(
        marks=town.marks,
        node="alpha",
        lease=Lease("marks:alpha", worker.store.owner, town.clock),
        clerk=worker.clerk,
        monotonic=town.seconds,
    )
    duties = Duties(reactor, worker.clerk, [duty, worker.duty], halt)
    duties.start()
    assert worker.number == 1
    marks = town.marks.read()
    town.marks.replace(attrs.evolve(marks, position=attrs.evolve(marks.position, certificates=7)))
    town.wait(5)
    reactor.advance(1)
    assert town.store.standstill() is not None
    with pytest.raises(Unavailable, match=r"read-only until scepd recover: .*7 certificates"):
        town.enrol()
    reactor.advance(0.25)
    with pytest.raises(Unavailable, match="7 certificates"):
        halt.require_off()
    assert "7 certificates" in halt.cause
    (line,) = log("read_only")
    assert (line["hint"], line["log_level"].name) == ("scepd recover --plan", "critical")
    town.wait(DAY.total_seconds())
    reactor.advance(1)
    assert worker.number == 1  # nothing is signed
    with town.store._connection.write():
        go_on(town.store._connection)
        town.store._announce()
    town.marks.replace(marks)
    reactor.advance(1)
    assert len(log("read_write")) == 1
    reactor.advance(1)
    assert worker.number == 2
