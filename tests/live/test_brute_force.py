"""Ten thousand guesses from a thousand places while devices enrol: nobody gets in, and no device notices (threats S-30).

Devices enrol at a steady pace, in turns without and with somebody who guesses; compared is the time that their requests
took in all quiet turns with that in all others. The guesser runs on the same two cores and is a load beside that on the
server, so it leaves the processor to others where it can. On a machine that others use as well the slowest percent says
little: of three sieges one must show what is claimed; who gets in, and whether devices do, is judged in each.
"""

import multiprocessing
import os
import re
import secrets
import signal
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime

import pytest

from scepd.message.certrep import read_certrep
from scepd.message.names import PkiStatus
from tests import make
from tests.live import guessing
from tests.live.device import EVERYTHING, certificate
from tests.live.guessing import Aim
from tests.live.http_wire import Wire, request
from tests.live.opened import opened
from tests.live.server import copy_of
from tests.ports import free_port

pytestmark = pytest.mark.live

SCALE = int(os.environ.get("SCALE", "1"))
GUESSES, ADDRESSES, TURNS = 10_000 * SCALE, 1_000, 4
PER_SECOND = 600  # guesses: of each place that is at work, twelve a second
DEVICES, PACE = 4, 0.1  # seconds between two enrolments of a device
QUIET = 1.2 * SCALE  # seconds of a turn: the slowest percent of few requests is less than that of many
SIEGES = 3
CONFIG = """
[listener.behind]
address = "127.0.0.1:{port}"
trusted_proxies = "networks.txt"
client_address_header = "X-Forwarded-For"

[profile.guessed]
issuer = "devices"
challenge = [{{ method = "one-time" }}, {{ method = "static", secret = {{ file = "hex-challenge" }} }}]
password_encryption = true
"""
CHALLENGE = secrets.token_hex(16)
TARGET = "/scep/guessed?operation=PKIOperation"


class Fleet:
    """Devices that enrol at their own pace, each from its own address, over a connection that stays open."""

    def __init__(self, aim):
        self.aim = aim
        self.parties = [make.party(f"device-{number}") for number in range(DEVICES)]
        self.seconds = {"quiet": [], "attacked": []}
        self.answers = []
        self.stock = []

    def prepare(self, count):
        """Make requests ahead."""
        self.stock = [[self._request(number) for _ in range(count)] for number in range(DEVICES)]

    def _request(self, number):
        body = make.pkcs_req(
            challenge=CHALLENGE, subject=make.name(CN=f"d-{secrets.token_hex(6)}"), signer=self.parties[number],
            recipient=make.Party(None, self.aim.decrypt), transaction_id=secrets.token_hex(16),
            sender_nonce=secrets.token_bytes(16), signing_time=datetime.now(UTC),
        )  # fmt: skip
        return request("POST", TARGET, body, f"X-Forwarded-For: 192.0.2.{number + 1}")

    def enrol(self, phase, is_over):
        """Let every device go on until it is over."""
        threads = [threading.Thread(target=self._go_on, args=(n, phase, is_over)) for n in range(DEVICES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _go_on(self, number, phase, is_over):
        with Wire(self.aim.port, timeout=60) as wire:
            time.sleep(PACE * number / DEVICES)
            while not is_over():
                octets = self.stock[number].pop() if self.stock[number] else self._request(number)
                begun = time.perf_counter()
                reply = wire.send(octets).reply()
                spent = time.perf_counter() - begun
                self.seconds[phase].append(spent)
                self.answers.append((phase, reply))
                time.sleep(max(PACE - spent, 0))

    def successes(self, phase):
        """Which part of the devices' requests was granted at once."""
        found = [self._is_success(reply) for which, reply in self.answers if which == phase]
        return sum(found) / len(found)

    def _is_success(self, reply):
        return reply.status == 200 and read_certrep(reply.body, trusted=[self.aim.sign]).status is PkiStatus.SUCCESS

    def words(self):
        numbers = {phase: f"p50 {statistics.median(s) * 1000:.1f}, p99 {self.p99(phase):.1f} ms" for phase, s in self.seconds.items()}
        return f"{numbers}, {self.successes('attacked'):.1%} of {len(self.seconds['attacked'])} granted"

    def p99(self, phase):
        return statistics.quantiles(self.seconds[phase], n=100, method="inclusive")[98] * 1000


@pytest.fixture(scope="module")
def server(template, place):
    server = copy_of(template, place / "guessed")
    server.edit(r"^workers = \d+", "workers = 2")
    server.lifts_limits = False  # those that everybody has
    (server.directory / "networks.txt").write_text("127.0.0.1\n")
    secret = server.directory / "hex-challenge"
    secret.write_text(CHALLENGE)
    secret.chmod(0o600)
    with server.config.open("a") as config:
        config.write(CONFIG.format(port=free_port()))
    server.start()
    yield server
    assert server.stop() in {0, -signal.SIGTERM}
    server.check_store()


@pytest.fixture
def aim(server):
    port = int(re.search(r'address = "127.0.0.1:(\d+)"\ntrusted_proxies', server.config.read_text())[1])
    return Aim(port, TARGET, *(certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt")))


@pytest.fixture
def guesser():
    """A process with somebody who guesses."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=guessing.give_way) as pool:
        yield pool


def siege(aim, guesser):
    """Return the fleet after all turns, how often each answer came to a guess, and the seconds of guessing."""
    fleet, outcomes, seconds = Fleet(aim), Counter(), 0
    for turn in range(TURNS):
        fleet.prepare(100 * SCALE)
        guesser.submit(guessing.prepare, aim, GUESSES // TURNS, range(turn, ADDRESSES, TURNS)).result()
        end = time.monotonic() + QUIET
        fleet.enrol("quiet", lambda end=end: time.monotonic() > end)
        running = guesser.submit(guessing.attack, aim, PER_SECOND)
        fleet.enrol("attacked", running.done)
        found, wall = running.result()
        outcomes, seconds = outcomes + found, seconds + wall
    return fleet, outcomes, seconds


def test_S30_devices_do_not_notice_who_guesses_from_a_thousand_places(server, aim, guesser, capsys):
    enrolled = 0
    for _ in range(SIEGES):
        fleet, outcomes, seconds = siege(aim, guesser)
        enrolled += len(fleet.answers)
        with capsys.disabled():
            print(f"\n{dict(outcomes)} of {GUESSES} guesses at {GUESSES / seconds:.0f}/s; {fleet.words()}")
        assert set(outcomes) <= {"FAILURE", 429, 503}
        assert sum(outcomes.values()) == GUESSES
        assert outcomes["FAILURE"] < GUESSES / 2
        assert fleet.successes("attacked") >= 0.99
        if fleet.p99("attacked") < 2 * fleet.p99("quiet"):
            break
    else:
        pytest.fail(f"devices notice: {fleet.words()}")
    with opened(server) as (repository, _issuers):
        transactions = repository.transactions(limit=EVERYTHING)
        acts = Counter(row.action for row in repository.audit_chains())
    assert all(row.subject.startswith("CN=d-") for row in transactions)
    assert acts["certificate_issued"] == len(transactions) <= enrolled
    assert set(acts) <= {"transaction_claimed", "certificate_issued", "crl_published"}  # no row for a guess
