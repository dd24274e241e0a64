"""A clock that was set back or jumped ahead signs nothing, until it is right again or a person says that it is."""

from datetime import timedelta

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeReactor

from scepd.app.clock import UtcClock, present
from scepd.app.clock_watch import TOLERANCE, ClockWatch
from scepd.app.halt import Halt
from scepd.app.marks_duty import MarksDuty
from scepd.app.news import Audience, News
from scepd.ca.shelf import CrlShelf
from scepd.profile.switches import Switches
from scepd.refusal import Unavailable
from scepd.store.clocks import begin_clock
from scepd.store.marks import MarkFile
from tests.store.building import BEGIN, Clock

from .test_duties import Inline, Lease, log, town

__all__ = ["log", "town"]  # fixtures

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


class Machine(Clock):
    """A clock that a test sets, and an uptime that nobody sets."""

    def __init__(self):
        super().__init__()
        self.uptime = timedelta(hours=1)

    def wait(self, span):
        self.moment += span
        self.uptime += span

    def seconds(self):
        return self.uptime.total_seconds()

    def watch(self):
        return ClockWatch(self, lambda: self.uptime)


def test_S111_a_clock_that_goes_back_is_doubted_beyond_the_tolerance():
    machine = Machine()
    watch = machine.watch()
    assert watch.doubt() == ""
    machine.wait(timedelta(days=10))  # a machine that slept: CLOCK_BOOTTIME counts that too
    assert watch.doubt() == ""
    machine.moment -= TOLERANCE
    assert watch.doubt() == ""
    machine.moment -= SECOND
    assert "set back: it says 2026-03-11T11:54:59Z" in watch.doubt()
    machine.moment += SECOND
    assert watch.doubt() == ""


def test_S111_what_is_on_record_counts_for_a_process_that_has_just_begun():
    watch = Machine().watch()
    watch.learn(None)
    assert watch.doubt() == ""
    watch.learn(BEGIN + timedelta(days=365))  # the clock of the machine was lost over a reboot
    assert "already" in watch.doubt()
    watch.learn(BEGIN - timedelta(days=1))
    assert "already" in watch.doubt()


@pytest.mark.parametrize("jump", [TOLERANCE + SECOND, timedelta(days=365), timedelta(days=3650)])
def test_S111_a_clock_that_jumps_ahead_is_doubted_until_it_is_back(jump):
    machine = Machine()
    watch = machine.watch()
    assert watch.doubt() == ""
    machine.wait(3 * SECOND)
    machine.moment += jump
    assert "the clock jumped ahead: it says" in watch.doubt()
    assert "by the time that has passed it is 2026-03-01T12:00:03Z" in watch.doubt()
    machine.wait(2 * DAY)  # waiting makes it no better
    assert "jumped ahead" in watch.doubt()
    machine.moment -= jump
    assert watch.doubt() == ""  # nor was the future kept as seen


def test_S111_a_leap_second_and_small_steps_are_followed_but_not_faster_than_a_day():
    machine = Machine()
    watch = machine.watch()
    for _ in range(100):  # a virtual machine that is paused for its backup every night
        assert watch.doubt() == ""
        machine.wait(DAY)
        machine.moment += SECOND
        assert watch.doubt() == ""
        machine.wait(SECOND)
    for _ in range(3):  # somebody who hopes to creep
        machine.wait(timedelta(hours=1))
        machine.moment += timedelta(minutes=2)
        found = watch.doubt()
    assert "jumped ahead" in found


def test_S111_a_clock_put_right_after_a_wrong_start_lends_no_room_for_a_jump():
    machine = Machine()
    watch = machine.watch()
    assert watch.doubt() == ""
    machine.moment -= timedelta(minutes=4)
    assert watch.doubt() == ""
    machine.moment += timedelta(minutes=6)
    assert "jumped ahead" in watch.doubt()


def test_S111_a_process_that_begins_after_the_jump_is_told_by_the_store():
    machine = Machine()
    start = machine.watch().present()
    machine.wait(DAY)
    machine.moment += timedelta(days=30)
    fresh = machine.watch()
    fresh.learn(None, start)
    assert "jumped ahead" in fresh.doubt()
    fresh.learn(None, start)
    assert "jumped ahead" in fresh.doubt()
    fresh.learn(None, fresh.present())  # a person says that it is right
    assert fresh.doubt() == ""
    machine.uptime = timedelta(minutes=1)
    rebooted = machine.watch()
    rebooted.learn(None, start)  # uptimes of two boots say nothing of each other
    assert rebooted.doubt() == ""


def test_S111_a_process_that_begins_after_the_clock_was_set_back_is_told_too():
    machine = Machine()
    start = machine.watch().present()
    machine.wait(DAY)
    machine.moment = BEGIN - timedelta(hours=1)
    fresh = machine.watch()
    fresh.learn(None, start)  # nothing was done since the start
    assert "set back" in fresh.doubt()


def test_S111_a_machine_that_boots_with_a_lost_time_goes_on_by_itself_when_it_is_put_right(town):
    machine = Machine()
    machine.moment = town.clock.now()
    town.enrol()
    machine.moment -= timedelta(days=365)  # no battery: NTP comes after the start
    begin_clock(town.store._connection, "n1", machine.watch().present(), TOLERANCE)
    halt = Halt(watch=machine.watch())
    news, _reactor = hearing(town, machine, halt)
    assert "set back" in halt.cause
    machine.wait(SECOND)
    machine.moment += timedelta(days=365)
    assert not halt.is_on
    assert halt.cause == ""
    machine.moment += timedelta(days=365)
    assert halt.is_on  # from then on it is watched as any
    news.stop()


