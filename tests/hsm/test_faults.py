"""Every return code in every call, on lanes over SoftHSM behind a module that breaks what it is told to (S-116, S-117).

After each fault the lanes serve again without another process; meanwhile requests are refused with 503, no signature
and no content key is wrong, and logins stay few.
"""

import itertools
import os
import time
from collections import Counter
from datetime import timedelta

import attrs
import pytest

from scepd.hsm.lanes import Lanes
from scepd.hsm.pin import PinMemory
from scepd.hsm.probe import probe_decryption_key, probe_signing_key
from scepd.hsm.recovery import Thrift
from scepd.refusal import Unavailable
from tests.faulty_token import CODES, Board, compile_module, surrounding

from .pump import Pump
from .test_recovery import QUICK, Context, enrol
from .tokens import open_bench

# python-pkcs11 ends a search that never began once more when it forgets it, and cannot raise there.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SCALE = int(os.environ.get("SCALE", "1"))

# What each request calls; and what is called while the token is opened and the keys are found.
SERVING = ("SignInit", "Sign", "DecryptInit", "Decrypt")
OPENING = (
    "Initialize", "Finalize", "GetSlotList", "GetSlotInfo", "GetTokenInfo", "GetMechanismList", "OpenSession",
    "CloseSession", "FindObjectsInit", "FindObjects", "FindObjectsFinal", "GetAttributeValue", "Login",
)  # fmt: skip
LOGIN_CODES = {
    "USER_ALREADY_LOGGED_IN": 0x100,
    "USER_PIN_NOT_INITIALIZED": 0x102,
    "USER_TYPE_INVALID": 0x103,
    "USER_ANOTHER_ALREADY_LOGGED_IN": 0x104,
}
STAYING = ("DEVICE_ERROR", "SESSION_HANDLE_INVALID", "GENERAL_ERROR", "VENDOR_DEFINED")
HEALED = 4  # requests served one after the other
PATIENCE = 5.0  # seconds in which a fault that happens once is healed
OUTAGE = 0.5  # seconds

CARE = attrs.evolve(QUICK, probe_interval=timedelta(seconds=0.2), logins=3, login_every=timedelta(seconds=1))


def cells_of_opening():
    """Every code in some calls, every call with some codes; at SCALE 10 every code in every call."""
    cells = [(function, code) for function in OPENING for code in CODES]
    some = cells if SCALE > 1 else [cell for number, cell in enumerate(cells) if number % 11 == 0]
    return some + [("Login", code) for code in LOGIN_CODES]


class Rig:
    """Two lanes that enrol over the faulty module."""

    def __init__(self, bench, board, memory):
        self.bench, self.board, self.memory = bench, board, memory
        self.pump, self.deaths = Pump(), []
        self.lanes = Lanes(
            lambda: Context(bench), size=2, depth=64, deadline=timedelta(seconds=5), reactor=self.pump,
            probe=self._probe, recover=bench.token.recover, drop_context=lambda context: context.session.close(),
            on_dead=self.deaths.append, care=CARE,
        )  # fmt: skip
        self.pump.result(self.lanes.start())

    def _probe(self, context):
        probe_signing_key(context.ca, b"probe")
        probe_decryption_key(context.ra, b"k" * 16)

    def ask(self):
        """Send a request; whatever is not served is refused with 503: `enrol` checks what the token made."""
        try:
            self.pump.result(self.lanes.run(enrol))
        except Unavailable:
            return "refused"
        return "served"

    def heal(self):
        """Wait for requests to be served again, whichever lane takes them; return the seconds it took."""
        begun, served, seen = time.monotonic(), 0, Counter()
        while served < HEALED:
            answer = self.ask()
            seen[answer] += 1
            served = served + 1 if answer == "served" else 0
            assert not self.deaths, self.deaths
            assert time.monotonic() - begun < PATIENCE, seen
            self.pump.turn(0.002)
        return time.monotonic() - begun

    def forget(self):
        """Begin a cell as if the last were long ago."""
        self.memory.path.unlink(missing_ok=True)
        self.lanes._thrift = Thrift(self.lanes.care, time.monotonic)


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return compile_module(tmp_path_factory.mktemp("module"))


