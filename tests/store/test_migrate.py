"""Migrations: the scripts make the tables of the schema, atomically, also from an installed wheel."""

import importlib.resources
import shutil
import sqlite3
import stat
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

from scepd.refusal import OperatorError, Unavailable
from scepd.store import migrate
from scepd.store.check import check_store
from scepd.store.engines import StoreConnection, open_engine
from scepd.store.schema import METADATA, SCHEMA_VERSION
from scepd.store.version import read_versions

from .building import (
    BEGIN,
    URL,
    Device,
    add_challenge,
    certificate_row,
    enrol,
    make_intent,
    make_petition,
    open_repository,
    prepare,
)

ROOT = Path(__file__).parent.parent.parent


def set_versions(directory, schema, least):
    database = sqlite3.connect(directory / "scepd.sqlite", isolation_level=None)
    database.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (str(schema),))
    database.execute("UPDATE meta SET value = ? WHERE name = 'min_reader_version'", (str(least),))
    database.close()


def test_the_scripts_make_exactly_the_tables_of_the_schema(directory):
    connection = StoreConnection(open_engine(URL, directory))
    context = MigrationContext.configure(connection.connection, opts={"compare_type": True})
    assert compare_metadata(context, METADATA) == []
    made = connection.query(text("SELECT sql FROM sqlite_master WHERE sql LIKE '%CHECK%'"))
    declared = [c for table in METADATA.tables.values() for c in table.constraints if "ck_" in str(c.name)]
    assert sum(str(row[0]).count("CHECK") for row in made) == len(declared)  # autogenerate does not compare them
    connection.close()


def test_upgrade_says_from_where_to_where_and_repeats_harmlessly(tmp_path):
    assert migrate.upgrade(URL, tmp_path) == (0, SCHEMA_VERSION)
    assert migrate.upgrade(URL, tmp_path) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert migrate.current(URL, tmp_path) == SCHEMA_VERSION
    assert stat.S_IMODE((tmp_path / "scepd.sqlite").stat().st_mode) == 0o600


def test_current_of_nothing(tmp_path):
    with pytest.raises(OperatorError):
        migrate.current(URL, tmp_path)
    (tmp_path / "scepd.sqlite").touch()
    assert migrate.current(URL, tmp_path) == 0


def test_a_store_without_tables_is_refused_readably(tmp_path):
    (tmp_path / "scepd.sqlite").touch()
    with pytest.raises(OperatorError, match="schema 0"):
        open_repository(tmp_path)


def test_a_failed_migration_leaves_nothing(tmp_path, monkeypatch):
    run = migrate._run_scripts

    def run_and_fail(connection):
        run(connection)
        raise Unavailable("power")

    monkeypatch.setattr(migrate, "_run_scripts", run_and_fail)
    with pytest.raises(Unavailable):
        migrate.upgrade(URL, tmp_path)
    assert migrate.current(URL, tmp_path) == 0
    database = sqlite3.connect(tmp_path / "scepd.sqlite")
    assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    database.close()
    monkeypatch.undo()
    assert migrate.upgrade(URL, tmp_path) == (0, SCHEMA_VERSION)


def test_a_migration_that_breaks_references_is_taken_back(directory, monkeypatch):
    repository = open_repository(directory)
    add_challenge(repository)
    repository.close()

    def break_reference(connection):
        connection._run("INSERT INTO challenge_use VALUES (1, 1, 99, 'spent')")

    monkeypatch.setattr(migrate, "_run_scripts", break_reference)
    with pytest.raises(Unavailable, match="references"):
        migrate.upgrade(URL, directory)
    database = sqlite3.connect(directory / "scepd.sqlite")
    assert database.execute("SELECT count(*) FROM challenge_use").fetchone() == (0,)
    database.close()


def make_first_version(directory, monkeypatch, revision="0001"):
    """Make a store with the first version's tables, or with those of a later one."""

    def run_first(connection):
        config = Config()
        config.set_main_option("script_location", migrate.SCRIPTS)
        config.attributes["connection"] = connection.connection
        command.upgrade(config, revision)

    directory.mkdir()
    monkeypatch.setattr(migrate, "_run_scripts", run_first)
    assert migrate.upgrade(URL, directory) == (0, int(revision))
    monkeypatch.undo()


