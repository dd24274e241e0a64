"""Faults of the token: 503 with Retry-After meanwhile, a quick GetCACaps, and healing without a restart of the service."""

import os
import signal
import subprocess
import threading
import time

import pytest

from tests.live.device import Fleet
from tests.live.killing import ready_pids, wait_ready, wait_until
from tests.live.moods import compile_module, give_moods, percentile, watched
from tests.live.server import BIN, copy_of

pytestmark = pytest.mark.live

ENOUGH = 200  # requests of which the 99th percentile is taken
QUICK = 50  # milliseconds


@pytest.fixture(scope="module")
def module(place):
    return compile_module(place)


@pytest.fixture
def make_server(template, place, request):
    """Return a function that makes and starts a server; what it served is accounted for at the end of the test."""
    fleets = []

    def made(*, workers=2, prepare=lambda _server: None, start=True):
        server = copy_of(template, place / f"fault{request.node.name[-8:]}".replace("[", "-").replace("]", ""))
        server.edit(r"^workers = \d+", f"workers = {workers}")
        prepare(server)
        fleets.append(Fleet(server))
        if start:
            server.start()
        return fleets[-1]

    yield made
    for fleet in fleets:
        assert fleet.server.stop() in {0, None, -signal.SIGTERM}
        fleet.settle_account()


def is_unavailable(reply):
    """Whether a reply asks the device to come again later; every other answer than SUCCESS must do so."""
    assert reply.status in {200, 503}, reply
    if reply.status == 503:
        assert int(reply.retry_after) >= 1
    return reply.status == 503


def assert_quick(seconds, capsys, what):
    assert len(seconds) >= ENOUGH
    p50, p99 = percentile(seconds, 50), percentile(seconds, 99)
    with capsys.disabled():
        print(f"\nGetCACaps, {what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, of {len(seconds)}")
    assert p99 < QUICK, f"p99 {p99:.1f} ms"


def test_token_directory_away_and_back_heals_without_restart(make_server, capsys):
    fleet = make_server()
    server, supervisor = fleet.server, fleet.server.process.pid
    fleet.stock()
    fleet.enrol(fleet.device())
    before = sorted(ready_pids(server))
    here, away = server.directory / "state" / "tokens", server.directory / "state" / "tokens.away"
    devices = [fleet.device() for _ in range(6)]
    with watched(server) as seconds:
        here.rename(away)
        # SoftHSM signs from its memory until it looks for its files: by the probe at the latest the outage is noticed.
        wait_until(lambda: server.status()["hsm"] == "away", what="the token is known to be away")
        wait_until(lambda: all(row["hsm"] == "away" for row in server.status()["workers"]), what="to every worker")
        seconds.clear()
        began = time.monotonic()
        while len(seconds) < ENOUGH or time.monotonic() < began + 3:
            for device in devices:
                assert is_unavailable(fleet.send(device)), "an enrolment without a token"
            time.sleep(0.05)
        assert server.scepd("status", check=False).returncode == 1
        away.rename(here)
        certificates = [fleet.enrol(device) for device in devices]
        wait_ready(server)
        healed = time.monotonic() - began
    assert_quick(seconds, capsys, f"token away and back, {healed:.1f} s")
    assert [fleet.enrol(device) for device in devices] == certificates
    assert server.process.pid == supervisor
    assert server.process.poll() is None
    assert sorted(ready_pids(server)) == before, "healed by other processes"


def test_worker_that_is_replaced_while_the_token_is_away_serves_when_it_comes_back(make_server, capsys):
    fleet = make_server(workers=1)
    server = fleet.server
    device = fleet.device()
    here, away = server.directory / "state" / "tokens", server.directory / "state" / "tokens.away"
    here.rename(away)
    [pid] = ready_pids(server)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: ready_pids(server) not in ([], [pid]), what="a worker without a token")
    with watched(server) as seconds:
        while len(seconds) < ENOUGH:
            assert is_unavailable(fleet.send(device))
            time.sleep(0.1)
        away.rename(here)
        fleet.enrol(device)
    assert_quick(seconds, capsys, "worker started without its token")
    wait_ready(server)


def failed_start(server):
    """Start and return (exit status, the log's error lines) of a start that must fail."""
    done = subprocess.run(
        [BIN / "twistd", "--nodaemon", "--pidfile=", "scepd", "--config", server.config],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=server.directory,
    )
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, [line for line in lines if "level=error" in line or "level=critical" in line], lines


def test_wrong_pin_is_tried_once_in_ten_starts(make_server, module, monkeypatch):
    moods = []
    fleet = make_server(prepare=lambda server: moods.append(give_moods(server, module, monkeypatch)), start=False)
    server, [moods] = fleet.server, moods
    spy = server.directory / "spy.log"
    monkeypatch.setenv("PKCS11SPY", str(module))
    monkeypatch.setenv("PKCS11SPY_OUTPUT", str(spy))
    right = (server.directory / "hsm-pin").read_text()
    (server.directory / "hsm-pin").write_text("0000wrong\n")
    for attempt in range(10):
        status, errors, lines = failed_start(server)
        assert status == 78, lines
        [error] = errors
        assert "PIN" in error
        assert "Traceback" not in "".join(lines)
        assert "0000wrong" not in "".join(lines)
        assert moods.logins == ["0xa0"], f"logins after start {attempt}"  # CKR_PIN_INCORRECT
    (server.directory / "hsm-pin").write_text(right)
    server.start()
    assert set(moods.logins[1:]) == {"0"}
    fleet.enrol(fleet.device())


@pytest.mark.parametrize("what", ["session", "sessions"])
def test_lost_sessions_heal_within_one_retry(make_server, module, monkeypatch, what):
    moods = []
    fleet = make_server(workers=1, prepare=lambda server: moods.append(give_moods(server, module, monkeypatch)))
    server, [moods] = fleet.server, moods
    [pid] = ready_pids(server)
    for _ in range(3):
        device = fleet.device()
        moods.lose(what)
        reply = fleet.send(device)
        assert not moods.holds(what)
        if is_unavailable(reply):
            assert what == "sessions", "one lost session is made good within the request"
            wait_ready(server, patience=5)
        else:
            fleet.accept(device, reply)
        again = fleet.send(device)
        assert again.status == 200, "not healed within one retry"
        fleet.accept(device, again)
    assert ready_pids(server) == [pid]


def test_slow_token_means_503_past_the_deadline_and_costs_getcacaps_nothing(make_server, module, monkeypatch, capsys):
    moods = []

    def prepare(server):
        moods.append(give_moods(server, module, monkeypatch))
        server.edit(r"^\[hsm\]", '[hsm]\nlanes = 2\ndeadline = "1s"')

    fleet = make_server(workers=1, prepare=prepare)
    server, [moods] = fleet.server, moods
    [pid] = ready_pids(server)
    devices = [fleet.device() for _ in range(12)]
    replies = {}

    def send(number):
        replies[number] = fleet.send(devices[number], timeout=60)

    with watched(server) as seconds:
        moods.slow(2)
        threads = [threading.Thread(target=send, args=(number,)) for number in range(len(devices))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        moods.quick()
        while len(seconds) < ENOUGH:
            time.sleep(0.05)
    refused = [reply for reply in replies.values() if is_unavailable(reply)]
    assert len(replies) == len(devices)
    assert len(refused) == len(devices) - 2, "as many as there are lanes are begun"
    assert max(reply.seconds for reply in refused) < 2, "refused late"
    assert_quick(seconds, capsys, "slow token")
    for device in devices:
        fleet.enrol(device)
    assert ready_pids(server) == [pid]
