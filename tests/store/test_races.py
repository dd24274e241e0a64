"""Processes that race for one thing: exactly one gets it, and none starves."""

import itertools
import multiprocessing
import os
import threading
import time

from scepd.records import ChallengeState, Notice, Posting, TransactionState
from scepd.refusal import Reason, Reject
from scepd.store.check import check_store

from .building import TRAIL, Device, add_challenge, certificate_of, make_intent, open_repository

SCALE = int(os.environ.get("SCALE", "1"))
FORK = multiprocessing.get_context("fork")


def in_processes(count, function, *arguments):
    """Run function(slot, *arguments) in that many processes at once; return what each returned."""
    queue = FORK.SimpleQueue()
    barrier = FORK.Barrier(count)

    def body(slot):
        try:
            barrier.wait(30)
            queue.put((slot, function(slot, *arguments)))
        except BaseException as error:  # the parent must learn of it instead of waiting
            queue.put((slot, error))
            raise

    processes = [FORK.Process(target=body, args=(slot,)) for slot in range(count)]
    for process in processes:
        process.start()
    results = dict(queue.get() for _ in processes)
    for process in processes:
        process.join(30)
        assert process.exitcode == 0, results
    return [results[slot] for slot in range(count)]


def spend_all(slot, directory, issuer, challenges):
    """Try to enrol one own device with each challenge; return what came of it."""
    repository = open_repository(directory, owner=f"alpha/{slot}")
    device = Device.make(f"CN=r{slot}")
    outcomes = []
    for number in challenges:
        intent = make_intent(issuer, device, challenge=number, transaction_id=f"t{number}")
        try:
            claimed, _ = repository.claim(intent)
        except Reject as reject:
            outcomes.append(reject.reason)
        else:
            outcomes.append(repository.record(claimed, certificate_of(issuer, device, intent), TRAIL).state)
    repository.close()
    return outcomes


def test_S35_C151_four_processes_spend_each_challenge_once(directory, issuer):
    setup = open_repository(directory)
    challenges = [add_challenge(setup).id for _ in range(50 * SCALE)]
    setup.close()
    results = in_processes(4, spend_all, directory, issuer, challenges)
    for outcomes in zip(*results, strict=True):
        assert sorted(outcomes, key=str) == [Reason.challenge_replayed] * 3 + [TransactionState.ISSUED]
    repository = open_repository(directory)
    assert {repository.challenge(number).state for number in challenges} == {ChallengeState.SPENT}
    assert len(repository.certificates(limit=10_000)) == len(challenges)
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def claim_all(slot, directory, issuer, device, rounds):
    """Claim the same identities as everybody else; return which claims were this one's."""
    repository = open_repository(directory, owner=f"alpha/{slot}")
    won = [
        number
        for number in range(rounds)
        if repository.claim(make_intent(issuer, device, transaction_id=f"t{number}"))[1]
    ]
    repository.close()
    return won


def test_C205_S129_the_same_request_at_four_workers_is_one_transaction(directory, issuer, device):
    rounds = 50 * SCALE
    results = in_processes(4, claim_all, directory, issuer, device, rounds)
    assert sorted(number for won in results for number in won) == list(range(rounds))
    repository = open_repository(directory)
    assert len(repository.transactions(limit=10_000)) == rounds
    repository.close()


def finish_all(slot, directory, issuer, device, numbers):
    """Record in even slots, abandon in odd ones."""
    repository = open_repository(directory, owner=f"alpha/{slot}")
    for number in numbers:
        transaction = repository.transaction(number)
        if slot % 2:
            repository.abandon(transaction, Reason.interrupted, "", TRAIL)
        else:
            intent = make_intent(issuer, device, serial=transaction.serial)
            repository.record(transaction, certificate_of(issuer, device, intent), TRAIL)
    repository.close()


def test_S129_record_and_abandon_racing_end_in_one_legal_state(directory, issuer, device):
    setup = open_repository(directory)
    numbers = []
    for number in range(250 * SCALE):
        challenge = add_challenge(setup)
        intent = make_intent(issuer, device, challenge=challenge.id, transaction_id=f"t{number}")
        numbers.append(setup.claim(intent)[0].id)
    setup.close()
    in_processes(4, finish_all, directory, issuer, device, numbers)
    repository = open_repository(directory)
    states = [repository.transaction(number).state for number in numbers]
    assert set(states) <= {TransactionState.ISSUED, TransactionState.REJECTED}
    ends = ("certificate_issued", "transaction_rejected")
    for number in numbers:
        acts = [row.action for row in repository.audit(target=f"transaction {number}")]
        assert sum(act in ends for act in acts) == 1
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def write_for(slot, directory, seconds):
    """Write as fast as possible; return how many writes and the longest wait."""
    repository = open_repository(directory, owner=f"alpha/{slot}")
    end = time.monotonic() + seconds
    writes, longest = 0, 0.0
    while (begun := time.monotonic()) < end:
        add_challenge(repository, created_by=str(slot))
        writes += 1
        longest = max(longest, time.monotonic() - begun)
    repository.close()
    return writes, longest


def test_two_writing_processes_take_turns(directory):
    (one, one_wait), (two, two_wait) = in_processes(2, write_for, directory, 1.5 * SCALE)
    print(f"{one} and {two} writes, longest waits {one_wait * 1000:.0f} and {two_wait * 1000:.0f} ms")
    repository = open_repository(directory)
    writers = [challenge.created_by for challenge in repository.challenges(limit=100_000)]
    repository.close()
    longest_run = max(len(list(run)) for _, run in itertools.groupby(writers))
    # Without the lock one process writes on while the other sleeps in SQLite's busy handler: a third of all and more.
    assert longest_run < len(writers) / 5


def test_threads_with_a_repository_each_exclude_each_other(directory):
    counts = []

    def write(slot):
        counts.append(write_for(slot, directory, 0.5)[0])

    threads = [threading.Thread(target=write, args=(slot,)) for slot in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    repository = open_repository(directory)
    assert len(counts) == 3
    assert len(repository.challenges(limit=100_000)) == sum(counts)
    assert check_store(repository, {}) == []
    repository.close()


def tell_all(slot, directory, rounds):
    """Keep the notice of one refused request after the other, as every worker that saw it does."""
    repository = open_repository(directory, owner=f"alpha/{slot}")
    for number in range(rounds):
        notice = Notice("routers", f"t{number}", f"r{slot}", "rejected", reason="name_refused")
        repository.add_notices([Posting("webhook-0", notice, once=number.to_bytes(32, "big"))])
    repository.close()


def test_S41_two_workers_that_saw_one_device_refused_tell_of_it_once(directory, repository):
    in_processes(2, tell_all, directory, 50)
    told = [posting.notice.transaction_id for posting in repository.due_notices(1000)]
    assert sorted(told) == sorted({f"t{number}" for number in range(50)})
