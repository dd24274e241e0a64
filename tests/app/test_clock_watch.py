"""A clock that was set back signs nothing, until it is right again."""

from datetime import timedelta

import pytest
from twisted.internet.task import Clock as FakeReactor

from scepd.app.clock_watch import TOLERANCE, ClockWatch
from scepd.app.halt import Halt
from scepd.app.news import Audience, News
from scepd.ca.shelf import CrlShelf
from scepd.profile.switches import Switches
from scepd.refusal import Unavailable
from tests.store.building import BEGIN, Clock

from .test_duties import Inline, log, town

__all__ = ["log", "town"]  # fixtures

SECOND = timedelta(seconds=1)


def test_S111_a_clock_that_goes_back_is_doubted_beyond_the_tolerance():
    clock = Clock()
    watch = ClockWatch(clock)
    assert watch.doubt() == ""
    clock.moment += timedelta(days=10)  # a machine that slept, or was put right
    assert watch.doubt() == ""
    clock.moment -= TOLERANCE
    assert watch.doubt() == ""
    clock.moment -= SECOND
    assert "set back: it says 2026-03-11T11:54:59Z" in watch.doubt()
    clock.moment += SECOND
    assert watch.doubt() == ""


def test_S111_what_is_on_record_counts_for_a_process_that_has_just_begun():
    watch = ClockWatch(Clock())
    watch.learn(None)
    assert watch.doubt() == ""
    watch.learn(BEGIN + timedelta(days=365))  # the clock of the machine was lost over a reboot
    assert "already" in watch.doubt()
    watch.learn(BEGIN - timedelta(days=1))
    assert "already" in watch.doubt()


def test_S111_nothing_is_signed_while_the_clock_is_behind_the_store(town, log):
    clock, halt, reactor = Clock(), Halt(tells=True), FakeReactor()
    audience = Audience(lambda _crl: None, Switches(), halt, watch=ClockWatch(clock))
    town.wait(3600)
    town.enrol()  # an act of one hour later than the clock will say
    assert town.store.newest_act() == town.clock.now()
    news = News(reactor, Inline(town.store), CrlShelf(), [], audience)
    news.start()
    assert halt.is_on
    assert "set back" in halt.cause
    with pytest.raises(Unavailable, match="set back"):
        halt.require_off()
    for _ in range(3):
        reactor.advance(0.25)
    assert len(log("clock_doubtful")) == 1
    clock.moment += timedelta(hours=1)
    reactor.advance(0.25)
    halt.require_off()
    assert (halt.is_on, halt.cause) == (False, "")
    assert len(log("clock_trusted")) == 1
    clock.moment -= timedelta(days=365)
    reactor.advance(0.25)  # also where nothing is done meanwhile
    assert halt.is_on
    news.stop()


def test_S111_a_store_without_acts_says_nothing(town):
    assert town.store.newest_act() is None