def test_S111_the_uptime_is_the_machines_and_goes_on():
    first = present(UtcClock())
    second = present(UtcClock())
    assert first.uptime <= second.uptime
    assert abs(first.ahead(second)) < SECOND


def hearing(town, machine, halt):
    reactor = FakeReactor()
    audience = Audience(lambda _crl: None, Switches(), halt, node="n1")
    news = News(reactor, Inline(town.store), CrlShelf(), [], audience)
    news.start()
    return news, reactor


def test_S111_nothing_is_signed_while_the_clock_is_behind_the_store(town, log):
    machine = Machine()
    halt = Halt(tells=True, watch=machine.watch())
    town.wait(3600)
    town.enrol()  # an act of one hour later than the clock will say
    assert town.store.newest_act() == town.clock.now()
    news, reactor = hearing(town, machine, halt)
    assert halt.is_on
    assert "set back" in halt.cause
    with pytest.raises(Unavailable, match="set back"):
        halt.require_off()
    for _ in range(3):
        reactor.advance(0.25)
    assert len(log("clock_doubtful")) == 1
    machine.wait(timedelta(hours=1))
    reactor.advance(0.25)
    halt.require_off()
    assert (halt.is_on, halt.cause) == (False, "")
    assert len(log("clock_trusted")) == 1
    machine.moment -= timedelta(days=365)
    reactor.advance(0.25)  # also where nothing is done meanwhile
    assert halt.is_on
    news.stop()


def test_S111_nothing_is_signed_after_a_jump_not_even_before_the_news_until_a_person_vouches(town, log):
    machine = Machine()
    machine.moment = town.clock.now()
    watch = machine.watch()
    halt = Halt(tells=True, watch=watch)
    begin_clock(town.store._connection, "n1", watch.present(), TOLERANCE)
    news, reactor = hearing(town, machine, halt)
    halt.require_off()
    machine.moment += timedelta(days=365)
    with pytest.raises(Unavailable, match="jumped ahead"):  # at once: no beat has passed
        halt.require_off()
    assert halt.is_on
    (line,) = log("clock_doubtful")
    assert "scepd recover --clock" in line["hint"]
    town.wait(timedelta(days=365).total_seconds())
    doubts = town.store.clock_doubts("n1", watch.present(), TOLERANCE)
    assert (doubts.ahead, doubts.acts) == (timedelta(days=365), {})
    town.store.accept_clock("n1", watch.present(), doubts, who="user ann")
    reactor.advance(0.25)
    halt.require_off()
    (row,) = [row for row in town.store.audit() if row.action == "clock_accepted"]
    assert row.actor == "user ann"
    assert not town.store.clock_doubts("n1", watch.present(), TOLERANCE)
    news.stop()


def test_S111_acts_of_a_clock_that_ran_ahead_pass_once_a_person_vouches_and_new_ones_count(town):
    machine = Machine()
    machine.moment = town.clock.now()
    town.wait(timedelta(days=3650).total_seconds())
    town.enrol("r1")
    town.clock.moment = machine.moment  # put right
    watch = machine.watch()
    halt = Halt(watch=watch)
    news, reactor = hearing(town, machine, halt)
    assert "set back" in halt.cause
    doubts = town.store.clock_doubts("n1", watch.present(), TOLERANCE)
    assert doubts.acts
    assert doubts.ahead == timedelta()
    town.store.accept_clock("n1", watch.present(), doubts, who="user ann")
    reactor.advance(0.25)
    assert halt.cause == ""
    fresh = Halt(watch=machine.watch())  # a worker that is started later
    other, _reactor = hearing(town, machine, fresh)
    assert fresh.cause == ""
    town.wait(7200)
    town.enrol("r2")  # again ahead: what was let pass was those acts alone
    assert "set back" in hearing_cause(town, machine)
    news.stop()
    other.stop()


def hearing_cause(town, machine):
    halt = Halt(watch=machine.watch())
    hearing(town, machine, halt)[0].stop()
    return halt.cause


def test_S111_the_store_follows_small_steps_for_processes_that_begin_later(town, tmp_path):
    machine = Machine()
    watch = machine.watch()
    duty = MarksDuty(
        marks=MarkFile.within(tmp_path), node="n1", lease=Lease("marks:n1", "w", town.clock), clerk=Inline(town.store),
        watch=watch, monotonic=machine.seconds,
    )  # fmt: skip

    def kept():
        Deferred.fromCoroutine(duty.attend()).addErrback(lambda failure: failure.raiseException())
        return town.store.clock_belief("n1")

    first = kept()
    assert first == watch.present()
    machine.wait(DAY / 2)
    assert kept() == first
    machine.wait(DAY / 2)
    machine.moment += SECOND
    followed = kept()
    assert followed == watch.present()
    machine.wait(2 * DAY)
    machine.moment += 2 * TOLERANCE
    assert kept() == followed  # a jump is never followed
    machine.wait(10 * SECOND)
    machine.moment -= DAY
    assert kept() == watch.present()


def test_S111_a_jump_is_not_told_to_the_store_where_it_keeps_nothing():
    machine = Machine()
    watch = machine.watch()
    assert watch.doubt() == ""
    machine.moment += DAY  # between two looks of the reactor's thread
    assert watch.step(None) is None


def test_S111_a_store_without_acts_says_nothing(town):
    assert town.store.newest_act() is None