def copy_rows(source, target):
    """Copy what both stores have columns for."""
    database = sqlite3.connect(target / "scepd.sqlite", isolation_level=None)
    database.execute("ATTACH ? AS source", (str(source / "scepd.sqlite"),))
    tables = [row[0] for row in database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
    for table in set(tables) - {"meta", "alembic_version"}:
        columns = ", ".join(f'"{row[1]}"' for row in database.execute(f"PRAGMA main.table_info('{table}')"))
        database.execute(f"INSERT INTO main.'{table}' ({columns}) SELECT {columns} FROM source.'{table}'")
    database.close()


def test_S135_a_store_of_the_first_version_keeps_its_rows(tmp_path, issuer, monkeypatch):
    new, old = tmp_path / "new", tmp_path / "old"
    new.mkdir()
    prepare(new)
    repository = open_repository(new)
    devices = [Device.make(f"CN=r{number}") for number in range(3)]
    issued = enrol(repository, issuer, devices[0], challenge=add_challenge(repository).id)
    repository.claim(make_intent(issuer, devices[1], challenge=add_challenge(repository).id))
    repository.retire(enrol(repository, issuer, devices[2]))
    before = [repository.transactions(), repository.certificates(), repository.challenges(), repository.audit()]
    repository.close()
    make_first_version(old, monkeypatch)
    copy_rows(new, old)
    with pytest.raises(OperatorError, match=f"needs schema {SCHEMA_VERSION}"):
        open_repository(old)
    assert migrate.upgrade(URL, old) == (1, SCHEMA_VERSION)
    repository = open_repository(old)
    after = [repository.transactions(), repository.certificates(), repository.challenges(), repository.audit()]
    assert after == before
    assert certificate_row(repository, issued).id == 1
    assert repository.generation() == 0
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def test_S135_a_store_of_the_third_version_learns_how_approvals_end_and_names_compare(tmp_path, issuer, monkeypatch):
    new, old = tmp_path / "new", tmp_path / "old"
    new.mkdir()
    prepare(new)
    repository = open_repository(new)
    subjects = ("CN=R1.Example,O=eX", "CN=STRASSE ÄÖ", "CN=Straße äö")
    for subject in subjects:
        enrol(repository, issuer, Device.make(subject))
    waiting, _ = repository.petition(make_petition(issuer, Device.make("CN=r4")))
    repository.decide(repository.petition(make_petition(issuer, Device.make("CN=r5")))[0].id, approve=True, who="ann")
    repository.close()
    make_first_version(old, monkeypatch, "0003")
    copy_rows(new, old)
    database = sqlite3.connect(old / "scepd.sqlite", isolation_level=None)
    late = (BEGIN + timedelta(days=6)).isoformat(timespec="microseconds")
    database.execute("UPDATE \"transaction\" SET decided = ? WHERE state = 'APPROVED'", (late,))
    assert migrate.upgrade(URL, old) == (3, SCHEMA_VERSION)
    folded = [row[0] for row in database.execute("SELECT subject_folded FROM certificate ORDER BY id")]
    database.close()
    assert folded == ["cn=r1.example,o=ex", "cn=strasse äö", "cn=strasse äö"]
    repository = open_repository(old)
    approved, found = repository.transactions()[:2]
    assert approved.expires == BEGIN + timedelta(days=13)
    assert found == waiting
    assert check_store(repository, {"main": issuer.der}) == []
    repository.close()


def test_S135_an_older_program_refuses_a_newer_store(directory):
    set_versions(directory, schema=SCHEMA_VERSION + 2, least=SCHEMA_VERSION + 1)
    for attempt in (lambda: open_repository(directory), lambda: migrate.upgrade(URL, directory)):
        with pytest.raises(OperatorError, match=f"this program knows schema {SCHEMA_VERSION}"):
            attempt()


def test_S135_a_newer_store_that_declares_itself_readable_is_used_as_it_is(directory):
    set_versions(directory, schema=SCHEMA_VERSION + 1, least=SCHEMA_VERSION)
    database = sqlite3.connect(directory / "scepd.sqlite", isolation_level=None)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    assert migrate.upgrade(URL, directory) == (SCHEMA_VERSION + 1, SCHEMA_VERSION + 1)
    repository = open_repository(directory)
    assert add_challenge(repository).id == 1
    repository.close()


def test_the_scripts_are_package_data():
    folder = importlib.resources.files("scepd.store") / "migrations"
    assert (folder / "env.py").is_file()
    assert (folder / "versions" / "0001_first_tables.py").is_file()


def test_an_installed_wheel_migrates_an_empty_store(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("scepd", "twisted"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = (
        "import pathlib, scepd, scepd.store.migrate as m\n"
        f"assert scepd.__file__.startswith({str(site)!r}), scepd.__file__\n"
        f"print(*m.upgrade({URL!r}, pathlib.Path('.')))\n"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n{program}"]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"0 {SCHEMA_VERSION}\n"), done.stderr
    connection = StoreConnection(open_engine(URL, empty))
    assert read_versions(connection)[0] == SCHEMA_VERSION
    connection.close()


def test_a_missing_store_is_made_only_where_that_is_asked_for(tmp_path):
    with pytest.raises(OperatorError, match="no store"):
        migrate.upgrade(URL, tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []
