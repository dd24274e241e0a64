"""Seals: what is signed stays signed, whoever can write to the store (threat S-124)."""

import json
import shutil
import sqlite3
from datetime import timedelta

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepd.observe.audit import GENESIS, Head, as_record, link
from scepd.observe.export import Export, export_lines
from scepd.observe.seal import Seal, next_seal, parse_heads, parse_seal, sign_seal
from scepd.observe.seal_file import SealFile
from scepd.observe.signature import audit_keys, is_signed, sign
from scepd.observe.trail import Trail, verify
from scepd.refusal import OperatorError, Unavailable

from .building import BEGIN, open_repository
from .sealing import CHAINS, Sealer, make_sealed


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_sealed(tmp_path_factory.mktemp("sealed"))


@pytest.fixture
def sealed(model, tmp_path):
    """A copy of that store and its file of seals."""
    for path in model.file.path.parent.iterdir():
        shutil.copy(path, tmp_path)
    repository = open_repository(tmp_path, owner=CHAINS[0])
    yield Town(tmp_path, attrs.evolve(model, file=SealFile(tmp_path / model.file.path.name)), repository)
    repository.close()


@attrs.frozen
class Town:
    directory: object
    sealer: Sealer
    repository: object

    def tamper(self, *statements):
        database = sqlite3.connect(self.directory / "scepd.sqlite", isolation_level=None)
        for statement in statements:
            database.execute(statement)
        database.close()

    def forge(self, owner="alpha/1", *, edit=None, drop=(), add=0):
        """Change rows and write the chain anew with every hash and the noted end right, as who can write could."""
        rows = [row for row in self.repository.audit_chains() if row.owner == owner and row.sequence not in drop]
        rows += [rows[-1]] * add
        previous, statements = GENESIS, [f"DELETE FROM audit WHERE owner = '{owner}'"]
        for sequence, row in enumerate(rows, 1):
            actor = "mallory" if row.sequence == edit else row.actor
            forged = attrs.evolve(row, sequence=sequence, actor=actor, previous=previous)
            digest = link(previous, as_record(forged))
            statements.append(
                "INSERT INTO audit VALUES"
                f" ('{owner}', {sequence}, '{row.at.isoformat(timespec='microseconds')}', '{row.action}', '{actor}',"
                f" '{row.target}', '{row.details}', x'{previous.hex()}', x'{digest.hex()}')"
            )
            previous = digest
        head = f"sequence = {len(rows)}, hash = x'{previous.hex()}'"
        self.tamper(*statements, f"UPDATE audit_head SET {head} WHERE owner = '{owner}'")

    def problems(self, **options):
        return self.sealer.problems(self.repository, **options)


