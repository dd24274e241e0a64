"""The self-check finds what was planted, and nothing in a sound store."""

import sqlite3
from datetime import timedelta

import pytest

from scepd.records import Revocation, RevocationReason
from scepd.refusal import Reason
from scepd.store.check import check_store

from .building import (
    BEGIN,
    TRAIL,
    Clock,
    Device,
    Issuer,
    add_challenge,
    after,
    certificate_of,
    certificate_row,
    enrol,
    make_crl,
    make_intent,
    make_petition,
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


@pytest.fixture
def asked(directory, issuer):
    """A store with transactions 1 issued and 2 its renewal, 3 pending, 4 approved, 5 expired, 6 rejected; two CRLs."""
    clock = Clock()
    repository = open_repository(directory, clock)
    devices = [Device.make(f"CN=r{number}") for number in range(5)]
    first = certificate_row(repository, enrol(repository, issuer, devices[0]))
    enrol(repository, issuer, devices[0], transaction_id="renewal", lineage=after(first))
    for device in devices[1:]:
        challenge = add_challenge(repository, expires=BEGIN + timedelta(days=30)).id
        valid = timedelta(days=1 if device is devices[3] else 9)
        repository.petition(make_petition(issuer, device, challenge=challenge, valid=valid))
    repository.decide(4, approve=True, who="ann")
    repository.decide(6, approve=False, who="ann")
    clock.moment += timedelta(days=2)
    assert repository.expire_pending() == 1
    revocation = Revocation(BEGIN, RevocationReason.keyCompromise, BEGIN - timedelta(days=1))
    repository.revoke("main", first.serial, revocation, who="ann")
    for number in (1, 2):
        moment = BEGIN + timedelta(days=number)
        repository.add_crl(make_crl(issuer, number, moment, serials=[first.serial]), who="alpha/0")
    assert check_store(repository, {"main": issuer.der}) == []
    yield repository
    repository.close()


LATER = "2026-04-01T12:00:00.000000+00:00"
ASKED = {
    "UPDATE certificate SET revocation_reason = 7 WHERE id = 1": "is revoked with the revocation reason 7",
    "UPDATE certificate SET revocation_reason = NULL WHERE id = 1": "is revoked with the revocation reason None",
    "UPDATE certificate SET revocation_reason = 1 WHERE id = 2": "is issued with the revocation reason 1",
    f"UPDATE certificate SET invalid_since = '{LATER}' WHERE id = 1": f"is invalid since {LATER}, revoked 2026-03-01",
    "DELETE FROM audit WHERE action = 'certificate_revoked'": "is revoked without audit row certificate_revoked",
    "UPDATE certificate SET predecessor = 99 WHERE id = 2": "its predecessor, row 99, is not before it",
    "UPDATE certificate SET predecessor = 2 WHERE id = 2": "its predecessor, row 2, is not before it",
    "UPDATE certificate SET renewals = 3 WHERE id = 2": "is renewal 3 since 2026-03-01",
    f"UPDATE certificate SET first_issued = '{LATER}' WHERE id = 2": f"is renewal 1 since {LATER}",
    "UPDATE certificate SET renewals = 1 WHERE id = 1": "counts renewals without a predecessor",
    "UPDATE 'transaction' SET predecessor = NULL WHERE id = 2": "renews certificate row None, its certificate row 1",
    "UPDATE 'transaction' SET draft_der = x'3000' WHERE id = 3": "its certificate is missing, its draft there",
    "UPDATE 'transaction' SET expires = NULL WHERE id = 3": "transaction 3: is PENDING without end",
    "UPDATE 'transaction' SET decided = NULL WHERE id = 4": "was decided None by ann",
    "UPDATE 'transaction' SET decided = NULL, decided_by = NULL WHERE id = 4": "transaction 4: is APPROVED by nobody",
    "UPDATE challenge_use SET state = 'released' WHERE \"transaction\" = 3": "transaction 3: is PENDING, its use",
    "UPDATE challenge_use SET state = 'spent' WHERE \"transaction\" = 4": "transaction 4: is APPROVED, its use",
    "UPDATE challenge_use SET state = 'reserved' WHERE \"transaction\" = 5": "transaction 5: is EXPIRED, its use",
    "UPDATE challenge_use SET state = 'reserved' WHERE \"transaction\" = 6": "transaction 6: is REJECTED, its use",
    "DELETE FROM audit WHERE action = 'transaction_approved'": "transaction 4: is APPROVED without audit row",
    "DELETE FROM audit WHERE action = 'transaction_expired'": "transaction 5: is EXPIRED without audit row",
    "DELETE FROM audit WHERE action = 'transaction_pending'": "transaction 3: is PENDING without audit row",
    "UPDATE crl SET this_update = '2026-02-01T12:00:00.000000+00:00' WHERE number = 2": "CRL main 2: is of 2026-02-01",
    f"UPDATE crl SET this_update = '{LATER}' WHERE number = 2": "is not after",
    "UPDATE crl SET number = 7 WHERE number = 2": "CRL main 7: its bytes are number 2 with 1 entries",
    "UPDATE crl SET entries = 7 WHERE number = 2": "CRL main 2: its bytes are number 2 with 1 entries",
    "UPDATE crl SET der = x'3003020100' WHERE number = 2": "CRL main 2: cannot be read",
    "UPDATE crl SET issuer = 'other' WHERE number = 2": "CRL other 2: its issuer is not known",
}


@pytest.mark.parametrize("statement", ASKED)
def test_a_planted_discrepancy_of_approval_revocation_or_lineage_is_found(directory, issuer, asked, statement):
    plant(directory, statement)
    found = check_store(asked, {"main": issuer.der})
    assert any(ASKED[statement] in problem for problem in found), found


def test_a_crl_of_another_signer_is_found(directory, issuer, asked):
    forged = make_crl(Issuer(key=Issuer.make().key, der=issuer.der), 2, BEGIN + timedelta(days=2), serials=[1])
    plant(directory, "UPDATE crl SET der = ? WHERE number = 2", forged.der)
    assert check_store(asked, {"main": issuer.der}) == ["CRL main 2: its issuer's key did not sign it"]


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
    assert check_store(repository, {"main": issuer.der}) == [
        f"{name}: its issuer's key did not sign it",
        f"{name}: is not the certificate of audit row certificate_issued",
    ]


def test_a_certificate_that_was_not_its_draft_is_found(directory, issuer, filled):
    repository, _ = filled
    serial = repository.transaction(1).serial
    plant(directory, "UPDATE certificate SET der = ? WHERE id = 1", sign(issuer, Device.make("CN=r0"), serial))
    found = check_store(repository, {"main": issuer.der})
    assert [problem.rpartition(": ")[2] for problem in found] == [
        "its public key is another",
        "its transaction's request is for another key",
        "is not the draft that was recorded before it was signed",
        "is not the certificate of audit row certificate_issued",
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
