"""The certificate of an OCSP key is renewed by one worker before it ends, whatever is in the way meanwhile."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred

from scepd.app.leases import Lease
from scepd.app.responder_duty import ResponderDuty
from scepd.ca.ceremony import Ceremony
from scepd.hsm.faults import TokenFault
from scepd.x509.lint import lint
from scepd.x509.names import from_text
from scepd.x509.ocsp import ResponderCertificate
from tests.x509 import material

from .test_duties import Inline, Town, log, town

__all__ = ["log", "town"]  # fixtures

MONTH = timedelta(days=30)
DAY = 86_400


def first_certificate(town: Town):
    ceremony = Ceremony(town.issuer.key, town.clock.now(), lambda size: bytes(range(1, size + 1)))
    key = material.ec_key("ocsp").public_key()
    return ceremony.certify_ocsp(town.issuer.certificate, from_text("CN=Responder"), key, MONTH)


class Worker:
    """What one worker has of the duty."""

    def __init__(self, town, number, first):
        self.store = town.open(f"alpha/{number}.duties")
        self.lane = Inline(SimpleNamespace(issuers={"main": town.issuer}))
        self.duty = ResponderDuty(
            issuer="main",
            first=ResponderCertificate.load(first),
            valid=MONTH,
            lease=Lease("ocsp:main", self.store.owner, town.clock),
            clerk=Inline(self.store),
            lanes=self.lane,
            clock=town.clock,
            monotonic=town.seconds,
        )

    def attend(self):
        done = []
        Deferred.fromCoroutine(self.duty.attend()).addBoth(done.append)
        assert done == [None]

    @property
    def newest(self):
        return self.store.responder_certificate("main")


@pytest.mark.parametrize("half", [1, 2])
def test_S109_a_fresh_certificate_follows_when_half_of_the_life_is_over(town, log, half):
    first = first_certificate(town)
    one, other = Worker(town, 0, first), Worker(town, 1, first)
    for worker in (one, other):
        worker.attend()
    assert one.newest is None
    town.wait(half * 16 * DAY)  # past half of its life, or past its end: nobody was there to renew it
    for worker in (one, other):
        worker.attend()
        worker.attend()
    assert len(log("responder_certified")) == 1
    fresh = ResponderCertificate.load(one.newest)
    assert fresh.not_after == (town.clock.now() + MONTH).replace(microsecond=0)
    assert fresh.public_key == ResponderCertificate.load(first).public_key
    assert lint(one.newest, town.issuer.certificate, "ocsp") == []
    assert one.lane.calls + other.lane.calls == 1
    assert [row.action for row in town.store.audit(limit=1)] == ["responder_certified"]
    for _ in range(3):
        town.wait(15)
        one.attend()
    assert len(log("responder_certified")) == 1


def test_S109_a_certificate_of_a_former_key_counts_for_nothing(town):
    first = first_certificate(town)
    worker = Worker(town, 0, first)
    town.wait(16 * DAY)
    ceremony = Ceremony(town.issuer.key, town.clock.now(), lambda size: bytes(range(1, size + 1)))
    former = ceremony.certify_ocsp(
        town.issuer.certificate, from_text("CN=Responder"), material.ec_key("former").public_key(), MONTH
    )
    town.store.add_responder_certificate("main", former, not_after=town.clock.now() + MONTH, who="alpha/0.duties")
    worker.attend()
    assert ResponderCertificate.load(worker.newest).public_key == ResponderCertificate.load(first).public_key


def test_a_token_that_fails_is_asked_again_ever_more_seldom(town, log):
    worker = Worker(town, 0, first_certificate(town))
    town.wait(16 * DAY)
    worker.lane.fault = TokenFault("device", "gone")
    for _ in range(120):
        worker.attend()
        town.wait(10)
    told = log("responder_overdue")
    assert 4 <= len(told) <= 10
    assert told[-1]["retry_in"] == 300.0
    assert "gone" in told[0]["cause"]
    worker.lane.fault = None
    town.wait(300)
    worker.attend()
    assert worker.newest is not None
