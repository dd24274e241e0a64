"""The self-check finds what was planted, and nothing in a sound store."""

import sqlite3

import pytest

from scepd.refusal import Reason
from scepd.store.check import check_store

from .building import (
    TRAIL,
    Device,
    Issuer,
    add_challenge,
    certificate_of,
    make_intent,
    open_repository,
    sign,
)


@pytest.fixture
def filled(directory, issuer):
    """A store with transactions 1 issued, 2 issuing, 3 rejected, 4 retired; challenges 1 spent, 2 reserved, 3 free."""
    repository = open_repository(directory)
    challenges = [add_challenge(repository).id for _ in range(3)]
    devices = [Device.make(f"CN=r{number}") for number in range(4)]
    for device, challenge in zip(devices, [*challenges, None], strict=True):
        repository.claim(make_intent(issuer, device, challenge=challenge))
    for number in (1, 4):
        transaction = repository.transaction(number)
        intent = make_intent(issuer, devices[number - 1], serial=transaction.serial)
        repository.record(transaction, certificate_of(issuer, devices[number - 1], intent), TRAIL)
    repository.abandon(repository.transaction(3), Reason.interrupted, "", TRAIL)
    repository.retire(repository.transaction(4))
    assert check_store(repository, {"main": issuer.der}) == []
    yield repository, devices
    repository.close()


def plant(directory, statement, *values):
    database = sqlite3.connect(directory / "scepd.sqlite", isolation_level=None)
    database.execute(statement, values)
    database.close()


PLANTED = {
    "UPDATE certificate SET serial = 'abc' WHERE id = 1": "its serial number is",
    "UPDATE certificate SET subject = 'CN=other' WHERE id = 1": "its subject is CN=r0, on record CN=other",
    "UPDATE certificate SET public_key = x'00' WHERE id = 1": "its public key is another",
    "UPDATE certificate SET not_after = '2050-01-01T00:00:00.000000+00:00' WHERE id = 1": "its validity is",
    "UPDATE certificate SET der = x'3003020100' WHERE id = 1": "cannot be read",
    "UPDATE certificate SET der = NULL WHERE id = 1": "is issued without its bytes",
    "UPDATE certificate SET der = (SELECT der FROM certificate WHERE id = 1) WHERE id = 2": "is reserved with its bytes",
    "UPDATE certificate SET issuer = 'other' WHERE id = 1": "its issuer is not known",
    "UPDATE certificate SET state = 'revoked' WHERE id = 1": "is revoked, revoked None",
    "UPDATE certificate SET state = 'failed' WHERE id = 1": "transaction 1: is ISSUED, its certificate failed",
    "UPDATE certificate SET revoked = '2026-03-01T12:00:00.000000+00:00' WHERE id = 1": "is issued, revoked 2026",
    "UPDATE certificate SET profile = 'phones' WHERE id = 1": "its certificate has another issuer or profile",
    "UPDATE certificate SET state = 'reserved' WHERE id = 1": "transaction 1: is ISSUED, its certificate reserved",
    "DELETE FROM certificate WHERE id = 1": "transaction 1: is ISSUED, its certificate missing",
    "UPDATE 'transaction' SET draft_der = x'00' WHERE id = 1": "is not the draft",
    "UPDATE 'transaction' SET state = 'REJECTED' WHERE id = 1": "transaction 1: is REJECTED, its certificate issued",
    "UPDATE 'transaction' SET state = 'PENDING' WHERE id = 2": "transaction 2: is PENDING, its certificate reserved",
    "UPDATE 'transaction' SET reason = NULL WHERE id = 3": "is REJECTED with reason None",
    "UPDATE 'transaction' SET reason = 'interrupted' WHERE id = 1": "is ISSUED with reason interrupted",
    "UPDATE 'transaction' SET turn = 1 WHERE id = 2": "is retired and yet ISSUING",
    "UPDATE 'transaction' SET challenge = 3 WHERE id = 1": "names challenge 3 and uses challenge 1",
    "UPDATE 'transaction' SET challenge = NULL WHERE id = 1": "names challenge None and uses challenge 1",
    "UPDATE challenge_use SET state = 'released' WHERE id = 1": "transaction 1: is ISSUED, its use of challenge 1 released",
    "UPDATE challenge SET uses_left = 1 WHERE id = 1": "made for 1 uses: 1 taken, 1 left",
    "UPDATE challenge SET uses = 5 WHERE id = 3": "made for 5 uses: 0 taken, 1 left",
    "UPDATE challenge SET state = 'spent' WHERE id = 3": "challenge 3: is spent with 1 uses left",
    "UPDATE challenge SET state = 'spent' WHERE id = 2": "challenge 2: is spent with 0 uses left, some reserved",
    "UPDATE challenge SET state = 'reserved' WHERE id = 1": "challenge 1: is reserved with 0 uses left, none reserved",
    "UPDATE audit SET actor = 'x' WHERE sequence = 1": "audit alpha/0 row 1: its content was changed",
    "DELETE FROM audit WHERE action = 'transaction_rejected'": "transaction 3: is REJECTED without audit row",
}


@pytest.mark.parametrize("statement", PLANTED)
def test_a_planted_discrepancy_is_found(directory, issuer, filled, statement):
    plant(directory, statement)
    found = check_store(filled[0], {"main": issuer.der})
    assert any(PLANTED[statement] in problem for problem in found), found


def test_a_certificate_of_another_signer_is_found(directory, issuer, filled):
    repository, devices = filled
    forger = Issuer(key=Issuer.make().key, der=issuer.der)  # the right names, the wrong key
    forged = sign(forger, devices[0], repository.transaction(1).serial)
    plant(directory, "UPDATE certificate SET der = ? WHERE id = 1", forged)
    name = f"certificate main {repository.transaction(1).serial:x}"
    assert check_store(repository, {"main": issuer.der}) == [f"{name}: its issuer's key did not sign it"]


def test_a_certificate_that_was_not_its_draft_is_found(directory, issuer, filled):
    repository, _ = filled
    serial = repository.transaction(1).serial
    plant(directory, "UPDATE certificate SET der = ? WHERE id = 1", sign(issuer, Device.make("CN=r0"), serial))
    found = check_store(repository, {"main": issuer.der})
    assert [problem.rpartition(": ")[2] for problem in found] == [
        "its public key is another",
        "is not the draft that was recorded before it was signed",
    ]


def test_the_check_sees_one_state_while_others_write(directory, issuer, filled):
    repository, _ = filled
    writer = open_repository(directory, owner="alpha/1")
    with repository.snapshot():
        before = len(repository.transactions())
        writer.claim(make_intent(issuer, Device.make("CN=late")))
        assert len(repository.transactions()) == before
    assert len(repository.transactions()) == before + 1
    writer.close()
