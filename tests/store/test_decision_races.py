"""Processes that race to decide, to renew, to publish: exactly one does it."""

import contextlib
import os
from datetime import timedelta

from scepd.records import CertificateState, Revocation, RevocationReason, TransactionState
from scepd.refusal import OperatorError, Reason, Reject
from scepd.store.check import check_store

from .building import (
    BEGIN,
    Device,
    add_challenge,
    after,
    certificate_row,
    enrol,
    finish,
    make_crl,
    make_intent,
    make_petition,
    open_repository,
)
from .test_races import in_processes

SCALE = int(os.environ.get("SCALE", "1"))


def petitions(directory, issuer, device, count):
    """Let that many requests wait; return their numbers."""
    repository = open_repository(directory)
    numbers = []
    for number in range(count):
        challenge = add_challenge(repository).id
        petition = make_petition(issuer, device, challenge=challenge, transaction_id=f"t{number}")
        numbers.append(repository.petition(petition)[0].id)
    repository.close()
    return numbers


def decide_all(slot, directory, numbers):
    repository = open_repository(directory, owner=f"alpha/{slot}")
    won = [
        number
        for number in numbers
        if (decided := repository.decide(number, approve=slot % 2 == 0, who=str(slot)))
        and decided.decided_by == str(slot)
    ]
    repository.close()
    return won


def test_S129_approve_and_reject_racing_end_in_one_rejection(directory, issuer, device):
    numbers = petitions(directory, issuer, device, 100 * SCALE)
    results = in_processes(4, decide_all, directory, numbers)
    # An approval may be taken back, a rejection never.
    approved, rejected = results[0] + results[2], results[1] + results[3]
    assert sorted(rejected) == numbers
    assert len(set(approved)) == len(approved)
    repository = open_repository(directory)
    assert {repository.transaction(number).state for number in numbers} == {TransactionState.REJECTED}
    assert repository.generation() == len(approved) + len(rejected)
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def proceed_all(slot, directory, issuer, device, numbers):
    """Poll until each request has its certificate; return those that this process issued."""
    repository = open_repository(directory, owner=f"alpha/{slot}")
    won = []
    for number in numbers:
        approved = repository.transaction(number)
        claimed, moved = repository.proceed(approved, make_intent(issuer, device))
        if moved:
            finish(repository, issuer, device, claimed)
            won.append(number)
    repository.close()
    return won


def test_S129_two_polls_of_an_approved_request_issue_once(directory, issuer, device):
    numbers = petitions(directory, issuer, device, 60 * SCALE)
    decide_all(0, directory, numbers)
    results = in_processes(3, proceed_all, directory, issuer, device, numbers)
    assert sorted(number for won in results for number in won) == numbers
    repository = open_repository(directory)
    assert {repository.transaction(number).state for number in numbers} == {TransactionState.ISSUED}
    assert len(repository.certificates(limit=10_000)) == len(numbers)
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def renew_all(slot, directory, issuer, certificates):
    """Renew each certificate with a key of its own; return what came of it."""
    repository = open_repository(directory, owner=f"alpha/{slot}")
    outcomes = []
    for certificate in certificates:
        device = Device.make(f"CN=r{slot}")
        renewal = make_intent(issuer, device, transaction_id=f"t{certificate.id}", lineage=after(certificate))
        try:
            claimed, _ = repository.claim(renewal)
        except Reject as reject:
            outcomes.append(reject.reason)
        else:
            outcomes.append(finish(repository, issuer, device, claimed).state)
    repository.close()
    return outcomes


def test_S49_four_renewals_of_one_certificate_make_one_successor(directory, issuer, device):
    setup = open_repository(directory)
    old = [
        certificate_row(setup, enrol(setup, issuer, device, transaction_id=str(number))) for number in range(40 * SCALE)
    ]
    setup.close()
    results = in_processes(4, renew_all, directory, issuer, old)
    for outcomes in zip(*results, strict=True):
        assert sorted(outcomes, key=str) == [Reason.renewal_superseded] * 3 + [TransactionState.ISSUED]
    repository = open_repository(directory)
    assert all(repository.successor(certificate.id) is not None for certificate in old)
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def revoke_or_renew(slot, directory, issuer, device, certificates):
    repository = open_repository(directory, owner=f"alpha/{slot}")
    revocation = Revocation(BEGIN, RevocationReason.superseded)
    done = []
    for certificate in certificates:
        try:
            if slot % 2:
                with contextlib.suppress(OperatorError):
                    repository.revoke("main", certificate.serial, revocation, who=str(slot))
            else:
                renewal = make_intent(issuer, device, transaction_id=f"t{certificate.id}", lineage=after(certificate))
                finish(repository, issuer, device, repository.claim(renewal)[0])
        except Reject:
            continue
        done.append(certificate.id)
    repository.close()
    return done


def test_S44_S129_revoke_and_renew_racing_never_renew_what_was_revoked_before(directory, issuer, device):
    setup = open_repository(directory)
    old = [
        certificate_row(setup, enrol(setup, issuer, device, transaction_id=str(number))) for number in range(60 * SCALE)
    ]
    setup.close()
    renewed, _, renewed_too, _ = in_processes(4, revoke_or_renew, directory, issuer, device, old)
    repository = open_repository(directory)
    assert {repository.certificate("main", one.serial).state for one in old} == {CertificateState.REVOKED}
    for one in old:
        has_successor = repository.successor(one.id) is not None
        assert has_successor == (one.id in {*renewed, *renewed_too})
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def publish(slot, directory, issuer, rounds):
    """Generate and publish as long as others do; return the numbers that were this process's."""
    repository = open_repository(directory, owner=f"alpha/{slot}")
    won = []
    while (number := repository.latest_crl_number("main") + 1) <= rounds:
        if repository.add_crl(make_crl(issuer, number), who=str(slot)):
            won.append(number)
    repository.close()
    return won


def test_S106_C290_a_crl_number_is_published_once(directory, issuer):
    rounds = 40 * SCALE
    results = in_processes(3, publish, directory, issuer, rounds)
    assert sorted(number for won in results for number in won) == list(range(1, rounds + 1))
    repository = open_repository(directory)
    assert repository.latest_crl_number("main") == rounds
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def take_all(slot, directory, rounds):
    repository = open_repository(directory, owner=f"alpha/{slot}")
    until = BEGIN + timedelta(minutes=30)
    won = [number for number in range(rounds) if repository.take_lease(f"duty {number}", f"alpha/{slot}", until)]
    repository.close()
    return won


def test_a_lease_is_taken_by_one_process(directory):
    rounds = 50 * SCALE
    results = in_processes(4, take_all, directory, rounds)
    assert sorted(number for won in results for number in won) == list(range(rounds))