FORGERIES = {
    "edit": ({"edit": 3}, ["audit alpha/1 row 3: this row, or one up to 4, is not what seal 2 signed"]),
    "edit the first": ({"edit": 1}, ["audit alpha/1 row 1: this row, or one up to 2, is not what seal 1 signed"]),
    "delete": ({"drop": {4}}, ["audit alpha/1 row 3: this row, or one up to 4, is not what seal 2 signed"]),
    "truncate": ({"drop": {5, 6, 7}}, ["audit alpha/1 row 5: cut off; seal 3 signed 6 rows"]),
    "truncate to the seal before": ({"drop": {6, 7}}, ["audit alpha/1 row 6: cut off; seal 3 signed 6 rows"]),
    "insert and renumber": (
        {"drop": {1}, "add": 1},
        ["audit alpha/1 row 1: this row, or one up to 2, is not what seal 1 signed"],
    ),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_S124_a_chain_written_anew_with_every_hash_right_is_not_what_was_sealed(sealed, kind):
    changes, expected = FORGERIES[kind]
    sealed.forge(**changes)
    assert sealed.problems() == expected


def test_S124_a_whole_chain_cut_off_with_its_noted_end_is_missed_by_the_seal(sealed):
    sealed.tamper("DELETE FROM audit WHERE owner = 'alpha/1'", "DELETE FROM audit_head WHERE owner = 'alpha/1'")
    assert sealed.problems() == ["audit alpha/1 row 1: cut off; seal 1 signed 2 rows"]


TAMPERINGS = {
    "seal edited": (["UPDATE audit_seal SET at = '2020-01-01T00:00:00+00:00' WHERE number = 2"], "seal 2: the store and"),
    "seal deleted": (["DELETE FROM audit_seal WHERE number = 2"], "seal 2: is in the file of seals and not in the store"),
    "signature edited": (["UPDATE audit_seal SET signature = x'00' WHERE number = 2"], "seal 2: the store and"),
    "link edited": (["UPDATE audit_seal SET previous = x'00' WHERE number = 2"], "seal 2: the store and"),
    "another's": (["UPDATE audit_seal SET key = 'ff' WHERE number = 2"], "seal 2: the store and"),
    "no heads": (["UPDATE audit_seal SET heads = 'x' WHERE number = 2"], "seal 2: cannot be read"),
    "heads no list": (["UPDATE audit_seal SET heads = '7' WHERE number = 2"], "seal 2: cannot be read"),
    "other types": (["UPDATE audit_seal SET signature = 'x' WHERE number = 2"], "seal 2: cannot be read"),
    "seals reordered": (
        [
            "UPDATE audit_seal SET number = 9 WHERE number = 2",
            "UPDATE audit_seal SET number = 2 WHERE number = 3",
            "UPDATE audit_seal SET number = 3 WHERE number = 9",
        ],
        "seal 2: the store and the file of seals differ",
    ),
    "seals cut off": (["DELETE FROM audit_seal WHERE number > 1"], "seal 2: is in the file of seals and not in the store"),
    "all seals cut off": (["DELETE FROM audit_seal"], "seal 1: is in the file of seals and not in the store"),
    "row unreadable": (
        ["UPDATE audit SET at = 'yesterday' WHERE owner = 'alpha/1' AND sequence = 3"],
        "audit alpha/1 row 3: cannot be read",
    ),
    "time written otherwise": (
        ["UPDATE audit SET at = replace(at, '+00:00', 'Z') WHERE owner = 'alpha/1' AND sequence = 3"],
        "audit alpha/1 row 3: cannot be read: its time is written as",
    ),
    "row of another type": (
        ["UPDATE audit SET hash = 'text' WHERE owner = 'alpha/1' AND sequence = 3"],
        "audit alpha/1 row 3: cannot be read",
    ),
    "row inserted before": (
        ["INSERT INTO audit SELECT owner, 0, at, action, actor, target, details, previous, hash FROM audit LIMIT 1"],
        "audit alpha/0 row 0: follows row 0",
    ),
    "row inserted after": (
        ["INSERT INTO audit SELECT owner, 8, at, action, actor, target, details, hash, hash FROM audit WHERE sequence = 7"],
        "audit alpha/0 row 8: its content was changed",
    ),
    "chain inserted": (
        ["INSERT INTO audit SELECT 'zeta/9', sequence, at, action, actor, target, details, previous, hash FROM audit WHERE owner = 'alpha/0'"],
        "audit zeta/9 row 1: its content was changed",
    ),
    "sequence a text": (
        ["UPDATE audit SET sequence = 'x' WHERE owner = 'alpha/1' AND sequence = 7"],
        "audit alpha/1 row x: cannot be read: a column holds another type",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_S124_tampering_with_rows_and_seals_is_found_and_the_first_named(sealed, kind):
    statements, expected = TAMPERINGS[kind]
    sealed.tamper(*statements)
    found = sealed.problems()
    assert found
    assert found[0].startswith(expected), found


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("seal edited", "seal 2: the audit key did not sign it"),
        ("seal deleted", "seal 3: follows seal 1: seals are missing"),
        ("signature edited", "seal 2: the audit key did not sign it"),
        ("link edited", "seal 2: does not link to the seal before it"),
        ("another's", "seal 2: is signed by a key that is not known here: SHA-256 ff"),
        ("seals reordered", "seal 2: does not link to the seal before it"),
    ],
)
def test_S124_a_tampered_seal_is_found_without_the_file(sealed, kind, expected):
    sealed.tamper(*TAMPERINGS[kind][0])
    assert sealed.problems(with_file=False)[0] == expected


def test_S124_chain_and_seals_cut_off_alike_are_missed_by_the_file_alone(sealed):
    sealed.forge(drop={3, 4, 5, 6, 7})
    sealed.tamper("DELETE FROM audit_seal WHERE number > 1")
    assert sealed.problems(with_file=False) == []
    assert sealed.problems() == [
        "seal 2: is in the file of seals and not in the store",
        "audit alpha/1 row 3: cut off; seal 2 of the file signed 4 rows",
        "seal 3: is in the file of seals and not in the store",
    ]


def test_S124_a_seal_of_the_file_that_the_key_did_not_sign_proves_no_row(sealed):
    forged = Seal(4, BEGIN.isoformat(), {"alpha/1": Head(99, bytes(32))}, bytes(32), "ff", b"")
    sealed.sealer.file.append([forged])
    assert sealed.problems() == ["seal 4: is in the file of seals and not in the store"]


def test_S124_the_file_is_compared_line_by_line(sealed):
    path = sealed.sealer.file.path
    one, two, three = path.read_text().splitlines(keepends=True)
    path.write_text(one + "rubbish\n" + three)
    assert sealed.problems() == [
        "file of seals: line 2 Expecting value: line 1 column 1 (char 0)",
        "seal 2: is missing in the file of seals",
    ]  # fmt: skip
    path.write_text(one + two + three + "{}\n")
    assert sealed.problems() == ["file of seals: line 4 is no seal: KeyError 'number'"]
    path.write_text(one)  # seals after its last line are repeated at the next sealing
    trail = Trail(audit_keys([sealed.sealer.spki]), sealed.sealer.file.lines())
    assert list(verify(sealed.repository.audit_trail(), sealed.repository.audit_heads(), trail)) == []
    assert (trail.rows, trail.seals, trail.uncopied, trail.unsealed) == (14, 3, 2, 2)


def test_a_seal_made_while_one_verifies_is_no_alarm(sealed):
    trail = Trail(audit_keys([sealed.sealer.spki]), sealed.sealer.file.lines())
    entries, heads = list(sealed.repository.audit_trail()), sealed.repository.audit_heads()
    sealed.sealer.seal(sealed.repository)
    assert list(verify(entries, heads, trail)) == []


def test_a_seal_signs_all_heads_its_number_and_the_seal_before_it(sealed):
    first, second = sealed.repository.seals_after(0)[:2]
    assert json.loads(second.octets) == {
        "kind": "scepd-audit-seal",
        "number": 2,
        "at": BEGIN.isoformat(),
        "heads": [[owner, 4, second.heads[owner].hash.hex()] for owner in CHAINS],
        "previous": first.hash.hex(),
        "key": second.key,
    }
    assert is_signed(sealed.sealer.key.public_key(), second.signature, second.octets)
    assert parse_seal(second.to_json()) == second


def test_S124_seals_go_on_under_a_new_key_and_those_of_the_old_one_stay_good(sealed):
    new = Sealer(sealed.sealer.file)
    new.seal(sealed.repository)
    heads = sealed.repository.audit_heads()
    both = Trail(audit_keys([new.spki, sealed.sealer.spki]), sealed.sealer.file.lines())
    assert list(verify(sealed.repository.audit_trail(), heads, both)) == []
    found = list(verify(sealed.repository.audit_trail(), heads, Trail(audit_keys([new.spki]))))
    assert [damage.where for damage in found] == ["seal 1", "seal 2", "seal 3"]


def test_nothing_new_is_nothing_to_seal(sealed):
    sealed.sealer.seal(sealed.repository)
    assert sealed.repository.draft_seal() is None


def test_a_seal_that_is_not_the_next_is_not_kept(sealed):
    draft = sign_seal(sealed.repository.draft_seal(), sealed.sealer.key)
    assert sealed.repository.add_seal(draft)
    assert not sealed.repository.add_seal(draft)
    assert not sealed.repository.add_seal(attrs.evolve(draft, number=9))
    assert [seal.number for seal in sealed.repository.seals_after(0)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edit": 3}, "alpha/1 row 6: seal 3 signed another"),
        ({"drop": {6, 7}}, "alpha/1 row 6: is gone"),
    ],
)
def test_S124_what_was_changed_since_the_last_seal_is_never_sealed(sealed, changes, words):
    sealed.forge(**changes)
    with pytest.raises(OperatorError, match=words):
        sealed.repository.draft_seal()


