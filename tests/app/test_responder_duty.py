"""The certificate of an OCSP key is renewed by one worker before it ends, whatever is in the way meanwhile."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeReactor

from scepd.app.halt import Halt
from scepd.app.leases import Lease
from scepd.app.news import Audience, News
from scepd.app.responder_duty import ResponderDuty
from scepd.app.responder_ends import ResponderEnds, latest
from scepd.ca.shelf import CrlShelf
from scepd.hsm.faults import TokenFault
from scepd.profile.switches import Switches
from scepd.records import CertificateState
from scepd.store.check import check_store
from scepd.x509.lint import lint
from scepd.x509.ocsp import ResponderCertificate
from tests.vouching import first_responder
from tests.x509 import material

from .town import Inline, Town, attend, log, town

__all__ = ["log", "town"]  # fixtures

MONTH = timedelta(days=30)
DAY = 86_400


def first_certificate(town: Town):
    return certificate_of(town, "ocsp")


def certificate_of(town: Town, key):
    by, public_key = town.issuer, material.ec_key(key).public_key()
    return first_responder(by.certificate, by.key, public_key, now=town.clock.now(), valid=MONTH, random=counting)


def counting(size):
    return bytes(range(1, size + 1))


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
        attend(self.duty)

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
    assert one.lane.calls + other.lane.calls == 2  # drafted, signed
    assert [row.action for row in town.store.audit(limit=1)] == ["responder_certified"]
    for _ in range(3):
        town.wait(15)
        one.attend()
    assert len(log("responder_certified")) == 1


class Mortal(Inline):
    """A lane whose process dies when it is to do its second piece of work."""

    def run(self, function):
        return Deferred() if self.calls == 1 else super().run(function)


def test_S103_a_serial_is_on_record_before_it_is_signed_and_a_death_in_between_leaves_its_trace(town):
    first = first_certificate(town)
    dying, heir = Worker(town, 0, first), Worker(town, 1, first)
    town.wait(16 * DAY)
    dying.duty.lanes = Mortal(dying.lane.own)
    Deferred.fromCoroutine(dying.duty.attend())
    (reserved,) = town.store.certificates(limit=10)
    assert (reserved.state, reserved.der, reserved.subject) == (CertificateState.RESERVED, None, "CN=Responder")
    assert [row.action for row in town.store.audit(limit=1)] == ["own_certificate_claimed"]
    assert dying.newest is None
    town.wait(3_600)  # its lease has ended
    heir.attend()
    (issued,) = (row for row in town.store.certificates(limit=10) if row.serial != reserved.serial)
    assert (issued.state, issued.der) == (CertificateState.ISSUED, heir.newest)
    assert check_store(town.store, {"main": town.issuer.certificate.der}) == []


def test_S103_a_serial_that_is_taken_is_never_signed(town, log):
    worker = Worker(town, 0, first_certificate(town))
    worker.duty.random = lambda size: bytes(range(7, size + 7))
    for turn in range(2):
        town.wait(16 * DAY)
        worker.attend()
        assert len(log("responder_certified")) == 1
        assert len(log("responder_overdue")) == turn
    assert "serial number is taken" in log("responder_overdue")[0]["cause"]
    assert worker.lane.calls == 3  # drafted, signed; drafted
    assert len(town.store.certificates(limit=10)) == 1


def test_S109_a_certificate_of_a_former_key_counts_for_nothing(town):
    first = first_certificate(town)
    worker = Worker(town, 0, first)
    town.wait(16 * DAY)
    former = certificate_of(town, "former")
    town.store.add_responder_certificate("main", former, not_after=town.clock.now() + MONTH, who="alpha/0.duties")
    worker.attend()
    assert ResponderCertificate.load(worker.newest).public_key == ResponderCertificate.load(first).public_key


def test_S109_every_process_says_when_the_newest_certificate_ends(town):
    first = ResponderCertificate.load(first_certificate(town))
    reactor, ends = FakeReactor(), ResponderEnds({"main": first})
    audience = Audience(print, Switches(), Halt(), ends=ends)
    news = News(reactor, Inline(town.store), CrlShelf(), [], audience)
    news.start()
    assert latest([ends.told, {}]) == {"main": first.not_after}
    worker = Worker(town, 0, first.der)
    town.wait(16 * DAY)
    worker.attend()
    reactor.advance(0.25)
    newest = ResponderCertificate.load(worker.newest).not_after
    assert newest > first.not_after
    assert latest([{"main": first.not_after.isoformat()}, ends.told]) == {"main": newest}
    town.store.add_responder_certificate("main", b"damaged", not_after=newest, who="eve")
    reactor.advance(0.25)
    assert latest([ends.told]) == {"main": first.not_after}  # and the news go on
    news.stop()


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
    assert (told[0]["cause"], told[0]["hint"]) == ("gone", "scepd status")
    worker.lane.fault = None
    town.wait(300)
    worker.attend()
    assert worker.newest is not None
