"""The turns of a duty: how far apart they are, and how failures in a row put them off."""

import pytest
from twisted.internet.defer import Deferred

from scepd.app.turns import Setback, Turns
from scepd.hsm.faults import TokenFault
from scepd.refusal import OperatorError, Reason, Reject, Unavailable
from scepd.x509.draft import SealError


class Duty:
    """Work that ends as it is told, once a second."""

    def __init__(self, **options):
        self.now, self.end, self.took, self.told = 100.0, True, [], []
        self.turns = Turns(first=1.0, longest=8.0, monotonic=lambda: self.now, **options)

    async def work(self):
        self.took.append(self.now - 100.0)
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def live(self, seconds, end):
        """Return when, counted from the beginning, the work was done."""
        self.end, self.took = end, []
        for _ in range(seconds):
            done = []
            Deferred.fromCoroutine(self.turns.take(self.work, self.told.append)).addBoth(done.append)
            assert done == [None]
            self.now += 1.0
        return self.took

    @property
    def pauses(self):
        return [setback.retry_in for setback in self.told]


def test_without_a_failure_each_look_is_a_turn():
    assert Duty().live(3, end=True) == [0, 1, 2]
    assert Duty(look=5.0).live(12, end=False) == [0, 5, 10]


def test_failures_in_a_row_are_ever_further_apart_up_to_a_bound():
    duty = Duty()
    assert duty.live(32, Unavailable("away")) == [0, 1, 3, 7, 15, 23, 31]
    assert duty.pauses == [1, 2, 4, 8, 8, 8, 8]


def test_work_that_is_done_makes_the_pause_short_again_and_nothing_to_do_leaves_it():
    duty = Duty()
    duty.live(7, Unavailable("away"))
    duty.live(2, end=False)  # another has the lease
    duty.live(1, Unavailable("away"))
    assert duty.pauses == [1, 2, 4, 8]
    duty.live(9, end=True)
    duty.live(1, Unavailable("away"))
    assert duty.pauses[4:] == [1]


def test_what_was_begun_and_is_not_over_is_put_off_as_a_failure_is():
    duty = Duty(look=1.0)
    assert [duty.turns.put_off() for _ in range(3)] == [1, 2, 4]
    assert duty.live(6, end=True) == [4, 5]
    assert duty.told == []


@pytest.mark.parametrize(
    ("trouble", "cause", "hint"),
    [
        (Unavailable("the store is locked"), "the store is locked", "scepd status"),
        (TokenFault("device", "DeviceRemoved"), "DeviceRemoved", "scepd status"),
        (OperatorError("no such key", "scepd hsm list"), "no such key", "scepd hsm list"),
        (Reject(Reason.validity_exhausted, "ends in May"), "validity_exhausted: ends in May", "scepd check"),
        (SealError("does not verify"), "does not verify", "scepd hsm probe"),
    ],
)
def test_a_setback_has_a_cause_of_one_line_and_a_hint(trouble, cause, hint):
    setback = Setback(trouble, 1.0)
    assert (setback.cause, setback.hint) == (cause, hint)


def test_what_is_no_trouble_is_a_fault_of_ours_and_passes():
    duty = Duty()
    with pytest.raises(AssertionError):
        duty.live(1, ZeroDivisionError())
    assert duty.told == []
