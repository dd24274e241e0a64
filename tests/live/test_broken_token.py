"""A token that breaks while routers enrol: 503 with Retry-After meanwhile, healing or a clean new worker, no wrong word.

The module before SoftHSM fails or hangs on one call of one function (`tests.faulty_token`); tests/hsm/test_faults.py
has every return code in every call, here a cover of them meets a whole server with two workers.
"""

import hashlib
import http.client
import os
import signal
import threading
import time
from itertools import cycle

import pytest

from tests.faulty_token import CODES, compile_module
from tests.live.device import Fleet, tail
from tests.live.killing import ready_pids, wait_ready, wait_until
from tests.live.moods import give_board, percentile, watched
from tests.live.server import copy_of

pytestmark = pytest.mark.live

SCALE = int(os.environ.get("SCALE", "1"))
HANGING = ("Sign", "SignInit", "Decrypt", "DecryptInit", "FindObjects", "GetAttributeValue", "OpenSession", "Login")
IN_SERVICE = ("Sign", "SignInit", "Decrypt", "DecryptInit")
LIMIT = 1  # seconds: hsm.call_limit
QUICK = 100  # milliseconds
LOCKED = 0xA4  # CKR_PIN_LOCKED
TRICKLE = 0.05  # seconds between two enrolments


@pytest.fixture(scope="module")
def served(template, place):
    """A server with two workers and its board; what it served is accounted for at the end."""
    server = copy_of(template, place / "hang")
    server.edit(r"^workers = \d+", "workers = 2")
    server.edit(r"^\[hsm\]", f'[hsm]\ncall_limit = "{LIMIT}s"')
    split_pin(server)
    with pytest.MonkeyPatch.context() as patch:
        module = compile_module(server.directory)
        board = give_board(server, module, patch)
        digest = hashlib.sha256(module.read_bytes()).hexdigest()
        server.edit(r"^\[hsm\]", f'[hsm]\nmodule_sha256 = "{digest}"')
        fleet = Fleet(server)
        server.start()
        fleet.stock()
        yield fleet, board
        board.heal()
        assert server.stop() in {0, -signal.SIGTERM}
    fleet.settle_account()
    assert board.overlaps == 0, "two threads in one session (S-114)"


def split_pin(server):
    """Let two keepers have the PIN: each has a half."""
    pin, halves = server.pin.read_text().strip(), []
    for number, half in enumerate((pin[:3], pin[3:]), 1):
        halves.append(server.pin.with_name(f"half-{number}"))
        halves[-1].write_text(f"{half}\n")
        halves[-1].chmod(0o600)
    server.pin.unlink()
    parts = ", ".join(f'{{ file = "{path}" }}' for path in halves)
    server.edit(r"^pin = .*", f"pin = [{parts}]")


class Trickle:
    """Routers that enrol one after the other, each until it has its certificate; every answer is judged."""

    def __init__(self, fleet):
        self.fleet, self.served, self.put_off, self.cut, self.faults = fleet, [], 0, 0, []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception):
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        assert self.faults == []

    def _run(self):
        try:
            while not self._over.is_set():
                self._enrol(self.fleet.device())
                time.sleep(TRICKLE)
        except BaseException as fault:  # noqa: BLE001 - told in the test's own thread
            self.faults.append(fault)

    def _enrol(self, device):
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            try:
                reply = self.fleet.send(device)
            except (OSError, http.client.HTTPException):
                self.cut += 1
            else:
                if reply.status == 200:  # SUCCESS, with the right certificate, or the test fails
                    self.fleet.accept(device, reply)
                    self.served.append(time.monotonic())
                    return
                assert (reply.status, int(reply.retry_after) >= 1) == (503, True), reply
                self.put_off += 1
            time.sleep(0.1)
        raise AssertionError(f"no certificate in time\n{tail(self.fleet.server)}")

    def wait(self, count=2, *, patience=30.0):
        """Wait for that many more certificates; return how long it took."""
        begun, before = time.monotonic(), len(self.served)
        wait_until(lambda: len(self.served) >= before + count or self.faults, patience=patience, what="enrolments")
        return time.monotonic() - begun


@pytest.mark.parametrize("function", HANGING)
def test_S116_a_call_that_hangs_costs_a_worker_and_no_enrolment(served, capsys, function):
    fleet, board = served
    server = fleet.server
    wait_ready(server)
    before, logins, struck = ready_pids(server), len(board.logins), board.struck(function)
    with watched(server) as seconds, Trickle(fleet) as trickle:
        trickle.wait(2)
        board.strike(function, "hang")
        if function not in IN_SERVICE:
            board.fail("Sign", "DEVICE_REMOVED")  # one of the workers opens its token anew
        wait_until(lambda: board.struck(function) == struck + 1, what="a call that hangs")
        began = time.monotonic()
        wait_until(lambda: set(before) - set(ready_pids(server)), what="the supervisor to notice")
        noticed = time.monotonic() - began
        board.heal(function)
        wait_ready(server)
        replaced = time.monotonic() - began
        trickle.wait(2)
    with capsys.disabled():
        words = f"{trickle.put_off} times 503, {trickle.cut} connections cut"
        print(f"\n{function} hangs: noticed {noticed:.1f} s, replaced {replaced:.1f} s, {words}, p99 {percentile(seconds, 99):.0f} ms")
    assert len(set(before) - set(ready_pids(server))) == 1, "one worker is replaced"
    assert noticed < LIMIT + 3
    assert len(board.logins) - logins <= 3
    assert any("has not returned for" in line for line in server.log_lines("token_lost"))


