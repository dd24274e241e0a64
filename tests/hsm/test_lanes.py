"""Lanes: bounds, faults, the circuit, the watchdog, the end. Contexts are plain objects; the token's own tests follow."""

import itertools
import threading
import time
from datetime import timedelta

import attrs
import pytest
from twisted.internet.defer import CancelledError

from scepd.hsm.faults import TokenFault
from scepd.hsm.lanes import Care, Lanes
from scepd.records import Standing
from scepd.refusal import OperatorError, Reason, Reject, Unavailable

from .pump import Pump

QUICK = Care(
    probe_interval=timedelta(seconds=0.05),
    hard_limit=timedelta(seconds=15),
    longest_pause=timedelta(seconds=0.1),
    give_up=timedelta(seconds=0.6),
    tick=timedelta(seconds=0.02),
)

SHORT = attrs.evolve(QUICK, hard_limit=timedelta(seconds=0.5))


class Context:
    """What a lane owns here: a number and the thread it was made in."""

    made = 0

    def __init__(self):
        type(self).made += 1
        self.number = type(self).made
        self.thread = threading.get_ident()


@pytest.fixture
def rig(request):
    """A pump, and a function that makes started Lanes, stopped at the end."""
    pump, made, gates = Pump(), [], []

    class Rig:
        states: list[str] = []
        deaths: list[str] = []
        dropped: list[object] = []

        def lanes(self, make_context=Context, **options):
            defaults = {"size": 1, "depth": 8, "deadline": timedelta(seconds=5), "care": QUICK}
            lanes = Lanes(
                make_context,
                reactor=pump,
                on_state=self.states.append,
                on_dead=self.deaths.append,
                drop_context=self.dropped.append,
                **{**defaults, **options},
            )
            made.append(lanes)
            self.started = lanes.start()
            return lanes

        def up(self, *args, **options):
            lanes = self.lanes(*args, **options)
            pump.result(self.started)
            return lanes

        def gate(self):
            """Return a function that blocks a lane, and the event that lets it go."""
            event, inside = threading.Event(), threading.Event()
            gates.append(event)

            def block(_context):
                inside.set()
                assert event.wait(20)
                return "through"

            return block, event, inside

    rig = Rig()
    rig.pump, rig.states, rig.deaths, rig.dropped = pump, [], [], []
    yield rig
    for gate in gates:
        gate.set()
    for lanes in made:
        pump.result(lanes.stop())


def fault_once(kind):
    """Return a function that fails with a token fault the first time it runs."""
    seen = []

    def function(context):
        seen.append(context)
        if len(seen) == 1:
            raise TokenFault(kind, "test")
        return context

    function.seen = seen
    return function


def test_a_function_runs_with_its_lanes_own_context_in_its_own_thread(rig):
    lanes = rig.up(size=2)
    found = [rig.pump.result(lanes.run(lambda context: (context.thread, threading.get_ident()))) for _ in range(10)]
    assert all(made == used != threading.get_ident() for made, used in found)
    assert rig.states == ["up"]


def test_two_lanes_work_at_once(rig):
    lanes = rig.up(size=2)
    block, event, inside = rig.gate()
    first = lanes.run(block)
    assert inside.wait(5)
    assert rig.pump.result(lanes.run(lambda _context: "meanwhile")) == "meanwhile"
    event.set()
    assert rig.pump.result(first) == "through"


@pytest.mark.parametrize("error", [Reject(Reason.key_refused, "x"), Unavailable("store"), ValueError("bug")])
def test_what_a_function_raises_reaches_the_caller_and_the_lane_goes_on(rig, error):
    lanes = rig.up()

    def function(_context):
        raise error

    with pytest.raises(type(error)) as caught:
        rig.pump.result(lanes.run(function))
    assert caught.value is error
    assert rig.pump.result(lanes.run(lambda _context: 1)) == 1


def test_S30_of_those_who_wait_the_best_standing_comes_first(rig):
    lanes = rig.up()
    block, event, inside = rig.gate()
    first = lanes.run(block)
    assert inside.wait(5)
    order = []
    asked = (Standing.doubtful, Standing.unknown, Standing.good, Standing.doubtful, Standing.unknown)
    waiting = [
        lanes.run(lambda _context, place=place: order.append(place), standing) for place, standing in enumerate(asked)
    ]
    event.set()
    for deferred in (first, *waiting):
        rig.pump.result(deferred)
    assert order == [2, 1, 4, 0, 3]


def test_S30_guesses_fill_no_queue(rig):
    lanes = rig.up(depth=8)
    block, event, inside = rig.gate()
    first = lanes.run(block)
    assert inside.wait(5)
    waiting = []
    for standing, room in ((Standing.doubtful, 4), (Standing.unknown, 2), (Standing.good, 2)):
        waiting += [lanes.run(lambda _context: "done", standing) for _ in range(room)]
        with pytest.raises(Unavailable, match="too many requests wait"):
            rig.pump.result(lanes.run(lambda _context: "one too many", standing))
    event.set()
    assert [rig.pump.result(deferred) for deferred in (first, *waiting)] == ["through", *["done"] * 8]


def test_a_full_queue_refuses(rig):
    lanes = rig.up(depth=2)
    block, event, inside = rig.gate()
    first = lanes.run(block)
    assert inside.wait(5)
    waiting = [lanes.run(lambda _context: "done") for _ in range(2)]
    assert lanes.waiting == 2
    with pytest.raises(Unavailable) as caught:
        rig.pump.result(lanes.run(lambda _context: "never"))
    assert "too many" in caught.value.cause
    event.set()
    assert [rig.pump.result(deferred) for deferred in [first, *waiting]] == ["through", "done", "done"]


def test_work_past_its_deadline_is_refused_while_it_waits_and_never_started(rig):
    lanes = rig.up(deadline=timedelta(seconds=0.1))
    block, event, inside = rig.gate()
    first, ran = lanes.run(block), []
    assert inside.wait(5)
    late = lanes.run(ran.append)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="waited too long"):
        rig.pump.result(late)
    assert time.monotonic() - began < 0.5  # the lane is still busy
    event.set()
    rig.pump.result(first)
    assert rig.pump.result(lanes.run(lambda _context: "next")) == "next"
    assert ran == []


def test_cancelled_work_is_not_started(rig):
    lanes = rig.up()
    block, event, inside = rig.gate()
    first, ran = lanes.run(block), []
    assert inside.wait(5)
    deferred = lanes.run(ran.append)
    deferred.cancel()
    with pytest.raises(CancelledError):
        rig.pump.result(deferred)
    event.set()
    rig.pump.result(first)
    rig.pump.result(lanes.run(lambda _context: None))
    assert ran == []


@pytest.mark.parametrize("kind", ["session", "sign"])
def test_S116_a_lost_session_is_made_anew_and_the_work_repeated_once(rig, kind):
    lanes, function = rig.up(), fault_once(kind)
    context = rig.pump.result(lanes.run(function))
    assert function.seen[0] is not context
    assert rig.dropped == [function.seen[0]]
    assert (lanes.rebuilt, lanes.recoveries, rig.states) == (1, 0, ["up"])


@pytest.mark.parametrize("kind", ["session", "sign", "device"])
def test_S116_a_fault_that_stays_opens_the_circuit_and_recovery_closes_it(rig, kind):
    recovered, ill = [], [True]
    lanes = rig.up(size=2, recover=lambda: recovered.append(threading.active_count()))
    ran = []

    def function(_context):
        ran.append(1)
        if ill[0]:
            raise TokenFault(kind, "test")

    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(function))
    assert len(ran) == (1 if kind == "device" else 2)
    rig.pump.until(lambda: lanes.state == "up" and recovered)
    ill[0] = False
    assert rig.states == ["up", "away", "up"]
    assert lanes.recoveries == 1
    rig.pump.result(lanes.run(function))


def test_S116_an_open_circuit_refuses_at_once_what_comes_and_what_waits(rig):
    gate = threading.Event()
    lanes = rig.up(recover=lambda: gate.wait(5) and None)
    block, event, inside = rig.gate()

    def fail(context):
        block(context)
        raise TokenFault("device", "gone")

    first = lanes.run(fail)
    assert inside.wait(5)
    ran = []
    waiting = lanes.run(ran.append)
    event.set()
    for deferred in (first, waiting):
        with pytest.raises(Unavailable):
            rig.pump.result(deferred)
    with pytest.raises(Unavailable, match="away"):
        rig.pump.result(lanes.run(ran.append))
    assert ran == []
    gate.set()
    rig.pump.until(lambda: lanes.state == "up")
    assert ran == []


def test_S116_no_thread_is_in_the_module_while_it_recovers(rig):
    inside, overlap, lock = [0], [], threading.Lock()

    def work(_context):
        with lock:
            inside[0] += 1
        time.sleep(0.02)
        with lock:
            inside[0] -= 1

    def recover():
        for _ in range(20):
            overlap.append(inside[0])
            time.sleep(0.002)

    lanes = rig.up(size=3, depth=100, recover=recover)
    busy = [lanes.run(work) for _ in range(30)]

    def fail(_context):
        raise TokenFault("device", "gone")

    lanes.run(fail).addErrback(lambda _failure: None)
    for deferred in busy:
        deferred.addErrback(lambda failure: failure.trap(Unavailable))
    rig.pump.until(lambda: lanes.recoveries == 1)
    assert overlap
    assert set(overlap) == {0}


def test_S116_recovery_goes_on_with_pauses_until_it_works(rig):
    times = []

    def recover():
        times.append(time.monotonic())
        if len(times) < 4:
            raise TokenFault("device", "still away")

    lanes = rig.up(recover=recover)
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(fault_once("device")))
    rig.pump.until(lambda: lanes.state == "up")
    assert len(times) == 4
    assert all(later - earlier >= 0.09 for earlier, later in itertools.pairwise(times))
    assert rig.deaths == []


