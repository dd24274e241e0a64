"""A worker in this thread, without token and listeners: what it says of its own reactor."""

import time

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor

from scepd.app import worker as room
from scepd.app.parcel import Parcel
from scepd.app.worker import Worker
from scepd.config.settings import dump
from scepd.web.scep import Endpoint, Phase

from . import tiny_settings


@pytest.fixture
def reactor():
    return EPollReactor()


@pytest.fixture
def worker(reactor, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    settings = tiny_settings.make(tmp_path)
    monkeypatch.setattr(room, "load_store_key", lambda _path: bytes(32))
    monkeypatch.setattr(room, "Outfitter", lambda *_arguments: None)
    endpoint = Endpoint("p", lambda: Phase(b"", b"", ""), lambda _body, _origin: Deferred())
    monkeypatch.setattr(room, "make_endpoints", lambda *_arguments: {"p": endpoint})
    return Worker(reactor, settings, Parcel(dump(settings), recover=False), lambda: None)


def serve(worker, reactor, work):
    """Start the worker, run `work` in its reactor, drain it; return what the reactor still has to do."""
    left = []

    def begin():
        started = Deferred.fromCoroutine(worker.start())
        started.addCallback(lambda _: reactor.callLater(0.1, work))
        started.addCallback(lambda _: reactor.callLater(0.5, end))
        started.addErrback(lambda failure: (left.append(failure), reactor.stop()))

    def end():
        Deferred.fromCoroutine(worker.drain(0.1)).addBoth(lambda result: (left.append(result), reactor.stop()))

    reactor.callWhenRunning(begin)
    reactor.callLater(10, reactor.stop)
    reactor.run(installSignalHandlers=False)
    assert left == [None]


def blocking_callback():
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        time.sleep(0.005)


def test_S125_a_callback_that_blocks_is_logged_with_milliseconds_and_stack(worker, reactor, events):
    serve(worker, reactor, blocking_callback)
    stalls = [event for event in events if event.get("event") == "reactor_stall"]
    assert any("blocking_callback" in event["stack"] and event["ms"] >= 100 for event in stalls)
    assert all(event["log_level"].name == "warn" for event in stalls)
    assert all(event["stack"].count(" < ") <= 2 for event in stalls)


def test_a_drained_worker_beats_no_more(worker, reactor):
    serve(worker, reactor, lambda: None)
    assert not [call for call in reactor.getDelayedCalls() if "StallDetector" in str(call.func)]
