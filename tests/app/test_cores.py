"""Each worker keeps to a core of its own where there are enough; a thread of its own stands for a worker here."""

import os
import threading

import attrs
import pytest

from scepd.app import cores
from scepd.app.cores import core_of, keep_to_core

from . import tiny_settings

PAIRED = {0: [0, 4], 1: [1, 5], 4: [0, 4], 5: [1, 5]}  # two cores with two threads each


def bound(settings, slot=0):
    """Return where a worker of that slot may run."""
    found = []

    def work():
        keep_to_core(settings, slot)
        found.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def machine(monkeypatch):
    """A machine with those cores, and what was asked of it."""
    taken = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: taken[-1] if taken else {2, 3, 6})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _pid, wanted: taken.append(wanted))
    monkeypatch.setattr(cores, "_siblings", lambda core: [core])
    return taken


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "config.json").write_text('{"workers": 3}')
    return tiny_settings.make(tmp_path)


@pytest.mark.parametrize(
    ("allowed", "found"),
    [
        ({0, 1, 4, 5}, [[0, 1, 4, 5], [1, 0, 5, 4]]),
        ({1, 4, 5}, [[1, 4, 5], [4, 1, 5]]),
        ({0, 4, 5}, [[0, 5, 4], [5, 0, 4]]),
        ({0, 1, 4}, [[0, 1, 4], [1, 0, 4]]),
    ],
    ids=str,
)
def test_each_physical_core_has_one_before_any_has_two_wherever_it_begins(monkeypatch, allowed, found):
    monkeypatch.setattr(cores, "_siblings", PAIRED.get)
    dealt = [[core_of(slot, start, allowed) for slot in range(len(allowed))] for start in range(4)]
    assert dealt == found * 2


def test_each_worker_has_another_core(settings, machine):
    found = []
    for slot in range(3):
        found.append(bound(settings, slot))
        machine.clear()
    assert sorted(found, key=min) == [{2}, {3}, {6}]


def test_two_installations_begin_at_different_cores(settings, machine):
    found = set()
    for number in range(20):
        appliance = attrs.evolve(settings.appliance, state=settings.appliance.state / str(number))
        found |= bound(attrs.evolve(settings, appliance=appliance))
        machine.clear()
    assert found == {2, 3, 6}


@pytest.mark.parametrize(
    "change",
    [{"cpu_affinity": False}, {"workers": 1}, {"workers": 0}, {"workers": 4}],
    ids=["switched off", "one worker", "one process", "more workers than cores"],
)
def test_others_go_where_the_kernel_puts_them(settings, machine, change):
    assert bound(attrs.evolve(settings, **change)) == {2, 3, 6}
    assert not machine


def test_lanes_that_compute_at_the_same_time_are_not_bound(settings, machine):
    lanes = attrs.evolve(settings.hsm, lanes=2)
    assert bound(attrs.evolve(settings, hsm=lanes)) == {2, 3, 6}
    assert not machine


def test_a_sandbox_that_forbids_it_costs_speed_only(settings, machine, monkeypatch, events):
    def forbid(_pid, _wanted):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbid)
    assert bound(settings) == {2, 3, 6}
    assert [event["event"] for event in events] == ["core_refused"]


def test_the_kernel_takes_it(settings):
    allowed = os.sched_getaffinity(0)
    one = min(allowed)
    found = bound(attrs.evolve(settings, workers=2))
    assert found < allowed if len(allowed) > 1 else found == allowed
    assert len(found) == 1
    assert cores._siblings(one).count(one) == 1
    assert cores._siblings(100_000) == [100_000]
