"""`scepd audit` over a sealed store: what it prints, and its exit status."""

import json
import os
import shutil
import sqlite3
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.cli.main import program
from scepd.observe.audit import GENESIS, link
from tests.store.sealing import Sealer, make_sealed


def run(*arguments, **options):
    return CliRunner().invoke(program, ["audit", *map(str, arguments)], **options)


@attrs.frozen
class Copy:
    """A copied store with its file of seals and the audit key's public key."""

    directory: object
    sealer: Sealer

    @property
    def store(self):
        return self.directory / "scepd.sqlite"

    @property
    def key(self):
        return self.directory / "audit.pem"

    @property
    def seals(self):
        return self.directory / "audit-seals.jsonl"

    def verify(self, *options):
        return run("verify", "--store", self.store, "--key", self.key, "--seals", self.seals, *options)

    def tamper(self, statement, *values):
        database = sqlite3.connect(self.store, isolation_level=None)
        database.execute(statement, values)
        database.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    sealer = make_sealed(tmp_path_factory.mktemp("sealed"))
    pem = sealer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = sealer.file.path.with_name("audit.pem")
    key.write_bytes(pem)
    key.chmod(0o644)
    return sealer


@pytest.fixture
def copy(model, tmp_path):
    for path in model.file.path.parent.iterdir():
        shutil.copy(path, tmp_path)
    return Copy(tmp_path, model)


def test_S124_a_sound_copy_is_verified_without_any_configuration(copy):
    result = copy.verify()
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("the audit trail is sound: rows 14, chains 2, seals 3, unsealed rows 2, newest seal 3 of")
    report = json.loads(copy.verify("--json").stdout)
    assert (report["ok"], report["rows"], report["seals"], report["findings"]) == (True, 14, 3, [])


def test_S124_the_first_bad_row_is_named_on_one_line_and_the_status_is_1(copy):
    copy.tamper("UPDATE audit SET actor = 'mallory\x1b[2J' WHERE owner = 'alpha/1' AND sequence = 3")
    result = copy.verify()
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    assert line.startswith("audit alpha/1 row 3: its content was changed · compare with an older copy")
    assert result.stderr.startswith("1 finding: rows 14")
    (finding,) = json.loads(copy.verify("--json").stdout)["findings"]
    assert (finding["where"], finding["what"]) == ("audit alpha/1 row 3", "its content was changed")


def test_S124_a_file_of_seals_that_is_gone_is_found(copy):
    copy.seals.rename(copy.directory / "away")
    result = run("verify", "--store", copy.store, "--key", copy.key, "--seals", copy.directory / "away")
    assert result.exit_code == 0
    assert copy.verify().exit_code == 2  # a file that is named must be there
    assert run("verify", "--store", copy.store, "--key", copy.key).exit_code == 0  # none is compared unless named


def age(copy, hours):
    """Take every seal away, and write all rows anew as of that time before now, as who can write to the store may."""
    database = sqlite3.connect(copy.store)
    database.execute("DELETE FROM audit_seal")
    now, ends = datetime.now(UTC), {}
    words = ("owner", "sequence", "action", "actor", "target", "details")
    for row in list(database.execute(f"SELECT {', '.join(words)} FROM audit ORDER BY owner, sequence")):
        owner, sequence = row[:2]
        at = now - timedelta(hours=hours if sequence == 1 else 0, minutes=1)
        record = {**dict(zip(words, row, strict=True)), "at": at.isoformat(timespec="microseconds")}
        previous = ends.get(owner, GENESIS)
        ends[owner] = link(previous, record)
        values = (record["at"], previous, ends[owner], owner, sequence)
        database.execute("UPDATE audit SET at = ?, previous = ?, hash = ? WHERE owner = ? AND sequence = ?", values)
    for owner, digest in ends.items():
        database.execute("UPDATE audit_head SET hash = ? WHERE owner = ?", (digest, owner))
    database.commit()
    database.close()
    copy.seals.unlink()


@pytest.mark.parametrize("hours", [2, 0.5])
def test_S124_a_trail_that_no_key_has_signed_is_not_called_sound(copy, hours):
    age(copy, hours)
    export = copy.directory / "audit.jsonl"
    assert run("export", "--store", copy.store, "--output", export).exit_code == 0
    for source in (("--store", copy.store), ("--export", export)):
        result = run("verify", *source, "--key", copy.key)
        assert "trail is sound" not in result.output
        if hours < 1:  # the first seal may be due yet
            assert result.exit_code == 0, result.output
            assert result.stdout.startswith("every link of the audit trail holds, and nothing is sealed yet: rows 14")
        else:
            assert result.exit_code == 1
            assert result.stdout.startswith("audit trail: nothing is sealed yet: no key has signed any of its 14 rows · ")
            (finding,) = json.loads(run("verify", *source, "--key", copy.key, "--json").stdout)["findings"]
            assert "audit_unsealed" in finding["try"]


def test_S124_the_configured_interval_says_how_long_nothing_may_be_sealed(copy, elliptic, tmp_path):
    site = tmp_path / "site"
    shutil.copytree(elliptic.directory, site)
    config = site / "scepd.toml"
    config.write_text(config.read_text().replace(str(elliptic.directory), str(site)))
    age(copy, 2)
    shutil.copy(copy.store, site / "state" / "scepd.sqlite")
    (site / "state" / "audit-seals.jsonl").unlink(missing_ok=True)
    assert run("verify", "--config", config).exit_code == 1
    text = config.read_text()
    config.write_text(text.replace("[audit]\n", '[audit]\nseal_every = "3h"\n').replace('seal_every = "1h"\n', ""))
    result = run("verify", "--config", config)
    assert result.exit_code == 0, result.output
    assert "nothing is sealed yet" in result.stdout
    assert "compared with" not in result.stdout  # there is no file of seals


