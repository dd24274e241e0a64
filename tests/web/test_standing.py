"""Who goes first: networks that enrol before those that nobody knows, and these before those that guess (threats S-30)."""

import pytest
from twisted.internet.defer import succeed

from scepd.enroll.reply import Answer
from scepd.records import Standing
from scepd.web.endpoint import Endpoint, Phase
from scepd.web.scep import ScepResource
from scepd.web.standing import Standings

from .harness import Setting

SECOND = 1_000_000_000


class Clock:
    now = 0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_S30_a_network_is_known_by_its_last_answer_for_a_while(clock):
    standings = Standings(clock=clock)
    assert standings.of("a") is Standing.unknown
    standings.issued("a")
    assert standings.of("a") is Standing.good
    standings.failed("a")
    assert standings.of("a") is Standing.doubtful
    clock.now = 60 * SECOND
    assert standings.of("a") is Standing.good
    standings.failed("a")
    standings.issued("a")
    assert standings.of("a") is Standing.good
    clock.now += 3600 * SECOND
    assert standings.of("a") is Standing.unknown
    assert standings.of("b") is Standing.unknown


def test_S30_no_number_of_guessers_makes_the_devices_forgotten(clock):
    standings = Standings(clock=clock, capacity=10)
    standings.issued("device")
    for number in range(100):
        standings.failed(f"guesser {number}")
    assert standings.of("device") is Standing.good
    assert [standings.of(f"guesser {number}") for number in (89, 90)] == [Standing.unknown, Standing.doubtful]
    for number in range(9):
        standings.issued(f"other {number}")
    standings.issued("device")  # whoever came last is kept
    standings.issued("one more")
    assert standings.of("device") is Standing.good
    assert standings.of("other 0") is Standing.unknown


def ask(setting, host):
    octets = b"POST /scep/p?operation=PKIOperation HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\nm"
    return setting.client(host).send(octets).replies[0]


def serve(standings, answer):
    endpoint = Endpoint("p", lambda: Phase(b"AES", b"0", "application/x-x509-ca-cert"), answer)
    return Setting(ScepResource({"p": endpoint}, standings=standings))


def test_S30_guessers_share_what_devices_do_not_need(clock, lines):
    """Of guesses from a hundred networks each has its first, and all together twenty and two a second; devices have all of theirs."""
    guesses = []

    def answer(_body, origin):
        if origin.address.startswith("203.0.113."):
            return succeed(Answer(b"x", "issued"))
        guesses.append(origin.address)
        return succeed(Answer(b"x", "rejected", reason="challenge_invalid"))

    setting = serve(Standings(clock=clock, after_failure=120), answer)
    devices, guessers = set(), [f"10.0.{n}.1" for n in range(100)]
    for second in range(10):
        clock.now = second * SECOND
        for host in guessers:
            ask(setting, host)
        devices |= {ask(setting, "203.0.113.7").status for _ in range(5)}
    assert devices == {200}
    assert len(guesses) == 100 + 20 + 2 * 8
    refused = ask(setting, guessers[0])
    assert (refused.status, refused.headers[b"Retry-After"]) == (429, b"1")
    assert "outcome=limited reason=doubtful" in lines[-1]


def test_S30_requests_carry_the_standing_of_their_network(clock):
    came, answers = [], [
        Answer(b"x", "rejected", reason="challenge_invalid"), Answer(b"x", "issued"), Answer(b"x", "pending"),
        Answer(b"x", "rejected", reason="subject_refused"), Answer(b"x", "issued"), Answer(b"x", "issued"),
    ]  # fmt: skip

    def answer(_body, origin):
        came.append((origin.address, origin.standing))
        return succeed(answers.pop(0))

    setting = serve(Standings(clock=clock), answer)
    for host in ("192.0.2.7", "198.51.100.7", "203.0.113.7", "203.0.113.7", "192.0.2.8", "198.51.100.8"):
        ask(setting, host)
    assert came == [
        ("192.0.2.7", Standing.unknown), ("198.51.100.7", Standing.unknown), ("203.0.113.7", Standing.unknown),
        ("203.0.113.7", Standing.unknown), ("192.0.2.8", Standing.doubtful), ("198.51.100.8", Standing.good),
    ]  # fmt: skip
