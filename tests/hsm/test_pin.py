"""The memory of failed logins."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pkcs11 import exceptions

from scepd.hsm.faults import TokenFault
from scepd.hsm.pin import PinMemory
from scepd.hsm.token import Token, _open_with_pin
from scepd.records import Secret
from scepd.refusal import OperatorError

from .run import finish, start
from .tokens import PIN, SOFTHSM

SPY = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"


@pytest.fixture
def memory(tmp_path):
    return PinMemory(tmp_path / "pin.json", b"k" * 32)


def test_S117_fifty_starts_in_five_processes_make_one_login(bench, tmp_path):
    state, children = tmp_path / "pin.json", []
    bench.module.finalise()
    for number in range(5):
        log = str(tmp_path / f"spy-{number}.log")
        children.append(start("logins", SPY, str(state), "10", PKCS11SPY=SOFTHSM, PKCS11SPY_OUTPUT=log))
    told = "".join(finish(child) for child in children).splitlines()
    assert len(told) == 50
    assert sum("refused the PIN (" in line for line in told) == 1
    assert sum("not tried again" in line for line in told) == 49
    spied = "".join(path.read_text() for path in tmp_path.glob("spy-*.log"))
    assert spied.count("C_OpenSession") >= 50  # the spy saw every start
    assert spied.count("C_Login") == 1


def test_S117_the_same_pin_is_refused_and_another_allowed(bench, memory):
    bench.token.recover()
    bench.module.reinitialise()
    with pytest.raises(OperatorError) as caught:
        Token.open(bench.module, bench.settings, Secret("wrong"), memory=memory)
    assert "refused the PIN" in caught.value.problem
    with pytest.raises(OperatorError) as caught:
        Token.open(bench.module, bench.settings, Secret("wrong"), memory=memory)
    assert "not tried again" in caught.value.problem
    assert str(memory.path) in caught.value.hint
    Token.open(bench.module, bench.settings, Secret(PIN), memory=memory)
    assert memory.read() == {}


def test_S117_each_token_has_its_own_memory(memory):
    with memory.attempt(Secret("wrong"), "A") as attempt:
        attempt.refused()
    with memory.attempt(Secret("wrong"), "B") as attempt:
        attempt.refused()
    with memory.attempt(Secret("right"), "A") as attempt:
        attempt.accepted()
    with memory.attempt(Secret("wrong"), "A"):
        pass
    with pytest.raises(OperatorError), memory.attempt(Secret("wrong"), "B"):
        pass


def test_S117_logins_without_a_verdict_are_put_off(tmp_path):
    times = [datetime(2026, 1, 1, tzinfo=UTC)]
    memory = PinMemory(tmp_path / "pin.json", b"k" * 32, lambda: times[0])
    for _ in range(3):
        with memory.attempt(Secret("x"), "A") as attempt:
            attempt.unclear()
    with pytest.raises(TokenFault), memory.attempt(Secret("x"), "A"):
        pass
    times[0] += timedelta(minutes=11)
    with memory.attempt(Secret("x"), "A") as attempt:
        attempt.accepted()
    assert memory.read() == {}


@pytest.mark.parametrize(("away", "most"), [(False, 12), (True, 364)])
def test_S117_a_token_that_never_gives_a_verdict_is_asked_ever_more_seldom(tmp_path, away, most):
    times = [datetime(2026, 1, 1, tzinfo=UTC)]
    memory, logins, gaps, last = PinMemory(tmp_path / "pin.json", b"k" * 32, lambda: times[0]), 0, [], times[0]
    while times[0] < datetime(2026, 1, 1, 1, tzinfo=UTC):  # an hour of restarts, one a second
        with suppress(TokenFault), PinMemory(memory.path, memory.key, memory.now).attempt(Secret("x"), "A") as attempt:
            attempt.unclear(away=away)
            logins += 1
            gaps.append((times[0] - last).total_seconds())
            last = times[0]
        times[0] += timedelta(seconds=1)
    assert logins <= most
    assert gaps[:3] == [0, 1, 1]
    assert max(gaps) == (10 if away else 600)


def test_S117_another_login_that_does_not_come_back_is_not_waited_for_for_ever(memory, monkeypatch):
    monkeypatch.setattr("scepd.hsm.pin._LOCK_PATIENCE", 0.2)
    with memory.attempt(Secret("x"), "A"):
        with pytest.raises(TokenFault) as caught, memory.attempt(Secret("x"), "A"):
            pass
        assert "another process" in caught.value.cause
    with memory.attempt(Secret("x"), "A"):
        pass


@pytest.mark.parametrize(
    ("error", "remembered"),
    [
        (exceptions.PinIncorrect(), {"refused": True}),
        (exceptions.PinLenRange(), {"refused": True}),
        (exceptions.PinInvalid(), {"refused": True}),
        (exceptions.GeneralError(), {"unclear": 1}),
        (exceptions.DeviceRemoved(), {"unclear": 1}),
        (exceptions.PinLocked(), {"refused": True}),
        (exceptions.PinExpired(), {"refused": True}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_S117_what_the_token_said_is_remembered(memory, error, remembered):
    class Angry:
        label = "test"

        def open(self, **_options):
            raise error

    with memory.attempt(Secret("x"), "A") as attempt, pytest.raises((OperatorError, TokenFault)):
        _open_with_pin(Angry(), Secret("x"), attempt)
    entry = memory.read().get("A", {})
    assert {word: entry[word] for word in ("refused", "unclear") if word in entry} == remembered


def test_S113_the_state_file_holds_no_pin_and_only_we_read_it(memory):
    with memory.attempt(Secret("canary-4711"), "A") as attempt:
        attempt.refused()
    text = memory.path.read_text()
    assert "canary" not in text
    assert json.loads(text)["A"]["digest"] != PinMemory(memory.path, b"other").digest(Secret("canary-4711"), "A")
    assert memory.path.stat().st_mode & 0o077 == 0
    assert "6b6b" not in repr(memory)
    assert "kkkk" not in repr(memory)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_S117_an_unreadable_memory_refuses_the_login(memory, content):
    Path(memory.path).write_bytes(content)
    with pytest.raises(OperatorError) as caught, memory.attempt(Secret("x"), "A"):
        pass
    assert str(memory.path) in caught.value.hint
