"""Whose unfinished transactions a worker takes over, and when."""

import json

from twisted.internet.defer import Deferred, fail, succeed

from scepd.app import recovery
from scepd.app.recovery import Estates
from scepd.refusal import Unavailable
from tests.app.tiny_settings import make as make_settings


class Row:
    def __init__(self, owner):
        self.owner = owner


class Lane:
    def __init__(self, *owners):
        self.rows = [Row(owner) for owner in owners]
        self.repository = self
        self.finished = []

    def unfinished_of_others(self, live):
        assert live == ()
        return self.rows


class Lanes:
    def __init__(self, lane):
        self.lane = lane
        self.away = False

    def run(self, function):
        return fail(Unavailable("the token is away")) if self.away else succeed(function(self.lane))


def estates(tmp_path, monkeypatch, lane, **wishes):
    (tmp_path / "config.json").write_text(json.dumps(wishes))
    lanes = Lanes(lane)

    def finish(context, owner):
        context.finished.append(owner)
        return 1

    monkeypatch.setattr(recovery, "recover", finish)
    return Estates(make_settings(tmp_path), lanes), lanes


def settle(estates):
    done = Deferred.fromCoroutine(estates.settle())
    assert done.called
    done.addErrback(lambda failure: failure.raiseException())


def test_a_slot_is_taken_over_with_all_its_lanes_and_no_other(tmp_path, monkeypatch):
    lane = Lane("n1/1.0", "n1/1.3", "n1/10.0", "n1/0.0")
    owed, _lanes = estates(tmp_path, monkeypatch, lane, workers=2)
    owed.take(1)
    settle(owed)
    assert lane.finished == ["n1/1.0", "n1/1.3"]


def test_strays_are_those_that_no_slot_of_the_configuration_has(tmp_path, monkeypatch):
    lane = Lane("n1/0.0", "n1/1.0", "n1/1.1", "n1/2.0")
    owed, _lanes = estates(tmp_path, monkeypatch, lane, workers=2)
    owed.take_strays()
    settle(owed)
    assert lane.finished == ["n1/1.1", "n1/2.0"]


def test_what_could_not_be_done_is_owed_until_it_is_and_then_done_once(tmp_path, monkeypatch):
    lane = Lane("n1/0.0")
    owed, lanes = estates(tmp_path, monkeypatch, lane)
    owed.take(0)
    lanes.away = True
    settle(owed)
    assert lane.finished == []
    lanes.away = False
    settle(owed)
    settle(owed)
    assert lane.finished == ["n1/0.0"]


def test_what_a_person_had_this_node_adopt_is_looked_for_now_and_then(tmp_path, monkeypatch):
    lane = Lane("n1/0.0", "n1/adopted")
    owed, lanes = estates(tmp_path, monkeypatch, lane, workers=2)
    seconds = [100.0]
    owed._monotonic = lambda: seconds[0]
    settle(owed)
    assert lane.finished == []
    owed.watch_adopted()
    for _ in range(3):
        settle(owed)
    assert lane.finished == ["n1/adopted"]
    seconds[0] += 10
    lanes.away = True
    settle(owed)
    lanes.away = False
    settle(owed)
    assert lane.finished == ["n1/adopted"] * 2
