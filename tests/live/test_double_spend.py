"""One one-time challenge, two hundred keys at once, four workers: whatever the race, one certificate (threats S-35)."""

import contextlib
import os
import random
import re
import secrets
import signal
import time
from collections import Counter
from datetime import UTC, datetime

import attrs
import pytest
from cryptography import x509

from scepd.app.service import ask_desk
from scepd.message.algorithms import CryptoPolicy
from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.enveloped import decrypt
from scepd.message.names import PkiStatus
from scepd.records import CertificateState, ChallengeState, Secret, TransactionState
from tests import make
from tests.live.device import EVERYTHING, certificate, running
from tests.live.http_wire import Wire, request
from tests.live.killing import wait_until
from tests.live.opened import opened
from tests.live.server import copy_of
from tests.tokens import CHOSEN

pytestmark = pytest.mark.live

SCALE = int(os.environ.get("SCALE", "1"))
ROUNDS = (50 if SCALE == 1 else 100 * SCALE) // CHOSEN.slowness
RIVALS, WORKERS = 200, 4
FAIR_ROUNDS = 50  # in so many each worker wins some of the races, but for once in half a million
REFUSED = "challenge rejected"
TARGET = "/scep/race?operation=PKIOperation"
# Every rival may be in one worker's queue at the same moment. Refused ones may fill half of it, which is room for all.
PATIENT = f'[hsm]\ndeadline = "{10 * CHOSEN.slowness}s"'
CONFIG = """
[limits]
connections_per_address = 1000

[profile.race]
issuer = "devices"
challenge = [{ method = "one-time" }]
password_encryption = true
"""


@attrs.frozen
class Rival:
    """A request of one key of the pool."""

    party: make.Party
    name: str
    transaction_id: str
    octets: bytes


@attrs.frozen
class Winner:
    """Whose certificate a round ended with."""

    rival: Rival
    challenge: Secret
    certificate_der: bytes


