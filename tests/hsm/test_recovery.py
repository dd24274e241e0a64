"""Lanes over SoftHSM: the token is pulled and put back while requests come, and the process goes on."""

import itertools
import time
from contextlib import closing, suppress
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from pkcs11 import exceptions

from scepd.hsm.keys import KeyName, open_decryption_key, open_signing_key
from scepd.hsm.lanes import Care, Lanes
from scepd.hsm.pin import PinMemory
from scepd.hsm.probe import probe_signing_key
from scepd.hsm.token import Token
from scepd.message.algorithms import PKCS1V15
from scepd.records import Secret
from scepd.refusal import Unavailable

from .pump import Pump
from .tokens import PIN, SECRET

QUICK = Care(
    probe_interval=timedelta(seconds=0.1),
    longest_pause=timedelta(seconds=0.2),
    tick=timedelta(seconds=0.02),
    give_up=timedelta(seconds=15),
)
ALGORITHM = ec.ECDSA(hashes.SHA256())


class Context:
    """A lane's session and keys."""

    def __init__(self, bench):
        self.session = bench.token.session()
        self.ca = open_signing_key(self.session, KeyName(label="ca"), bench.certificates["ca"])
        name = KeyName(label="ra-decrypt")
        self.ra = open_decryption_key(self.session, name, bench.certificates["ra-decrypt"], SECRET)


@pytest.fixture
def pump():
    return Pump()


@pytest.fixture
def deaths():
    return []


@pytest.fixture
def lanes(bench, pump, deaths):
    lanes = Lanes(
        lambda: Context(bench),
        size=2,
        depth=64,
        deadline=timedelta(seconds=5),
        reactor=pump,
        probe=lambda context: probe_signing_key(context.ca, b"probe"),
        recover=bench.token.recover,
        drop_context=lambda context: context.session.close(),
        on_dead=deaths.append,
        care=QUICK,
    )
    pump.result(lanes.start())
    yield lanes
    pump.result(lanes.stop())


def enrol(context):
    """Decrypt and sign, as an enrolment does; the result is right or it raises."""
    encrypted = context.ra.public_key.encrypt(b"k" * 16, padding.PKCS1v15())
    assert context.ra.unwrap(encrypted, PKCS1V15, 16) == b"k" * 16
    context.ca.public_key().verify(context.ca.sign(b"data", ALGORITHM), b"data", ALGORITHM)


def serve_until(pump, lanes, ready, seconds: float = 15.0) -> dict[str, int]:
    """Send requests until `ready(outcomes)`; return how many were served and refused."""
    outcomes, end = {"served": 0, "refused": 0}, time.monotonic() + seconds

    def count(_result):
        outcomes["served"] += 1

    def refused(failure):
        failure.trap(Unavailable)
        outcomes["refused"] += 1

    while not ready(outcomes):
        assert time.monotonic() < end, outcomes
        lanes.run(enrol).addCallbacks(count, refused)
        pump.turn(0.005)
    return outcomes


def test_S116_the_token_directory_goes_and_comes_back(bench, pump, lanes, deaths):
    assert serve_until(pump, lanes, lambda outcomes: outcomes["served"] >= 5)["refused"] == 0
    for turn in itertools.count(1):
        bench.hide()
        serve_until(pump, lanes, lambda outcomes: outcomes["refused"] >= 5)
        pump.until(lambda: lanes.state == "away")
        bench.bring_back()
        returned = time.monotonic()
        serve_until(pump, lanes, lambda outcomes: outcomes["served"] >= 5)
        assert time.monotonic() - returned < 5
        assert lanes.recoveries == turn
        if turn == 2:
            break
    assert deaths == []


def test_S116_an_idle_service_notices_by_its_probe(bench, pump, lanes, deaths):
    bench.hide()
    pump.until(lambda: lanes.state == "away", 5)
    bench.bring_back()
    pump.until(lambda: lanes.state == "up", 10)
    pump.result(lanes.run(enrol))
    assert deaths == []


def test_S116_a_lost_session_heals_without_opening_the_circuit(pump, lanes):
    def lose(context):
        with suppress(exceptions.SessionHandleInvalid):  # this lane's turn came twice
            context.session.handle.close()

    for _ in range(4):
        pump.result(lanes.run(lose))
        pump.result(lanes.run(enrol))
    assert lanes.recoveries == 0
    assert lanes.rebuilt >= 1


def test_S116_logging_out_heals_by_recovery(bench, pump, lanes, deaths):
    bench.token._anchor.close()  # C_Logout: the login of the whole process is gone
    serve_until(pump, lanes, lambda outcomes: outcomes["refused"] >= 1)
    pump.until(lambda: lanes.state == "up", 10)
    pump.result(lanes.run(enrol))
    assert deaths == []


def test_S117_a_pin_changed_meanwhile_costs_one_login(bench, pump, deaths, tmp_path):
    memory = PinMemory(tmp_path / "pin.json", b"k" * 32)
    bench.module.reinitialise()
    bench.token = Token.open(bench.module, bench.settings, Secret(PIN), memory=memory)
    with closing(bench.token.session(writable=True)) as session:
        session.handle.set_pin(PIN, "another-pin")
    lanes = Lanes(
        lambda: Context(bench), size=1, depth=8, deadline=timedelta(seconds=5), reactor=pump,
        recover=bench.token.recover, on_dead=deaths.append, care=QUICK,
    )  # fmt: skip
    pump.result(lanes.start())
    bench.token._anchor.close()
    with pytest.raises(Unavailable):
        pump.result(lanes.run(enrol))
    pump.until(lambda: deaths, 10)
    assert "refused the PIN" in deaths[0]
    assert len(memory.read()) == 1
    pump.result(lanes.stop())
