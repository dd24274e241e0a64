"""Which issuer serves when."""

from datetime import UTC, datetime, timedelta

import pytest

from scepd.enroll.succession import Succession, accepted, announced, generations, is_superseded, serving

SECOND = timedelta(seconds=1)
FIRST_SWITCH = datetime(2027, 1, 1, tzinfo=UTC)
SECOND_SWITCH = datetime(2028, 1, 1, tzinfo=UTC)
OVERLAP = timedelta(days=30)
CHAIN = {
    "devices": Succession("devices-2", FIRST_SWITCH, OVERLAP),
    "devices-2": Succession("devices-3", SECOND_SWITCH, OVERLAP),
    "other": Succession("other-2", FIRST_SWITCH, OVERLAP),
}
BEFORE = FIRST_SWITCH - SECOND


@pytest.mark.parametrize(
    ("now", "name"),
    [
        (BEFORE, "devices"),
        (FIRST_SWITCH, "devices-2"),
        (FIRST_SWITCH + OVERLAP, "devices-2"),
        (SECOND_SWITCH - SECOND, "devices-2"),
        (SECOND_SWITCH, "devices-3"),
        (SECOND_SWITCH + 10 * OVERLAP, "devices-3"),
    ],
)
def test_the_issuer_changes_at_the_moment_itself(now, name):
    assert serving("devices", CHAIN, now) == name


def test_an_issuer_without_successor_serves_for_ever():
    assert serving("single", CHAIN, SECOND_SWITCH) == "single"
    assert accepted("single", CHAIN, SECOND_SWITCH) == ("single",)
    assert announced("single", CHAIN, BEFORE) is None
    assert not is_superseded("single", CHAIN, SECOND_SWITCH)


def test_C037_the_next_one_is_announced_until_it_serves():
    assert announced("devices", CHAIN, BEFORE) == CHAIN["devices"]
    assert announced("devices", CHAIN, FIRST_SWITCH) == CHAIN["devices-2"]
    assert announced("devices", CHAIN, SECOND_SWITCH) is None


def test_C066_requests_to_the_next_ra_are_accepted_after_those_to_the_serving_one():
    assert accepted("devices", CHAIN, BEFORE) == ("devices", "devices-2")


def test_C066_the_one_after_the_next_is_not_accepted_yet():
    assert "devices-3" not in accepted("devices", CHAIN, BEFORE)


@pytest.mark.parametrize(
    ("now", "names"),
    [
        (FIRST_SWITCH, ("devices-2", "devices-3", "devices")),
        (FIRST_SWITCH + OVERLAP - SECOND, ("devices-2", "devices-3", "devices")),
        (FIRST_SWITCH + OVERLAP, ("devices-2", "devices-3")),
        (SECOND_SWITCH, ("devices-3", "devices-2")),
        (SECOND_SWITCH + OVERLAP, ("devices-3",)),
    ],
)
def test_C067_the_old_ra_is_accepted_for_the_overlap(now, names):
    assert accepted("devices", CHAIN, now) == names


def test_C067_overlaps_may_meet_and_the_newest_comes_first():
    long = {
        "devices": Succession("devices-2", FIRST_SWITCH, 100 * OVERLAP),
        "devices-2": Succession("devices-3", SECOND_SWITCH, OVERLAP),
    }
    assert accepted("devices", long, SECOND_SWITCH) == ("devices-3", "devices-2", "devices")


def test_C067_superseded_is_what_the_overlap_left_behind():
    assert not is_superseded("devices", CHAIN, FIRST_SWITCH)
    assert not is_superseded("devices", CHAIN, FIRST_SWITCH + OVERLAP - SECOND)
    assert is_superseded("devices", CHAIN, FIRST_SWITCH + OVERLAP)


def test_the_line_of_an_issuer_holds_all_that_follow():
    assert generations("devices", CHAIN) == ("devices", "devices-2", "devices-3")
    assert generations("devices-3", CHAIN) == ("devices-3",)
