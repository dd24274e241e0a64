"""The audit trail: one row per act, chained, and every tampering named."""

import hashlib
import json
import sqlite3

import attrs
import pytest

from scepd.observe.audit import GENESIS, AuditRow, Head, as_record, link
from scepd.observe.trail import verify
from scepd.records import to_json
from scepd.refusal import Reason
from scepd.store.check import check_store

from .building import BEGIN, TRAIL, Device, add_challenge, certificate_of, make_intent, open_repository


@pytest.fixture
def chains(directory, issuer):
    """Two owners' chains of four rows each, and a function that tampers with the file."""
    for owner in ("alpha/0", "alpha/1"):
        repository = open_repository(directory, owner=owner)
        for number in range(2):
            device = Device.make(f"CN=r{number}")
            intent = make_intent(issuer, device)
            claimed, _ = repository.claim(intent)
            repository.record(claimed, certificate_of(issuer, device, intent), TRAIL)
        repository.close()

    def tamper(*statements):
        database = sqlite3.connect(directory / "scepd.sqlite", isolation_level=None)
        for statement in statements:
            database.execute(statement)
        database.close()

    return tamper


def problems(directory):
    repository = open_repository(directory)
    found = [str(damage) for damage in verify(repository.audit_trail(), repository.audit_heads())]
    repository.close()
    return found


def test_a_link_is_sha256_over_the_previous_hash_and_canonical_json():
    record = {"b": 1, "a": "ü"}
    assert link(GENESIS, record) == hashlib.sha256(bytes(32) + '{"a":"ü","b":1}'.encode()).digest()


def test_each_act_leaves_one_row_that_says_what_who_and_to_what(sound, issuer, device):
    challenge = add_challenge(sound, common_name="r1.example.net", created_by="ann")
    spare = add_challenge(sound)
    sound.cancel_challenge(spare.id, cancelled_by="bob")
    intent = make_intent(issuer, device, challenge=challenge.id)
    claimed, _ = sound.claim(intent)
    der = certificate_of(issuer, device, intent)
    sound.record(claimed, der, TRAIL)
    failed, _ = sound.claim(make_intent(issuer, Device.make("CN=r2")))
    sound.abandon(failed, Reason.lint_failed, "too long", TRAIL)
    sound.retire(failed)
    rows = list(sound.audit_chains())
    assert [(row.sequence, row.action, row.actor, row.target) for row in rows] == [
        (1, "challenge_added", "ann", "challenge 1"),
        (2, "challenge_added", "ann", "challenge 2"),
        (3, "challenge_cancelled", "bob", "challenge 2"),
        (4, "transaction_claimed", "one-time: r1.example.net", "transaction 1"),
        (5, "certificate_issued", "one-time: r1.example.net", "transaction 1"),
        (6, "transaction_claimed", "static: r1.example.net", "transaction 2"),
        (7, "transaction_rejected", "static: r1.example.net", "transaction 2"),
        (8, "transaction_retired", "alpha/0", "transaction 2"),
    ]
    assert {row.at for row in rows} == {BEGIN}
    details = json.loads(rows[3].details)
    assert details["draft"] == hashlib.sha256(intent.draft_der).hexdigest()
    assert details["serial"] == f"{intent.serial:x}"
    assert json.loads(rows[4].details)["certificate"] == hashlib.sha256(der).hexdigest()


def test_reads_and_repeats_leave_no_row(sound, issuer, device):
    claimed, _ = sound.claim(make_intent(issuer, device))
    count = len(sound.audit())
    sound.claim(make_intent(issuer, device))
    sound.retire(claimed)
    sound.cancel_challenge(99, cancelled_by="bob")
    assert len(sound.audit()) == count


def test_untouched_chains_are_sound(directory, chains):
    assert problems(directory) == []


