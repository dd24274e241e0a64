"""A bare PKCS#10 on its own route: the same challenge, the same record, no CMS around it (C-108)."""

import base64
import time

import attrs
import pytest
from cryptography import x509

from scepd.enroll.raw import respond_raw
from scepd.message.certrep import read_certs_only
from scepd.profile.model import ApprovalRule, Profile
from scepd.refusal import Unavailable
from tests import make
from tests.world import ORIGIN, STATIC, default_profile, make_world

WEAK = make.party("weak", "rsa1024")


def send(world, body, profile: Profile | None = None):
    return respond_raw(world.context, profile or world.profiles["default"], body, ORIGIN)


def pem(der, label=b"CERTIFICATE REQUEST"):
    text = base64.encodebytes(der)
    return b"-----BEGIN " + label + b"-----\n" + text + b"-----END " + label + b"-----\n"


@pytest.mark.parametrize(
    "wrap", [bytes, pem, lambda der: pem(der, b"NEW CERTIFICATE REQUEST")], ids=["DER", "PEM", "NEW"]
)
def test_C108_a_bare_request_with_its_challenge_gets_certificate_and_chain(world, wrap):
    answer = send(world, wrap(make.csr(challenge=STATIC))).answer
    assert (answer.status, answer.outcome) == (200, "issued")
    assert answer.content_type == "application/pkcs7-mime; smime-type=certs-only"
    leaf, issuer = read_certs_only(answer.body)
    assert issuer == world.keys.ca_der
    assert x509.load_der_x509_certificate(leaf).public_key() == make.device().key.public_key()


def test_C108_the_same_request_again_gets_the_same_certificate(world):
    first, second = (send(world, make.csr(challenge=STATIC)).answer for _ in range(2))
    assert first.body == second.body
    assert (first.again, second.again) == (False, True)
    assert len(world.issued()) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (make.csr(challenge=None), "challenge_missing"),
        (make.csr(challenge="wrong"), "challenge_invalid"),
        (make.csr(challenge=STATIC)[:-4] + bytes(4), "csr_signature_invalid"),
        (make.csr(challenge=STATIC, private_key=WEAK.key), "key_refused"),
    ],
)
def test_C108_what_scep_refuses_is_refused_here(world, body, reason):
    response = send(world, body)
    assert (response.answer.status, response.answer.reason, response.answer.body) == (403, reason, b"")
    assert response.refusal.reason.value == reason
    assert world.issued() == []


@pytest.mark.parametrize("body", [b"", b"no request", pem(b"")[:40], make.pkcs_req()], ids=["", "text", "cut", "SCEP"])
def test_C108_what_is_no_request_is_malformed(world, body):
    assert send(world, body).answer.status == 400


def test_C108_a_pem_that_is_no_base64_is_malformed(world):
    body = b"-----BEGIN CERTIFICATE REQUEST-----\nabc\n-----END CERTIFICATE REQUEST-----"
    assert send(world, body).answer.status == 400


def test_C108_a_person_may_decide(world):
    profile = attrs.evolve(default_profile(), approval=ApprovalRule())
    body = make.csr(challenge=STATIC)
    waiting = send(world, body, profile).answer
    assert (waiting.status, waiting.outcome, waiting.retry_after) == (202, "pending", 60)
    assert send(world, body, profile).answer.status == 202
    [transaction] = world.store.transactions()
    world.store.decide(transaction.id, approve=True, who="test")
    assert send(world, body, profile).answer.status == 200
    assert send(world, body, profile).answer.again


def test_C108_a_rejected_request_stays_refused(world):
    profile = attrs.evolve(default_profile(), approval=ApprovalRule())
    body = make.csr(challenge=STATIC)
    send(world, body, profile)
    [transaction] = world.store.transactions()
    world.store.decide(transaction.id, approve=False, who="test")
    answer = send(world, body, profile).answer
    assert (answer.status, answer.reason) == (403, "rejected_by_approver")


def test_C025_our_own_troubles_are_503(world):
    def unavailable(_intent):
        raise Unavailable("store: busy", retry_after=2)

    world.context.store.claim = unavailable
    answer = send(world, make.csr(challenge=STATIC)).answer
    assert (answer.status, answer.retry_after) == (503, 2)


def test_a_lane_finishes_what_it_owes_before_it_serves(keys, tmp_path):
    class Crash(BaseException):
        pass

    def crash(name):
        if name == "after_intent":
            raise Crash

    world = make_world(keys, tmp_path, checkpoint=crash)
    with pytest.raises(Crash):
        send(world, make.csr(challenge=STATIC))
    assert world.context.owes
    world.context.checkpoint = lambda _name: None
    assert send(world, make.csr(challenge=STATIC)).answer.again
    assert not world.context.owes


def test_S20_a_body_of_beginnings_costs_no_more_than_another(world):
    line = b"-----BEGIN CERTIFICATE REQUEST-----"
    begun = time.process_time()
    assert send(world, line * (262_144 // len(line))).answer.status == 400
    assert time.process_time() - begun < 1
