"""Guesses at a challenge: limited by profile and signer key; and who came through a gate of client certificates."""

import attrs
import pytest

from scepd.enroll.raw import respond_raw
from scepd.enroll.respond import respond
from scepd.message.algorithms import CryptoPolicy
from scepd.profile.access import ClientCertificateGate, ClientCertificateRule
from scepd.profile.model import RenewalRule
from scepd.records import ClientIdentity, Origin
from scepd.refusal import Reason, Reject, Unavailable
from scepd.web.failures import FailureLimits
from tests import make
from tests.enroll.conftest import Device
from tests.enroll.test_remote import HOOK, Asked, Site
from tests.enroll.test_renewal import Holder
from tests.world import ORIGIN, STATIC, default_profile, make_world

GATE = ClientCertificateGate(trust="bundle.pem")
CLIENT = ClientIdentity(subject="CN=device", names=(), serial=7, issuer="CN=Factory", digest=bytes(32))


class Nanoseconds:
    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


def test_S30_who_fails_too_often_comes_again_later(device, world):
    clock = Nanoseconds()
    world.context.guesses = FailureLimits(per_key=2, clock=clock)
    answers = [device.send(device.request(challenge="wrong", transaction_id=str(number))).answer for number in range(6)]
    assert [answer.reason for answer in answers[:2]] == ["challenge_invalid"] * 2
    assert (answers[-1].status, answers[-1].outcome) == (503, "unavailable")
    assert answers[-1].retry_after > 0
    # Others are not in the way of it, and itself only for a while.
    assert device.send(device.request(signer=make.party("other"), transaction_id="x")).answer.outcome == "issued"
    clock.now += 60 * 10**9
    assert device.enrol(transaction_id="y")


def test_S30_what_a_service_outside_refuses_counts_too(keys, tmp_path):
    refusing = Asked(Reject(Reason.challenge_backend_denied, "no"))
    site = Site(keys, tmp_path, refusing)
    site.world.context.guesses = FailureLimits(per_key=1, clock=Nanoseconds())
    first = site.send(site.device.request(challenge="a"))
    later = [site.send(site.device.request(challenge="a", transaction_id=str(n))) for n in range(4)]
    assert first.reason == "challenge_backend_denied"
    assert later[-1].status == 503
    assert len(refusing.questions) < 5


def gated(keys, tmp_path, subject="same", **fields):
    profile = default_profile(client_certificate=attrs.evolve(GATE, subject=subject), **fields)
    return make_world(keys, tmp_path, profiles=[profile])


def send(world, body, client=CLIENT):
    origin = Origin(ORIGIN.address, ORIGIN.request_id, client)
    return respond(world.context, world.profiles["default"], body, origin).answer


@pytest.mark.parametrize("subject", ["same", "any"])
def test_S95_certificate_and_challenge_are_both_needed(keys, tmp_path, subject):
    world = gated(keys, tmp_path, subject)
    device = Device(world)
    assert send(world, device.request(challenge="wrong")).reason == "challenge_invalid"
    assert send(world, device.request()).outcome == "issued"


def test_S95_the_request_is_for_the_name_of_the_clients_certificate(keys, tmp_path):
    world = gated(keys, tmp_path)
    device = Device(world)
    stranger = attrs.evolve(CLIENT, subject="CN=another")
    assert send(world, device.request(), stranger).reason == "client_certificate_refused"
    world.profiles["default"] = attrs.evolve(
        world.profiles["default"], client_certificate=attrs.evolve(GATE, subject="any")
    )
    assert send(world, device.request(), stranger).outcome == "issued"


def test_S95_where_the_profile_says_so_the_certificate_is_enough(keys, tmp_path):
    world = gated(keys, tmp_path, challenge=(ClientCertificateRule(),))
    device = Device(world)
    assert send(world, device.request(challenge=None)).outcome == "issued"
    assert (
        send(world, device.request(challenge=None, transaction_id="b", signer=make.party("b")), None).outcome
        == "rejected"
    )
    [transaction] = world.store.transactions()
    assert transaction.identity.method == "client-certificate"


def test_S30_only_wrong_challenges_are_guesses(keys, tmp_path):
    hook = Asked(Reject(Reason.compliance_denied, "jailbroken"))
    site = Site(keys, tmp_path, Asked(None), compliance=hook)
    site.world.context.guesses = FailureLimits(per_profile=1, clock=Nanoseconds())
    for number in range(4):
        assert site.send(site.device.request(challenge=STATIC, transaction_id=str(number))).reason == "compliance_denied"
        missing = site.send(site.device.request(challenge=None, transaction_id=f"m{number}"))
        assert missing.reason == "challenge_missing"


def test_C257_an_undecided_request_needs_a_challenge_that_is_kept_too(keys, tmp_path):
    curved = make.party("curved", "p256")
    rule = attrs.evolve(HOOK, on_failure="pending")
    policy = CryptoPolicy(passwords=True)
    site = Site(keys, tmp_path, Asked(Unavailable("down")), rule=rule, password_encryption=True, crypto=policy)
    answer = site.send(site.device.request(challenge="theirs", signer=curved))
    assert (answer.reason, site.world.store.transactions()) == ("reply_unprotectable", [])


def test_S30_a_profile_that_is_guessed_at_locks_nobody_out_but_asks_a_person(device, world):
    clock = Nanoseconds()
    world.context.guesses = FailureLimits(per_profile=2, clock=clock)
    for number in range(4):
        body = device.request(challenge="wrong", transaction_id=str(number))
        assert device.send(body).answer.reason == "challenge_invalid"
    assert device.send(device.request(transaction_id="mine")).answer.outcome == "pending"
    [transaction] = world.store.transactions()
    assert "besieged" in [step.name for step in transaction.trail]
    world.store.decide(transaction.id, approve=True, who="approver")
    assert device.send(device.poll(transaction_id="mine")).answer.outcome == "issued"
    clock.now += 60 * 10**9
    assert device.send(device.request(transaction_id="later", signer=make.party("later"))).answer.outcome == "issued"


def test_S30_a_renewal_guesses_nothing(keys, tmp_path):
    world = make_world(keys, tmp_path, profiles=[default_profile(renewal=RenewalRule(earliest=0.0))])
    holder = Holder(world)
    world.context.guesses = FailureLimits(per_profile=1, clock=Nanoseconds())
    for number in range(3):
        holder.send(holder.request(challenge="wrong", transaction_id=str(number)))
    assert holder.send(holder.renewal()).answer.outcome == "issued"


def test_S30_C108_bare_requests_are_guesses_too(keys, tmp_path):
    world = make_world(keys, tmp_path, profiles=[default_profile(insecurely_accept_raw_csr=True)])
    world.context.guesses = FailureLimits(per_key=2, per_profile=5, clock=Nanoseconds())

    def send(challenge, key="device"):
        body = make.csr(challenge=challenge, private_key=make.key(key))
        return respond_raw(world.context, world.profiles["default"], body, ORIGIN).answer

    assert [send(f"wrong-{number}").status for number in range(3)] == [403, 403, 503]
    assert send(STATIC, "other").outcome == "issued"
    for number in range(3):
        send("wrong", f"key-{number}")
    assert send(STATIC, "third").status == 202