TAMPERINGS = {
    "edit": (["UPDATE audit SET actor = 'nobody' WHERE owner = 'alpha/1' AND sequence = 2"], "row 2: its content"),
    "edit details": (
        ["UPDATE audit SET details = '{}' WHERE owner = 'alpha/1' AND sequence = 3"],
        "row 3: its content",
    ),
    "edit time": (
        ["UPDATE audit SET at = '2020-01-01T00:00:00.000000+00:00' WHERE owner = 'alpha/1' AND sequence = 4"],
        "row 4: its content",
    ),
    "delete": (["DELETE FROM audit WHERE owner = 'alpha/1' AND sequence = 2"], "row 3: follows row 1"),
    "delete first": (["DELETE FROM audit WHERE owner = 'alpha/1' AND sequence = 1"], "row 2: follows row 0"),
    "truncate": (["DELETE FROM audit WHERE owner = 'alpha/1' AND sequence > 2"], "row 3: cut off"),
    "truncate all": (["DELETE FROM audit WHERE owner = 'alpha/1'"], "row 1: cut off"),
    "forge end": (["UPDATE audit_head SET hash = x'00' WHERE owner = 'alpha/1'"], "row 4: the noted end"),
    "forget end": (["DELETE FROM audit_head WHERE owner = 'alpha/1'"], "row 4: the noted end"),
    "reorder": (
        [
            "UPDATE audit SET sequence = 9 WHERE owner = 'alpha/1' AND sequence = 2",
            "UPDATE audit SET sequence = 2 WHERE owner = 'alpha/1' AND sequence = 3",
            "UPDATE audit SET sequence = 3 WHERE owner = 'alpha/1' AND sequence = 9",
        ],
        "row 2: does not link",
    ),
    "delete and renumber": (
        [
            "DELETE FROM audit WHERE owner = 'alpha/1' AND sequence = 2",
            "UPDATE audit SET sequence = 2 WHERE owner = 'alpha/1' AND sequence = 3",
            "UPDATE audit SET sequence = 3 WHERE owner = 'alpha/1' AND sequence = 4",
        ],
        "row 2: does not link",
    ),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_S124_tampering_is_found_and_the_first_bad_row_named(directory, chains, kind):
    statements, expected = TAMPERINGS[kind]
    chains(*statements)
    found = problems(directory)
    assert len(found) == 1
    assert found[0].startswith(f"audit alpha/1 {expected}")


def test_S124_an_edit_with_its_hash_recomputed_breaks_the_next_link(directory, chains):
    repository = open_repository(directory)
    row = next(row for row in repository.audit_chains() if (row.owner, row.sequence) == ("alpha/0", 2))
    repository.close()
    forged = attrs.evolve(row, actor="nobody")
    digest = link(forged.previous, as_record(forged)).hex()
    chains(f"UPDATE audit SET actor = 'nobody', hash = x'{digest}' WHERE owner = 'alpha/0' AND sequence = 2")
    assert problems(directory) == ["audit alpha/0 row 3: does not link to the row before it"]


def test_S124_a_chain_cut_off_with_its_end_forged_misses_acts(directory, issuer, chains):
    chains(
        "DELETE FROM audit WHERE owner = 'alpha/1' AND sequence > 2",
        "UPDATE audit_head SET sequence = 2, hash = (SELECT hash FROM audit WHERE owner = 'alpha/1' AND sequence = 2)"
        " WHERE owner = 'alpha/1'",
    )
    assert problems(directory) == []
    repository = open_repository(directory)
    found = check_store(repository, {"main": issuer.der})
    repository.close()
    assert found == ["transaction 4: is ISSUED without audit row certificate_issued"]


def test_long_chains_are_read_page_by_page(directory):
    repository = open_repository(directory)
    for _ in range(520):
        add_challenge(repository)
    assert [row.sequence for row in repository.audit_chains()] == list(range(1, 521))
    assert list(verify(repository.audit_chains(), repository.audit_heads())) == []
    assert len(repository.audit(limit=10)) == 10
    assert [row.target for row in repository.audit(target="challenge 7")] == ["challenge 7"]
    repository.close()


def test_verify_names_the_first_bad_row_once():
    rows, previous = [], GENESIS
    for sequence in range(1, 6):
        row = AuditRow("n/0", sequence, BEGIN, "a", "b", "c", to_json({}), previous, b"")
        previous = link(previous, as_record(row))
        rows.append(attrs.evolve(row, hash=previous))
    rows[1] = attrs.evolve(rows[1], actor="x")
    rows[3] = attrs.evolve(rows[3], actor="x")
    found = verify(rows, {"n/0": Head(5, previous)})
    assert [str(damage) for damage in found] == ["audit n/0 row 2: its content was changed"]


def test_two_writers_of_one_chain_take_turns_without_a_fork(directory):
    writers = [open_repository(directory) for _ in range(2)]
    for _ in range(3):
        for writer in writers:
            add_challenge(writer)
    for writer in writers:
        writer.close()
    assert problems(directory) == []
    database = sqlite3.connect(directory / "scepd.sqlite")
    assert database.execute("SELECT max(sequence), count(*) FROM audit").fetchone() == (6, 6)
    database.close()


def test_an_act_that_was_rolled_back_leaves_no_gap_in_the_chain(directory):
    class StoppedError(Exception):
        pass

    def stop(name):
        if stopping and name == "add_challenge.before_commit":
            raise StoppedError

    stopping = False
    writer = open_repository(directory, checkpoint=stop)
    add_challenge(writer)
    stopping = True
    with pytest.raises(StoppedError):
        add_challenge(writer)
    stopping = False
    add_challenge(writer)
    assert [row.sequence for row in writer.audit()] == [2, 1]
    writer.close()
    assert problems(directory) == []
