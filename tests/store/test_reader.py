"""Lists for administrators: filters, order, pages."""

import sqlite3

import pytest
from sqlalchemy.dialects import sqlite

from scepd.records import CertificateState, ChallengeState, TransactionState
from scepd.refusal import OperatorError
from scepd.store import statements as sql

from .building import TRAIL, Device, add_challenge, certificate_of, make_intent

FIRST = 1 << 120  # a serial with room for random bits, and five after it


@pytest.fixture
def filled(sound, issuer):
    for number in range(6):
        device = Device.make(f"CN=Router_{number}%,O=Example")
        intent = make_intent(issuer, device, profile="routers" if number % 2 else "phones", serial=FIRST + number)
        claimed, _ = sound.claim(intent)
        if number < 4:
            sound.record(claimed, certificate_of(issuer, device, intent), TRAIL)
    return sound


def test_transactions_are_listed_newest_first_by_profile_and_state_in_pages(filled):
    assert [t.id for t in filled.transactions()] == [6, 5, 4, 3, 2, 1]
    assert [t.id for t in filled.transactions(profile="routers")] == [6, 4, 2]
    assert [t.id for t in filled.transactions(state=TransactionState.ISSUING)] == [6, 5]
    assert [t.id for t in filled.transactions(limit=2, before=5)] == [4, 3]
    assert filled.transaction(99) is None


def test_certificates_are_found_by_serial_part_of_subject_and_state(filled):
    assert [c.serial for c in filled.certificates()] == [FIRST + 5, FIRST + 4, FIRST + 3, FIRST + 2, FIRST + 1, FIRST]
    assert [c.subject for c in filled.certificates(serial=FIRST + 3)] == ["CN=Router_3%,O=Example"]
    assert [c.serial for c in filled.certificates(subject="router_2")] == [FIRST + 2]
    assert [c.serial for c in filled.certificates(subject="%")] == [FIRST + 5, FIRST + 4, FIRST + 3, FIRST + 2, FIRST + 1, FIRST]
    assert filled.certificates(subject="Router%3") == []
    assert [c.serial for c in filled.certificates(state=CertificateState.RESERVED)] == [FIRST + 5, FIRST + 4]
    assert [c.serial for c in filled.certificates(limit=2, offset=1)] == [FIRST + 4, FIRST + 3]
    assert filled.certificate("main", 1) is None
    assert filled.certificate("other", FIRST) is None


def test_challenges_are_listed_by_profile_and_state(sound):
    for number in range(4):
        add_challenge(sound, profile="routers" if number % 2 else "phones", names=("dns:a", "dns:b"), uses=2)
    sound.cancel_challenge(4, cancelled_by="bob")
    assert [c.id for c in sound.challenges()] == [4, 3, 2, 1]
    assert [c.id for c in sound.challenges(profile="routers")] == [4, 2]
    assert [c.id for c in sound.challenges(state=ChallengeState.CANCELLED)] == [4]
    assert [c.id for c in sound.challenges(before=3, limit=1)] == [2]
    assert sound.challenge(99) is None


def test_add_challenge_returns_the_row_as_stored(sound):
    made = add_challenge(sound, common_name="r1", names=("dns:a",), uses=3)
    assert sound.challenge(made.id) == made


def test_one_digest_is_one_challenge_in_a_profile(sound):
    made = add_challenge(sound)
    with pytest.raises(OperatorError):
        add_challenge(sound, digest=made.digest)
    assert add_challenge(sound, digest=made.digest, profile="phones").id != made.id


@pytest.mark.parametrize("statement", [sql.UNFINISHED, sql.UNFINISHED_OF_ALL, sql.RECALL, sql.RECALL_CASE_BLIND])
def test_no_read_of_the_enrolment_path_scans_all_transactions(directory, statement):
    compiled = statement.compile(dialect=sqlite.dialect())
    database = sqlite3.connect(directory / "scepd.sqlite")
    plan = database.execute(f"EXPLAIN QUERY PLAN {compiled}", [None] * len(compiled.positiontup)).fetchall()
    database.close()
    assert plan
    assert "SCAN transaction" not in [row[3] for row in plan]  # "... USING INDEX" may follow: that one is small