def test_S124_a_noted_end_that_no_row_has_is_never_sealed(sealed):
    sealed.tamper("UPDATE audit_head SET hash = x'00' WHERE owner = 'alpha/1'")
    with pytest.raises(OperatorError, match="alpha/1 row 7: it is not the noted end of its chain"):
        sealed.repository.draft_seal()
    sealed.tamper(
        "UPDATE audit_head SET sequence = 2, hash = (SELECT hash FROM audit WHERE owner = 'alpha/1' AND sequence = 2)"
        " WHERE owner = 'alpha/1'"
    )
    with pytest.raises(OperatorError, match="alpha/1 row 3: the noted end is before what was sealed"):
        sealed.repository.draft_seal()


def test_an_unreadable_newest_seal_is_told(sealed):
    sealed.tamper("UPDATE audit_seal SET heads = '{' WHERE number = 3")
    with pytest.raises(OperatorError, match="newest seal"):
        sealed.repository.draft_seal()


def export_of(town):
    with town.repository.snapshot():
        return list(export_lines(town.repository.audit_trail(), town.repository.audit_heads()))


def judge(town, lines):
    export = Export(lines)
    trail = Trail(audit_keys([town.sealer.spki]))
    found = [damage for entry in export.entries() for damage in trail.take(entry)]
    return [str(damage) for damage in [*found, *trail.finish(export.heads)]]