def test_S116_a_context_that_does_not_build_after_recovery_is_tried_again(rig):
    failing = [TokenFault("device", "x"), OperatorError("no key", "hint"), None]

    def make():
        if rig.states == ["up", "away"] and (error := failing.pop(0)) is not None:
            raise error
        return Context()

    lanes = rig.up(make)
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(fault_once("device")))
    rig.pump.until(lambda: lanes.state == "up")
    assert failing == []


def test_S116_recovery_that_keeps_failing_ends_the_process_once(rig):
    def recover():
        raise TokenFault("device", "still away")

    lanes = rig.up(recover=recover)
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(fault_once("device")))
    rig.pump.until(lambda: rig.deaths)
    assert rig.deaths == ["still away"]
    assert lanes.state == "dead"
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(lambda _context: None))


def test_S117_a_refused_pin_during_recovery_is_not_tried_again(rig):
    tried = []

    def recover():
        tried.append(1)
        raise OperatorError("the token refused the PIN", "correct it")

    lanes = rig.up(recover=recover)
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(fault_once("device")))
    rig.pump.until(lambda: rig.deaths)
    assert (tried, rig.deaths, lanes.state) == ([1], ["the token refused the PIN"], "dead")


def test_S116_a_failing_probe_opens_the_circuit(rig):
    ill = []

    def probe(_context):
        if ill:
            raise TokenFault("device", "does not answer")

    lanes = rig.up(probe=probe, recover=ill.clear)
    rig.pump.until(lambda: lanes.waiting == 0)
    ill.append(1)
    rig.pump.until(lambda: "away" in rig.states, 2)
    rig.pump.until(lambda: lanes.state == "up", 2)


def test_S116_an_idle_token_is_probed_again_and_again(rig):
    times = []
    rig.up(probe=lambda _context: times.append(time.monotonic()))
    rig.pump.until(lambda: len(times) >= 5)
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    assert gaps[0] > 0.02
    assert gaps[1] < 1


@pytest.mark.parametrize("size", [1, 2])
def test_S116_a_stuck_thread_is_noticed(rig, size):
    lanes = rig.up(size=size, care=SHORT)
    block, event, inside = rig.gate()
    stuck = lanes.run(block)
    assert inside.wait(5)
    rig.pump.until(lambda: rig.deaths, 5)
    assert rig.deaths == ["stuck"]
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(lambda _context: None))
    with pytest.raises(Unavailable, match="does not answer"):  # at once: the thread may never return
        rig.pump.result(stuck)
    event.set()
    rig.pump.until(lambda: lanes._running == 0)
    rig.pump.result(lanes.stop(), 5)  # also when every thread has ended before


def test_S116_a_recovery_that_never_returns_is_noticed(rig):
    gate = threading.Event()
    lanes = rig.up(recover=lambda: gate.wait(20) and None, care=SHORT)
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(fault_once("device")))
    rig.pump.until(lambda: rig.deaths, 5)
    assert rig.deaths == ["stuck"]
    gate.set()


@pytest.mark.parametrize("error", [OperatorError("no key", "hint"), TokenFault("device", "x"), ValueError("store")])
def test_a_start_that_fails_tells_why_and_leaves_no_thread(rig, error):
    before = threading.active_count()

    def make():
        raise error

    lanes = rig.lanes(make, size=2)
    with pytest.raises(type(error)) as caught:
        rig.pump.result(rig.started)
    assert caught.value is error
    rig.pump.result(lanes.stop())
    assert threading.active_count() <= before
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(lambda _context: None))


def test_stop_finishes_what_waits_and_drops_every_context(rig):
    lanes = rig.up(size=2, depth=50)
    done = []
    for number in range(20):
        lanes.run(lambda _context, number=number: number).addCallback(done.append)
    stopped = lanes.stop()
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(lambda _context: None))
    rig.pump.result(stopped)
    assert sorted(done) == list(range(20))
    assert len(rig.dropped) == 2
    assert lanes.state == "stopped"


def test_stop_while_the_circuit_is_open(rig):
    def recover():
        raise TokenFault("device", "still away")

    lanes = rig.up(size=2, recover=recover)
    with pytest.raises(Unavailable):
        rig.pump.result(lanes.run(fault_once("device")))
    rig.pump.until(lambda: lanes.state == "away")
    rig.pump.result(lanes.stop(), 5)
    assert rig.deaths == []


def test_a_context_that_cannot_be_dropped_harms_nobody(rig):
    def drop(_context):
        raise OSError("closed already")

    lanes = Lanes(
        Context, size=1, depth=4, deadline=timedelta(seconds=5), reactor=rig.pump, drop_context=drop, care=QUICK
    )
    rig.pump.result(lanes.start())
    rig.pump.result(lanes.run(fault_once("session")))
    rig.pump.result(lanes.stop())


def test_the_pump_stands_in_for_the_real_reactor(rig):
    from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

    assert {"callFromThread"} <= set(IReactorFromThreads.names()) & set(dir(rig.pump))
    assert {"callLater"} <= set(IReactorTime.names()) & set(dir(rig.pump))
