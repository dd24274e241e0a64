"""Faults of the token: 503 with Retry-After meanwhile, a quick GetCACaps, and healing without a restart of the service."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.faulty_token import OK, PIN_INCORRECT, compile_module
from tests.live.device import Fleet, tail
from tests.live.killing import ready_pids, wait_ready, wait_until, workers
from tests.live.moods import give_board, label_of, module_of, percentile, watched
from tests.live.server import BIN, PATIENCE, copy_of, environment, run
from tests.tokens import CHOSEN

pytestmark = pytest.mark.live

ENOUGH = 200  # requests of which the 99th percentile is taken
QUICK = 50 * PATIENCE  # milliseconds
WRONG = "00-wrong"  # as long as any token takes one


@pytest.fixture(scope="module")
def module(place):
    return compile_module(place)


@pytest.fixture
def make_server(template, place):
    """Return a function that makes and starts a server; what it served is accounted for at the end of the test."""
    fleets = []

    def made(*, workers=2, prepare=lambda _server: None, start=True):
        server = copy_of(template, place / f"fault{len(list(place.glob('fault*')))}")
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


def test_token_away_and_back_heals_without_restart(make_server, capsys):
    fleet = make_server()
    server, supervisor = fleet.server, fleet.server.process.pid
    fleet.stock()
    fleet.enrol(fleet.device())
    before = sorted(ready_pids(server))
    devices = [fleet.device() for _ in range(6)]
    with watched(server) as seconds:
        server.hide_token()
        # SoftHSM signs from its memory until it looks for its files: by the probe at the latest the outage is noticed.
        wait_until(lambda: {row["hsm"] for row in workers(server)} == {"away"}, what="every worker misses the token")
        noticed, began = len(seconds), time.monotonic()
        while len(seconds) < noticed + ENOUGH or time.monotonic() < began + 3:
            for device in devices:
                assert is_unavailable(fleet.send(device)), "an enrolment without a token"
            time.sleep(0.05)
        assert server.scepd("status", check=False).returncode == 1
        server.bring_token_back()
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
    server.hide_token()
    [pid] = ready_pids(server)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: ready_pids(server) not in ([], [pid]), what="a worker without a token")
    with watched(server) as seconds:
        while len(seconds) < ENOUGH:
            assert is_unavailable(fleet.send(device))
            time.sleep(0.1)
        server.bring_token_back()
        fleet.enrol(device)
    assert_quick(seconds, capsys, "worker started without its token")
    wait_ready(server)


def failed_start(server):
    """Return the exit status, the error lines and all lines of a start that must fail."""
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
    boards = []
    fleet = make_server(prepare=lambda server: boards.append(give_board(server, module, monkeypatch)), start=False)
    server, [board] = fleet.server, boards
    # Two witnesses: our module keeps what the token answers, OpenSC's spy in front of it writes down every call.
    spied = spy_on(server, module, monkeypatch)
    right = server.pin.read_text()
    server.pin.write_text(f"{WRONG}\n")
    for attempt in range(10):
        status, errors, lines = failed_start(server)
        assert status == 78, lines
        [error] = errors
        assert "PIN" in error
        assert not any("Traceback" in line or WRONG in line for line in lines)
        assert board.logins == [PIN_INCORRECT], f"logins after start {attempt}"
        assert spied.read_text().count("C_Login\n") == 1, f"logins after start {attempt}"
    server.pin.write_text(right)
    server.start()
    assert set(board.logins[1:]) == {OK}
    fleet.enrol(fleet.device())


def spy_on(server, module, monkeypatch):
    """Put OpenSC's spy in front of a server's module; returns its log."""
    spied = server.directory / "spy.log"
    monkeypatch.setenv("PKCS11SPY", str(module))
    monkeypatch.setenv("PKCS11SPY_OUTPUT", str(spied))
    [spy] = Path("/usr/lib").glob("*/pkcs11-spy.so")  # opensc
    server.edit(r'^module = ".*"', f'module = "{spy}"')
    return spied


def change_pin(server, old, new):
    """Change the token's user PIN behind the server's back."""
    run(
        "pkcs11-tool", "--module", module_of(server), "--token-label", label_of(server), "--login",
        "--pin", old, "--change-pin", "--new-pin", new, env=environment(server),
    )  # fmt: skip


def test_pin_changed_under_a_running_service_is_tried_once_by_all_its_workers(make_server, module, monkeypatch, capsys):
    boards = []
    fleet = make_server(prepare=lambda server: boards.append(give_board(server, module, monkeypatch)))
    server, [board] = fleet.server, boards
    device, right = fleet.device(), server.pin.read_text().strip()
    change_pin(server, right, WRONG)
    for _ in range(3):  # every worker is replaced three times, each time with the PIN that was right
        wait_until(lambda: len(ready_pids(server)) == 2, what="two workers")
        for pid in ready_pids(server):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: pid not in ready_pids(server), what="the supervisor to notice")
    wait_until(lambda: len(ready_pids(server)) == 2, what="two workers")
    with watched(server) as seconds:
        while len(seconds) < ENOUGH:
            assert is_unavailable(fleet.send(device)), "an enrolment without a login"
            time.sleep(0.05)
    assert_quick(seconds, capsys, "refused PIN")
    assert [answer for answer in board.logins if answer != OK] == [PIN_INCORRECT]
    change_pin(server, WRONG, right)
    (server.directory / "state" / "failed-logins.json").unlink()  # as the refusal's hint says
    fleet.enrol(device)
    wait_ready(server)
    assert [answer for answer in board.logins if answer != OK] == [PIN_INCORRECT]


@pytest.mark.parametrize("what", ["lose-session", "lose-sessions"])
def test_lost_sessions_heal_within_one_retry(make_server, module, monkeypatch, what):
    boards = []
    fleet = make_server(prepare=lambda server: boards.append(give_board(server, module, monkeypatch)))
    server, [board] = fleet.server, boards
    before = sorted(ready_pids(server))
    for _ in range(4):
        device = fleet.device()
        board.strike("Sign", what)
        reply = fleet.send(device)
        assert not board.waits("Sign")
        if is_unavailable(reply):
            assert what == "lose-sessions", "the lane replaces one lost session within the request"
            time.sleep(int(reply.retry_after))
            reply = fleet.send(device)
            assert reply.status == 200, f"not healed within one retry\n{tail(server)}"
        fleet.accept(device, reply)
    assert sorted(ready_pids(server)) == before, "healed by other processes"


def test_slow_token_means_503_past_the_deadline_and_costs_getcacaps_nothing(make_server, module, monkeypatch, capsys):
    boards = []

    def prepare(server):
        boards.append(give_board(server, module, monkeypatch))
        server.edit(r"^\[hsm\]", f'[hsm]\nlanes = {CHOSEN.lanes}\ndeadline = "1s"')

    fleet = make_server(workers=1, prepare=prepare)
    server, [board] = fleet.server, boards
    [pid] = ready_pids(server)
    devices = [fleet.device() for _ in range(12)]
    replies = {}

    def send(number):
        replies[number] = fleet.send(devices[number], timeout=60)

    with watched(server) as seconds:
        for function in ("Sign", "Decrypt"):
            board.strike(function, "delay", value=1000, times=None)
        threads = [threading.Thread(target=send, args=(number,)) for number in range(len(devices))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        board.heal()
        while len(seconds) < ENOUGH:
            time.sleep(0.05)
    refused = [reply for reply in replies.values() if is_unavailable(reply)]
    assert len(replies) == len(devices)
    assert len(refused) == len(devices) - CHOSEN.lanes, "as many as there are lanes are begun"
    assert max(reply.seconds for reply in refused) < 2, "refused late"
    assert_quick(seconds, capsys, "slow token")
    for device in devices:
        fleet.enrol(device)
    assert ready_pids(server) == [pid]