def test_an_export_is_verified_by_itself(sealed):
    lines = export_of(sealed)
    assert len(lines) == 1 + 14 + 3 + 1
    assert judge(sealed, lines) == []
    assert judge(sealed, [line.encode() + b"\n" for line in lines]) == []


@pytest.mark.parametrize(
    ("bend", "expected"),
    [
        (lambda lines: [*lines[:2], lines[2].replace("ann", "eve"), *lines[3:]], "audit alpha/0 row 2: its content was changed"),
        (lambda lines: [*lines[:2], *lines[3:]], "audit alpha/0 row 2: cut off; seal 1"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "audit alpha/0 row 2: follows row 0"),
        (lambda lines: lines[:-4], "export line 16: is missing: the export was cut off"),
        (lambda lines: [], "export line 1: is missing"),
        (lambda lines: lines[1:], "export line 1: cannot be read"),
        (lambda lines: [*lines, lines[1]], "export line 20: follows the last line"),
        (lambda lines: [lines[0], "{", *lines[1:]], "export line 2: cannot be read"),
        (lambda lines: [lines[0], '{"other":1}', *lines[1:]], "export line 2: cannot be read: ValueError holds other"),
        (lambda lines: [lines[0], "[" * 100_000, *lines[1:]], "export line 2: cannot be read"),
        (lambda lines: [lines[0], lines[1].replace("+00:00", "Z"), *lines[2:]], "export line 2: cannot be read: ValueError a field"),
        (lambda lines: [line for line in lines if '"seal"' not in line or '"number":2' not in line], "seal 3: follows seal 1"),
    ],
)  # fmt: skip
def test_S124_a_tampered_export_is_found(sealed, bend, expected):
    found = judge(sealed, bend(export_of(sealed)))
    assert found[0].startswith(expected), found


def test_an_export_says_what_the_store_could_not(sealed):
    sealed.tamper(*TAMPERINGS["row unreadable"][0])
    sealed.tamper(*TAMPERINGS["no heads"][0])
    assert [one.partition(":")[0] for one in judge(sealed, export_of(sealed))] == ["seal 2", "audit alpha/1 row 3", "seal 3"]
    damaged = export_of(sealed)
    again = [damage for entry in Export(damaged).entries() for damage in Trail().take(entry)]
    assert again


@pytest.mark.parametrize("torn", [b'{"number": 4', b""])
def test_what_a_crash_left_of_a_line_is_cut_off(sealed, torn):
    path = sealed.sealer.file.path
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert sealed.sealer.file.newest().number == 3
    sealed.sealer.seal(sealed.repository)
    assert path.read_bytes().startswith(whole)
    assert sealed.problems() == []
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_none_is_told(tmp_path):
    assert SealFile(tmp_path / "absent").newest() is None
    (tmp_path / "empty").touch()
    assert SealFile(tmp_path / "empty").newest() is None
    (tmp_path / "odd").write_text("rubbish\n")
    with pytest.raises(Unavailable, match="its last line"):
        SealFile(tmp_path / "odd").newest()
    for act in (SealFile(tmp_path).newest, SealFile(tmp_path / "absent").lines, lambda: SealFile(tmp_path).append([])):
        with pytest.raises(Unavailable, match="cannot be"):
            act()


def test_long_lines_and_long_files_are_read_from_their_end(tmp_path):
    file = SealFile(tmp_path / "seals")
    heads = {f"node/{number}": Head(number, bytes(32)) for number in range(1500)}
    seals = [next_seal(None, heads, BEGIN.isoformat())]
    for _ in range(2):
        seals.append(next_seal(seals[-1], heads, (BEGIN + timedelta(hours=1)).isoformat()))
    file.append(seals)
    assert file.path.stat().st_size > 3 * 65_536
    assert file.newest() == seals[-1]
    assert list(file.lines()) == seals


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "7", '{"number":"1"}', '{"number":true,"at":"2026-01-01"}', '{"number":1,"at":"x"}', '{"number":1,"at":7}',
     '{"number":1,"at":"2026-01-01","heads":[["a",1,"00"],["a",1,"00"]]}', '{"number":1,"at":"2026-01-01","heads":[["a","1","00"]]}',
     '{"number":1,"at":"2026-01-01","heads":[["a",1,"zz"]]}', '{"number":1,"at":"2026-01-01","heads":7}'],
)  # fmt: skip
def test_what_is_no_seal_is_refused(text):
    with pytest.raises(ValueError):
        parse_seal(text)


def test_heads_of_nothing():
    assert parse_heads([]) == {}


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_both_kinds_of_audit_keys_sign(key):
    signature = sign(key, b"octets")
    assert is_signed(key.public_key(), signature, b"octets")
    assert not is_signed(key.public_key(), signature, b"octet")
    assert not is_signed(key.public_key(), b"", b"octets")
