"""A process killed at every named point of an enrolment: the device ends with exactly one certificate."""

import multiprocessing
import os
import signal
import time

import pytest

from scepd.records import ChallengeState, Revocation, RevocationReason, TransactionState
from scepd.refusal import Reason
from scepd.store.check import check_store

from .building import (
    BEGIN,
    TRAIL,
    Device,
    add_challenge,
    certificate_of,
    make_crl,
    make_intent,
    make_petition,
    open_repository,
)

FORK = multiprocessing.get_context("fork")
SCALE = int(os.environ.get("SCALE", "1"))


def enrol(repository, issuer, device, challenge):
    """Do what the pipeline does: recall or claim, sign, record."""
    intent = make_intent(issuer, device, challenge=challenge)
    transaction, _ = repository.claim(intent)
    if transaction.state is TransactionState.ISSUING:
        finish(repository, issuer, device, transaction)
    return repository.recall(intent.key)


def finish(repository, issuer, device, transaction):
    der = certificate_of(issuer, device, make_intent(issuer, device, serial=transaction.serial))
    repository.record(transaction, der, TRAIL)


def killed_at(name):
    def checkpoint(reached):
        if reached == name:
            os.kill(os.getpid(), signal.SIGKILL)

    return checkpoint


def run_child(directory, checkpoint, work):
    """Run work(repository) in a process; return how it ended."""

    def body():
        work(open_repository(directory, checkpoint=checkpoint))
        os._exit(0)

    process = FORK.Process(target=body)
    process.start()
    process.join(30)
    return process.exitcode


def recovered(directory, issuer, device):
    """Open the store as the next worker of the slot does, finishing what was left."""
    repository = open_repository(directory)
    for transaction in repository.unfinished("alpha/0"):
        finish(repository, issuer, device, transaction)
    return repository


@pytest.mark.parametrize(
    ("point", "known"),
    [
        ("claim.before_commit", False),
        ("claim.after_commit", True),
        ("record.before_commit", True),
        ("record.after_commit", True),
    ],
)
def test_S34_C219_killed_anywhere_the_device_gets_exactly_one_certificate(directory, issuer, device, point, known):
    setup = open_repository(directory)
    challenge = add_challenge(setup).id
    setup.close()
    exit_code = run_child(directory, killed_at(point), lambda repository: enrol(repository, issuer, device, challenge))
    assert exit_code == -signal.SIGKILL

    repository = recovered(directory, issuer, device)
    after_crash = repository.recall(make_intent(issuer, device).key)
    assert (after_crash is not None) == known
    issued = enrol(repository, issuer, device, challenge)
    assert issued.state is TransactionState.ISSUED
    if known:
        assert issued == after_crash
    assert [c.der for c in repository.certificates()] == [issued.certificate_der]
    assert repository.challenge(challenge).state is ChallengeState.SPENT
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


@pytest.mark.parametrize("point", ["abandon.before_commit", "abandon.after_commit"])
def test_S34_killed_while_giving_up_the_challenge_is_not_lost(directory, issuer, device, point):
    setup = open_repository(directory)
    challenge = add_challenge(setup).id
    setup.close()

    def give_up(repository):
        claimed, _ = repository.claim(make_intent(issuer, device, challenge=challenge))
        repository.abandon(claimed, Reason.interrupted, "", TRAIL)

    assert run_child(directory, killed_at(point), give_up) == -signal.SIGKILL
    repository = open_repository(directory)
    transaction = repository.recall(make_intent(issuer, device).key)
    if transaction.state is TransactionState.ISSUING:
        repository.abandon(transaction, Reason.interrupted, "", TRAIL)
    repository.retire(transaction)
    assert enrol(repository, issuer, device, challenge).state is TransactionState.ISSUED
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


@pytest.mark.parametrize("act", ["petition", "decide", "proceed"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_C217_C219_killed_anywhere_an_approved_request_gets_exactly_one_certificate(
    directory, issuer, device, act, moment
):
    setup = open_repository(directory)
    challenge = add_challenge(setup).id
    setup.close()
    request = {"challenge": challenge}

    def approve_and_enrol(repository):
        waiting, _ = repository.petition(make_petition(issuer, device, **request))
        repository.decide(waiting.id, approve=True, who="ann")
        approved = repository.recall(waiting.key)
        if approved.state is TransactionState.APPROVED:
            repository.proceed(approved, make_intent(issuer, device, **request))
        claimed = repository.recall(waiting.key)
        if claimed.state is TransactionState.ISSUING:
            finish(repository, issuer, device, claimed)

    assert run_child(directory, killed_at(f"{act}.{moment}_commit"), approve_and_enrol) == -signal.SIGKILL
    repository = recovered(directory, issuer, device)
    assert check_store(repository, {"main": issuer.der}) == []
    approve_and_enrol(repository)
    [issued] = repository.transactions()
    assert issued.state is TransactionState.ISSUED
    assert [c.der for c in repository.certificates()] == [issued.certificate_der]
    assert repository.challenge(challenge).state is ChallengeState.SPENT
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


@pytest.mark.parametrize("act", ["revoke", "release", "add_crl"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_revoking_or_publishing_the_store_is_sound(directory, issuer, device, act, moment):
    repository = open_repository(directory)
    issued = enrol(repository, issuer, device, add_challenge(repository).id)
    news = repository.generation()
    repository.close()

    def revoke_and_publish(store):
        store.revoke("main", issued.serial, Revocation(BEGIN, RevocationReason.certificateHold), who="ann")
        store.add_crl(make_crl(issuer, 1, serials=[issued.serial]), who="alpha/0")
        store.release("main", issued.serial, who="ann")

    assert run_child(directory, killed_at(f"{act}.{moment}_commit"), revoke_and_publish) == -signal.SIGKILL
    done = ["revoke", "add_crl", "release"].index(act) + (moment == "after")
    repository = open_repository(directory)
    assert repository.generation() == news + done
    assert (repository.certificate("main", issued.serial).revocation is not None) == (done in {1, 2})
    assert repository.latest_crl_number("main") == (done >= 2)
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def test_S34_C219_killed_at_random_moments_nothing_is_lost_or_doubled(directory, issuer):
    setup = open_repository(directory)
    devices = [Device.make(f"CN=r{number}") for number in range(40 * SCALE)]
    challenges = [add_challenge(setup).id for _ in devices]
    setup.close()

    def enrol_all(repository):
        for device, challenge in zip(devices, challenges, strict=True):
            enrol(repository, issuer, device, challenge)
            time.sleep(0.002)

    for number in range(15 * SCALE):
        process = FORK.Process(target=lambda: (enrol_all(open_repository(directory)), os._exit(0)))
        process.start()
        time.sleep(0.02 + 0.007 * (number % 15))
        process.kill()
        process.join(30)
    repository = open_repository(directory)
    enrol_all(repository)
    certificates = repository.certificates(limit=10_000)
    assert sorted(c.public_key for c in certificates) == sorted(device.key_digest for device in devices)
    assert {repository.challenge(number).state for number in challenges} == {ChallengeState.SPENT}
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()
