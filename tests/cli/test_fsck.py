"""`scepd fsck`: its words and its exit status, a large clean store while others write, and its memory."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time

import attrs
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepd.cli.main import program
from tests.store.building import Device, open_repository
from tests.store.damaged import make_town
from tests.store.large import enrol_once, make_large

COUNT = 10_000 * int(os.environ.get("SCALE", "1"))
# What the command costs at all is measured over a small store: the difference may not follow the rows.
MEMORY = 60 * 1024  # KiB
MEASURED = (
    "import resource, sys\nfrom scepd.cli.main import program\n"
    "status = program(prog_name='scepd', standalone_mode=False)\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\nsys.exit(status or 0)\n"
)


def write(path, content):
    path.write_bytes(content)
    path.chmod(0o644)
    return path


@attrs.frozen
class Shelf:
    """A copied store with what it is verified with."""

    directory: object
    config: object

    def arguments(self, *options):
        named = {"--store": "scepd.sqlite", "--key": "audit.pem", "--seals": "audit-seals.jsonl"}
        files = [(option, self.directory / name) for option, name in named.items() if (self.directory / name).exists()]
        issuer = ("--issuer", f"main={self.directory / 'ca.pem'}")
        arguments = ("fsck", *(word for pair in files for word in pair), *issuer, "--config", self.config, *options)
        return [str(word) for word in arguments]

    def run(self, *options):
        return CliRunner().invoke(program, self.arguments(*options))


def shelve(directory, config, issuer):
    write(directory / "ca.pem", x509.load_der_x509_certificate(issuer.der).public_bytes(Encoding.PEM))
    return Shelf(directory, config)


@pytest.fixture(scope="module")
def model(tmp_path_factory, elliptic):
    town = make_town(tmp_path_factory.mktemp("town"))
    key = town.sealer.key.public_key()
    write(town.directory / "audit.pem", key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return town


@pytest.fixture
def shelf(model, elliptic, tmp_path):
    town = model.copy(tmp_path)
    # Their clock stands in the spring: the intents that wait there are old today.
    town.plant(
        "DELETE FROM certificate WHERE state = 'reserved'", "DELETE FROM outbox WHERE state = 'held'",
        "DELETE FROM challenge_use WHERE state = 'reserved' AND \"transaction\" = 3", "UPDATE challenge SET state = 'free', uses_left = 1 WHERE id = 2",
        "DELETE FROM entity WHERE state = 'RESERVED'", "DELETE FROM \"transaction\" WHERE state = 'ISSUING'",
    )  # fmt: skip
    return shelve(tmp_path, elliptic.config, model.issuer)


def test_nothing_found_is_0_with_the_numbers(shelf):
    result = shelf.run()
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("the store is sound: certificates 8, transactions 8, challenges 5, crls 2, audit rows")
    report = json.loads(shelf.run("--json").stdout)
    assert (report["ok"], report["seals"], report["findings"]) == (True, 2, [])


def test_N13_a_trail_that_nobody_sealed_is_not_called_sound_without_a_word(shelf):
    database = sqlite3.connect(shelf.directory / "scepd.sqlite", isolation_level=None)
    database.execute("DELETE FROM audit_seal")
    database.close()
    (shelf.directory / "audit-seals.jsonl").unlink()
    result = shelf.run()
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("the store is sound, and nothing of its audit trail is sealed yet: certificates 8")


def test_G22_a_finding_is_one_line_with_what_where_and_try_and_the_status_is_1(shelf):
    database = sqlite3.connect(shelf.directory / "scepd.sqlite", isolation_level=None)
    database.execute("UPDATE certificate SET subject = 'CN=evil\x1b[2J', subject_folded = 'cn=evil\x1b[2j' WHERE id = 1")
    (serial,) = database.execute("SELECT serial FROM certificate WHERE id = 1").fetchone()
    database.close()
    result = shelf.run()
    assert result.exit_code == 1
    expected = f"certificate main {serial}: its subject is CN=r1, on record CN=evil?[2J · scepd cert show {serial}\n"
    assert result.stdout == expected
    assert result.stderr.startswith("1 finding: certificates 8")
    (finding,) = json.loads(shelf.run("--json").stdout)["findings"]
    assert (finding["where"], finding["try"]) == (f"certificate main {serial}", f"scepd cert show {serial}")


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (("--issuer", "main"), 2, "is not NAME=PEM"),
        (("--issuer", "main=/absent"), 2, "does not exist"),
        (("--config", "/absent"), 78, "/absent"),
    ],
)
def test_the_exit_status_says_who_must_mend_what(shelf, change, status, words):
    result = shelf.run(*change)
    assert (result.exit_code, words in result.stderr) == (status, True), result.stderr


def test_a_store_that_does_not_say_its_version_is_refused_readably(shelf):
    database = sqlite3.connect(shelf.directory / "scepd.sqlite", isolation_level=None)
    database.execute("DELETE FROM meta WHERE name = 'schema_version'")
    database.close()
    result = shelf.run()
    assert (result.exit_code, "does not say which schema it has" in result.stderr) == (1, True), result.output


def test_the_configured_store_is_sound(elliptic):
    result = CliRunner().invoke(program, ["fsck", "--config", str(elliptic.config)])
    assert result.exit_code == 0, result.output


def measure(shelf):
    """Run the command in a process of its own; return its report and its greatest resident set, KiB."""
    arguments = [sys.executable, "-c", MEASURED, *shelf.arguments("--json")]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=3600, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout), int(result.stderr.split()[-1])


def test_G03_a_large_clean_store_gives_no_false_alarm_while_others_write_and_memory_is_bounded(
    shelf, elliptic, tmp_path_factory
):
    directory = tmp_path_factory.mktemp("large")
    issuer = make_large(directory, COUNT)
    large = shelve(directory, elliptic.config, issuer)
    over, written = threading.Event(), []

    def write_on():
        store, device = open_repository(directory, owner="alpha/1"), Device.make("CN=busy")
        while not over.wait(0.02):
            written.append(enrol_once(store, issuer, device, f"busy{len(written)}"))
        store.close()

    _, baseline = measure(shelf)
    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        began = time.perf_counter()
        report, resident = measure(large)
        seconds = time.perf_counter() - began
    finally:
        over.set()
        writer.join()
    assert report["findings"] == []
    assert COUNT <= report["certificates"] <= COUNT + len(written)
    assert len(written) > 5
    print(
        f"{COUNT} certificates checked in {seconds:.1f} s while {len(written)} were issued; "
        f"{resident // 1024} MB resident, {baseline // 1024} MB over a small store"
    )
    assert resident - baseline < MEMORY