@pytest.fixture(scope="module")
def board(module, prepared):
    """One board for all: a process maps it once, when it loads the module."""
    with surrounding(Board(module.with_name("board")), prepared.made.module) as board:
        yield board


@pytest.fixture
def rig(prepared, tmp_path, module, board):
    memory = PinMemory(tmp_path / "pin.json", b"k" * 32)
    bench = open_bench(prepared, tmp_path, str(module), memory)
    rig = Rig(bench, board, memory)
    yield rig
    board.heal()
    rig.pump.result(rig.lanes.stop())
    assert (rig.deaths, board.overlaps) == ([], 0)
    bench.module.finalise()


def test_S116_every_code_in_every_call_of_a_request_heals(rig):
    slowest = {}
    for function, code in itertools.product(SERVING, CODES):
        rig.forget()
        logins, struck = len(rig.board.logins), rig.board.struck(function)
        rig.board.fail(function, code)
        rig.ask()
        slowest[function, code] = rig.heal()
        assert rig.board.struck(function) == struck + 1, (function, code)
        assert len(rig.board.logins) - logins <= 1, (function, code)
    assert max(slowest.values()) < 2, slowest


def test_S116_S117_every_code_in_calls_of_opening_heals(rig):
    codes = {**CODES, **LOGIN_CODES}
    for function, code in cells_of_opening():
        rig.forget()
        logins, struck = len(rig.board.logins), rig.board.struck(function)
        rig.board.fail(function, codes[code])
        rig.board.fail("Sign", "DEVICE_REMOVED")  # so that the token is opened anew
        assert rig.ask() == "refused"
        rig.heal()
        assert rig.board.struck(function) == struck + 1, (function, code)
        assert len(rig.board.logins) - logins <= 2, (function, code)


@pytest.mark.parametrize("function", [*SERVING, "FindObjects", "GetAttributeValue", "OpenSession", "Login"])
def test_S116_S117_what_stays_for_a_while_heals_when_it_ends_and_makes_no_storm_of_logins(rig, function):
    for code in STAYING if SCALE > 1 else STAYING[len(function) % 4 :][:1]:
        rig.forget()
        logins = len(rig.board.logins)
        rig.board.fail(function, code, times=None)
        if function not in SERVING:
            rig.board.fail("Sign", "DEVICE_REMOVED")
        end, seen = time.monotonic() + OUTAGE * min(SCALE, 4), Counter()
        while time.monotonic() < end:
            seen[rig.ask()] += 1
            rig.pump.turn(0.005)
        assert seen["refused"] > 0, (function, code)
        rig.board.heal()
        rig.memory.path.unlink(missing_ok=True)  # that an unclear login is put off has tests of its own
        rig.heal()
        assert len(rig.board.logins) - logins <= CARE.logins + 3, (function, code, seen)


@pytest.mark.parametrize("function", ["Sign", "Decrypt"])
def test_S110_S116_a_token_that_answers_wrongly_is_found_by_the_probe(rig, function):
    rig.board.strike(function, "flip", times=None)
    rig.pump.until(lambda: rig.lanes.state == "away", 5)
    rig.board.heal()
    rig.heal()


def test_S110_one_wrong_signature_is_told_and_made_anew_on_another_session(rig, events):
    for _ in range(9):
        rig.forget()
        rig.board.strike("Sign", "flip")
        rig.ask()  # a probe may have been struck instead: then the token was away
        rig.heal()
        told = [event for event in events if event.get("event") == "signature_wrong"]
        if told:
            break
    assert rig.lanes.rebuilt >= 1
    assert told[0]["cause"] == "C_Sign gave a signature that does not verify"
    assert "scepd hsm probe" in told[0]["hint"]


def test_S117_a_token_that_relapses_again_and_again_is_logged_in_to_ever_more_seldom(rig):
    begun, logins = time.monotonic(), len(rig.board.logins)
    while time.monotonic() - begun < 2.5:
        if rig.ask() == "served":
            rig.board.fail("Sign", "DEVICE_REMOVED")
        rig.pump.turn(0.005)
    assert rig.lanes.recoveries >= 2
    assert len(rig.board.logins) - logins <= CARE.logins + 3
    rig.board.heal()
    rig.heal()