def test_S116_a_module_that_hangs_at_the_start_is_told_and_not_waited_for(served):
    fleet, board = served
    wait_ready(fleet.server)
    before = ready_pids(fleet.server)
    for function in ("Initialize", "Login"):
        board.strike(function, "hang")
        began = time.monotonic()
        refused = fleet.server.scepd("reload", check=False)
        assert refused.returncode != 0
        assert f"C_{function}" in refused.stderr + refused.stdout
        assert "has not returned for 1 s" in refused.stderr + refused.stdout
        assert time.monotonic() - began < LIMIT + 10, "as long as the command and the self-test take"
        board.heal()
    assert ready_pids(fleet.server) == before, "the workers of before serve on"


AWAY = ("DEVICE_ERROR", "DEVICE_MEMORY", "DEVICE_REMOVED", "TOKEN_NOT_PRESENT", "TOKEN_NOT_RECOGNIZED", "SLOT_ID_INVALID",
        "HOST_MEMORY", "USER_NOT_LOGGED_IN", "CRYPTOKI_NOT_INITIALIZED")  # fmt: skip
COLD = ("FindObjectsInit", "FindObjects", "GetAttributeValue", "OpenSession", "GetTokenInfo", "Initialize", "Login")


def cells():
    """Every code once, each function with some; at SCALE 10 every code in every call."""
    if SCALE > 1:
        return [(function, code) for function in (*IN_SERVICE, *COLD) for code in CODES]
    # Codes that open the circuit whatever the call go to the calls of opening, which are made when it is open.
    away, others = [[code for code in CODES if (code in AWAY) is wanted] for wanted in (True, False)]
    return [*zip(cycle(COLD), away, strict=False), *zip(cycle(IN_SERVICE), others, strict=False)]


def test_S116_S117_every_code_while_routers_enrol_heals_without_another_process(served, capsys):
    fleet, board = served
    wait_ready(fleet.server)
    before, logins, took = ready_pids(fleet.server), len(board.logins), []
    with watched(fleet.server) as seconds, Trickle(fleet) as trickle:
        for function, code in cells():
            struck = board.struck(function)
            board.fail(function, code)
            if function in COLD:
                board.fail("Sign", "DEVICE_REMOVED")
            wait_until(lambda f=function, s=struck: board.struck(f) > s, what=f"{function} {code}")
            took.append(trickle.wait())
            wait_ready(fleet.server)
            assert trickle.faults == []
    answers = board.logins[logins:]
    with capsys.disabled():
        words = f"{len(answers)} logins, {trickle.put_off} times 503, p99 {percentile(seconds, 99):.0f} ms"
        print(f"\n{len(took)} faults, healed in {max(took):.1f} s at most, {words}")
    assert ready_pids(fleet.server) == before, "healed by other processes"
    assert len(answers) <= 2 * len(took)
    assert trickle.cut == 0


def test_S110_a_token_that_signs_wrongly_gives_no_wrong_certificate_and_no_wrong_answer(served):
    fleet, board = served
    wait_ready(fleet.server)
    with Trickle(fleet) as trickle:
        for number in range(6):
            struck = board.struck("Sign")
            board.strike("Sign", "flip", skip=number % 2)  # certificates and replies, as it happens
            wait_until(lambda s=struck: board.struck("Sign") > s, what="a wrong signature")
            trickle.wait(3)
    assert fleet.server.log_lines("signature_wrong")


def test_S114_no_call_is_made_by_a_reactors_thread(served):
    fleet, board = served
    wait_ready(fleet.server)
    before = board.by_first_threads
    for _ in range(4):
        fleet.enrol(fleet.device())
    board.fail("Sign", "DEVICE_REMOVED")
    for _ in range(4):
        fleet.enrol(fleet.device())
    assert board.by_first_threads == before


def test_S117_a_locked_pin_is_tried_once_by_all_workers(served):
    fleet, board = served
    wait_ready(fleet.server)
    logins = len(board.logins)
    board.fail("Login", LOCKED, times=None)
    board.fail("Sign", "DEVICE_REMOVED")
    device = fleet.device()
    wait_until(lambda: fleet.send(device) and LOCKED in board.logins[logins:], what="a locked PIN")
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert fleet.send(device).status in {200, 503}  # the other worker has its login still
        time.sleep(0.1)
    assert board.logins[logins:].count(LOCKED) == 1
    board.heal()
    (fleet.server.directory / "state" / "failed-logins.json").unlink()
    fleet.enrol(device)
    wait_ready(fleet.server)
