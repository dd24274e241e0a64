"""The stall detector against a reactor of its own, in this thread."""

import time

import pytest
from twisted.internet.epollreactor import EPollReactor

from scepd.observe.stall import StallDetector


@pytest.fixture
def reactor():
    return EPollReactor()


def blocking_callback(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)


def run(reactor, work, *, limit=0.05):
    stalls = []
    detector = StallDetector(reactor, stalls.append, limit=limit)
    reactor.callWhenRunning(detector.start)
    reactor.callLater(0.1, work)
    reactor.callLater(0.6, detector.stop)
    reactor.callLater(0.65, reactor.stop)
    reactor.run(installSignalHandlers=False)
    return stalls


def test_S125_a_blocking_callback_is_reported_with_its_stack(reactor):
    stalls = run(reactor, lambda: blocking_callback(0.3))
    assert stalls
    assert any("blocking_callback" in line for stall in stalls for line in stall.stack)
    assert max(stall.seconds for stall in stalls) > 0.2
    assert max(stall.cpu for stall in stalls) < 0.1  # it slept


def test_S125_a_stall_tells_work_from_waiting(reactor):
    def work():
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass

    stalls = run(reactor, work)
    assert max(stall.cpu for stall in stalls) > 0.15


def test_S125_a_waiting_reactor_and_short_callbacks_are_not_reported(reactor):
    def short(left):
        if left:
            blocking_callback(0.001)
            reactor.callLater(0, short, left - 1)

    stalls = run(reactor, lambda: short(50), limit=0.3)
    assert stalls == []


def test_the_detector_can_be_stopped_from_its_own_report(reactor):
    detector = None

    def report(_stall):
        detector.stop()

    detector = StallDetector(reactor, report)
    reactor.callWhenRunning(detector.start)
    reactor.callLater(0.05, blocking_callback, 0.25)
    reactor.callLater(0.5, reactor.stop)
    reactor.run(installSignalHandlers=False)
    assert reactor.getDelayedCalls() == []