class Race:
    """A server of four workers, a kept connection and a key for each rival."""

    def __init__(self, server, stack):
        self.server = server
        self.sign, recipient = (certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt"))
        self.recipient = make.Party(None, recipient)
        self.pool = [make.party(f"rival-{number}", "p256") for number in range(RIVALS)]
        self.wires = [stack.enter_context(Wire(server.http, timeout=60 * CHOSEN.slowness)) for _ in range(RIVALS)]

    def challenges(self, count):
        made = []
        while len(made) < count:
            asked = {"profile": "race", "count": min(count - len(made), 50)}
            status, rows = ask_desk(running(self.server), "POST", "/api/v1/challenges", asked)
            assert status == 200, rows
            made += [row["challenge"] for row in rows]
        return made

    def rivals(self, challenge):
        return [self._rival(party, challenge) for party in self.pool]

    def _rival(self, party, challenge):
        name, transaction_id = f"d-{secrets.token_hex(6)}", secrets.token_hex(16)
        body = make.pkcs_req(
            challenge=challenge, subject=make.name(CN=name), signer=party, recipient=self.recipient,
            transaction_id=transaction_id, sender_nonce=secrets.token_bytes(16), signing_time=datetime.now(UTC),
        )  # fmt: skip
        return Rival(party, name, transaction_id, request("POST", TARGET, body))

    def start(self, rivals):
        """Send everything, in another order each time and so over other connections and workers."""
        random.shuffle(rivals)
        for wire, rival in zip(self.wires, rivals, strict=True):
            wire.send(rival.octets)
        return rivals

    def finish(self, rivals):
        """Return whose request was answered how."""
        return [(rival, wire.reply()) for wire, rival in zip(self.wires, rivals, strict=True)]

    def judge(self, challenge, replies):
        """Return the one winner; everybody else has been told why not."""
        assert {reply.status for _, reply in replies} == {200}, [reply for _, reply in replies if reply.status != 200]
        answers = [(rival, read_certrep(reply.body, trusted=[self.sign])) for rival, reply in replies]
        assert all(answer.transaction_id == rival.transaction_id for rival, answer in answers)
        won = [(rival, answer) for rival, answer in answers if answer.status is PkiStatus.SUCCESS]
        assert len(won) == 1, [rival.name for rival, _ in won]
        others = {(a.status, a.fail_info, a.fail_info_text) for _, a in answers if a.status is not PkiStatus.SUCCESS}
        assert {(status, text) for status, _, text in others} == {(PkiStatus.FAILURE, REFUSED)}, others
        (rival, answer) = won[0]
        return Winner(rival, challenge, self.open(rival, challenge, answer))

    def open(self, rival, challenge, answer):
        """Return the certificate, which is for this rival's key and name."""
        key, policy = rival.party.key, CryptoPolicy(passwords=True)
        plain = decrypt(answer.content, rival.party.certificate_der, key, policy, password=Secret(challenge))
        der = read_certs_only(plain)[0]
        found = x509.load_der_x509_certificate(der)
        assert (found.public_key(), found.subject.rfc4514_string()) == (key.public_key(), f"CN={rival.name}")
        return der

    def ask(self, rival):
        return read_certrep(self.wires[0].send(rival.octets).reply().body, trusted=[self.sign])


@pytest.fixture(scope="module")
def race(template, place):
    server = copy_of(template, place / "race")
    server.edit(r"^workers = \d+", f"workers = {WORKERS}")
    server.edit(r"^\[hsm\]", PATIENT)
    with server.config.open("a") as config:
        config.write(CONFIG)
    server.start()
    with contextlib.ExitStack() as stack:
        yield Race(server, stack)
    assert server.stop() in {0, -signal.SIGTERM}
    server.check_store()


def run(race, challenges):
    """Return the winner of each round; while the workers compete, the next round is made and the last one judged."""
    winners, behind = [], None
    ahead = race.rivals(challenges[0])
    for number, challenge in enumerate(challenges):
        rivals = race.start(ahead)
        if number + 1 < len(challenges):
            ahead = race.rivals(challenges[number + 1])
        if behind is not None:
            winners.append(race.judge(*behind))
        behind = challenge, race.finish(rivals)
    return [*winners, race.judge(*behind)], rivals


def lines_until_complete(server, count):
    """Return outcomes and reasons in the log, which is a moment behind."""
    wait_until(lambda: len(server.log_lines()) >= count, patience=10, pause=0.1, what=f"{count} lines in {server.log}")
    return Counter(re.search(r" outcome=(\S+)(?: reason=(\S+))?", line).groups() for line in server.log_lines())


def test_C151_S35_of_two_hundred_keys_with_one_challenge_exactly_one_gets_a_certificate(race, capsys):
    begun = time.monotonic()
    winners, last = run(race, race.challenges(ROUNDS))
    with capsys.disabled():
        print(f"\n{ROUNDS} rounds of {RIVALS} rivals in {time.monotonic() - begun:.1f} s")
    outcomes = lines_until_complete(race.server, ROUNDS * RIVALS)
    assert outcomes == {("issued", None): ROUNDS, ("rejected", "challenge_replayed"): ROUNDS * (RIVALS - 1)}
    _check_records(race.server, winners)
    # Asked again, the winner has the same certificate, and a loser the same answer.
    winner, loser = winners[-1], next(rival for rival in last if rival is not winners[-1].rival)
    assert race.open(winner.rival, winner.challenge, race.ask(winner.rival)) == winner.certificate_der
    assert race.ask(loser).fail_info_text == REFUSED


def _check_records(server, winners):
    with opened(server) as (repository, _issuers):
        issued = [row for row in repository.certificates(limit=EVERYTHING) if row.profile == "race"]
        spent = [row for row in repository.challenges(limit=EVERYTHING) if row.profile == "race"]
        transactions = [row for row in repository.transactions(limit=EVERYTHING) if row.key.profile == "race"]
        acts = [row.action for row in repository.audit_chains()]
    assert {row.state for row in issued} == {CertificateState.ISSUED}
    assert sorted(row.der for row in issued) == sorted(winner.certificate_der for winner in winners)
    assert [(row.state, row.uses_left) for row in spent] == [(ChallengeState.SPENT, 0)] * ROUNDS
    assert {row.state for row in transactions} == {TransactionState.ISSUED}
    assert {row.identity.challenge_id for row in transactions} == {row.id for row in spent}
    assert len(transactions) == len(winners) == ROUNDS
    assert [acts.count(act) for act in ("transaction_claimed", "certificate_issued")] == [ROUNDS] * 2
    winning = {row.owner.partition(".")[0] for row in transactions}
    assert len(winning) == WORKERS or ROUNDS < FAIR_ROUNDS, winning