def test_another_key_proves_nothing(copy, tmp_path):
    other = Sealer.within(tmp_path)
    key = tmp_path / "other.pem"
    key.write_bytes(other.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    key.chmod(0o644)
    result = run("verify", "--store", copy.store, "--key", key)
    assert result.exit_code == 1
    assert result.stdout.count("is signed by a key that is not known here") == 3
    both = run("verify", "--store", copy.store, "--key", key, "--key", copy.key)
    assert both.exit_code == 0


def test_S124_an_export_is_verified_offline_by_itself(copy):
    output = copy.directory / "audit.jsonl"
    assert run("export", "--store", copy.store, "--output", output).exit_code == 0
    assert output.stat().st_mode & 0o777 == 0o600
    assert run("verify", "--export", output, "--key", copy.key, "--seals", copy.seals).exit_code == 0
    text = output.read_text()
    assert run("export", "--store", copy.store).stdout == text
    assert run("verify", "--export", "-", "--key", copy.key, input=text.encode()).exit_code == 0
    output.write_text(text.replace('"actor":"ann"', '"actor":"eve"', 1))
    result = run("verify", "--export", output, "--key", copy.key)
    assert result.exit_code == 1
    assert result.stdout.startswith("audit alpha/0 row 1: its content was changed")
    again = run("export", "--store", copy.store, "--output", output)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    nowhere = run("export", "--store", copy.store, "--output", copy.directory / "none" / "x")
    assert "cannot be made" in nowhere.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--store", "{store}", "--export", "{store}"], 2, "not both"),
        (["--store", "/absent"], 2, "does not exist"),
        (["--store", "{store}", "--key", "{store}"], 2, "no readable PEM public key or certificate"),
        (["--store", "{key}", "--key", "{key}"], 1, "not possible now: store: file is not a database"),
        (["--config", "/absent"], 78, "/absent"),
    ],
)
def test_the_exit_status_says_who_must_mend_what(copy, arguments, status, words):
    named = [text.format(store=copy.store, key=copy.key) for text in arguments]
    result = run("verify", *named)
    assert (result.exit_code, words in result.stderr) == (status, True), result.stderr


def test_a_thousand_findings_are_listed_and_the_rest_counted(copy):
    lines = ['{"format":"scepd-audit-trail","version":1}', *["{"] * 1500, '{"heads":{}}']
    result = run("verify", "--export", "-", "--key", copy.key, input="\n".join(lines).encode())
    assert result.exit_code == 1
    assert result.stdout.count("\n") == 1001
    assert result.stdout.endswith("... and 500 more\n")


def test_the_configured_store_is_listed_shown_verified_and_exported(elliptic, tmp_path):
    config = ("--config", elliptic.config)
    made = CliRunner().invoke(program, ["challenge", "new", "default", "--cn", "r9", "--json", *map(str, config)])
    target = f"challenge {json.loads(made.stdout)['id']}"
    listed = json.loads(run("list", "--target", target, "--json", *config).stdout)
    assert [(row["action"], row["target"], row["chain"]) for row in listed] == [("challenge_added", target, "n1/cli")]
    assert target in run("list", "--action", "challenge_added", *config).stdout
    assert "no such audit rows" in run("list", "--action", "crl_published", *config).stderr
    shown = json.loads(run("show", "n1/cli", listed[0]["row"], "--json", *config).stdout)
    assert shown["details"]["common_name"] == "r9"
    assert "common name  r9" in run("show", "n1/cli", listed[0]["row"], *config).stdout
    absent = run("show", "n1/cli", 99_999, *config)
    assert (absent.exit_code, "has no row 99999" in absent.stderr) == (1, True)
    result = run("verify", *config)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("every link of the audit trail holds, and nothing is sealed yet: rows")
    assert "seals 0" in result.stdout
    output = tmp_path / "x"
    assert run("export", "--output", output, *config).exit_code == 0
    assert run("verify", "--export", output, *config).exit_code == 0


def fill(copy, count):
    """Append rows to one chain as fast as the driver takes them."""
    database = sqlite3.connect(copy.store)
    previous, rows = GENESIS, []
    for sequence in range(1, count + 1):
        record = {
            "owner": "beta/0", "sequence": sequence, "at": "2026-03-01T12:00:00.000000+00:00", "action": "certificate_issued",
            "actor": "static: r1.example.net", "target": f"transaction {sequence}", "details": '{"issuer":"devices"}',
        }  # fmt: skip
        digest = link(previous, record)
        rows.append((*record.values(), previous, digest))
        previous = digest
    database.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    database.execute("INSERT INTO audit_head VALUES ('beta/0', ?, ?)", (count, previous))
    database.commit()
    database.close()


def test_S124_verifying_keeps_pace_and_its_memory_does_not_follow_the_rows(copy):
    count = 10_000 * int(os.environ.get("SCALE", "1"))
    fill(copy, count)
    began = time.perf_counter()
    result = copy.verify()
    rate = count / (time.perf_counter() - began)
    assert result.exit_code == 0, result.output
    assert f"rows {count + 14}" in result.stdout
    tracemalloc.start()
    assert copy.verify().exit_code == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{count} audit rows verified at {rate:.0f} a second, {peak / 1e6:.1f} MB allocated at most")
    assert peak < 4e6
