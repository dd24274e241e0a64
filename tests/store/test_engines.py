"""The engine: durable settings, file modes, and store faults as Unavailable."""

import fcntl
import os
import sqlite3
import stat
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, text

from scepd.refusal import OperatorError, Reason, Reject, Unavailable
from scepd.store.engines import Conflict, StoreConnection, open_engine
from scepd.store.rows import time_text
from scepd.store.schema import LEASE

from .building import URL, Clock, add_challenge, make_intent, open_repository


def pragma(repository, name):
    return repository._connection.query(text(f"PRAGMA {name}"))[0][0]


def test_commits_are_durable_and_references_enforced(repository):
    assert pragma(repository, "journal_mode") == "wal"
    assert pragma(repository, "synchronous") == 2  # FULL
    assert pragma(repository, "foreign_keys") == 1


def test_the_files_are_their_owners_alone(directory, repository):
    add_challenge(repository)
    files = [path for path in directory.iterdir() if path.name.startswith("scepd.sqlite")]
    assert {path.name for path in files} >= {"scepd.sqlite", "scepd.sqlite-wal", "scepd.sqlite.lock"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "no url at all"],
)
def test_other_engines_are_refused_with_a_hint(tmp_path, url):
    with pytest.raises(OperatorError) as caught:
        open_engine(url, tmp_path)
    assert "sqlite:///" in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_missing_store_is_the_operators_matter(tmp_path):
    with pytest.raises(OperatorError) as caught:
        open_engine(URL, tmp_path)
    assert caught.value.hint == "restore the backup; or scepd run makes an empty one"
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_a_missing_directory_is_the_operators_matter(tmp_path):
    with pytest.raises(OperatorError):
        open_engine("sqlite:///nowhere/scepd.sqlite", tmp_path, create=True)
    with pytest.raises(OperatorError):
        open_engine("sqlite:///", tmp_path, create=True)


def test_each_write_locks_begins_immediate_and_commits(directory, monkeypatch):
    seen = []
    repository = open_repository(directory, checkpoint=seen.append)
    repository._connection._raw.set_trace_callback(lambda words: seen.append(words.split("\n")[0][:15]))
    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda fd, how: (seen.append(how), flock(fd, how)))
    add_challenge(repository)
    assert seen[:2] == [fcntl.LOCK_EX, "BEGIN IMMEDIATE"]
    assert seen[-4:] == ["add_challenge.before_commit", "COMMIT", fcntl.LOCK_UN, "add_challenge.after_commit"]
    assert not [words for words in seen[2:-4] if str(words).startswith(("BEGIN", "COMMIT"))]
    repository.close()


def test_reads_take_no_lock(directory, repository, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: pytest.fail("a read took the lock"))
    assert repository.transactions() == []
    assert repository.find_challenge("routers", b"x") is None


def test_a_locked_store_is_unavailable_and_heals(directory, issuer, device):
    engine = open_engine(URL, directory, busy_timeout=timedelta(milliseconds=50))
    from scepd.store.repository import Repository

    repository = Repository(engine, owner="alpha/0", clock=Clock())
    other = sqlite3.connect(directory / "scepd.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        repository.claim(make_intent(issuer, device))
    assert repository.transactions() == []  # readers go on
    other.execute("ROLLBACK")
    other.close()
    assert repository.claim(make_intent(issuer, device))[1]
    repository.close()


def test_a_full_disk_is_unavailable_and_nothing_of_the_act_stays(repository, issuer, device):
    connection = repository._connection
    pages = pragma(repository, "page_count")
    connection.query(text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(Unavailable, match="full"):
        for number in range(1000):
            repository.claim(make_intent(issuer, device, transaction_id=str(number), csr_der=b"c" * 20_000))
    stored = len(repository.transactions(limit=2000))
    assert len(repository.certificates(limit=2000)) == stored == len(repository.audit(limit=2000))
    connection.query(text("PRAGMA max_page_count = 1000000"))
    assert repository.claim(make_intent(issuer, device))[1]


def test_a_corrupt_store_is_unavailable(directory, issuer, device):
    repository = open_repository(directory)
    for number in range(50):
        repository.claim(make_intent(issuer, device, transaction_id=str(number)))
    repository.close()
    path = directory / "scepd.sqlite"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(size - 8192))
    with pytest.raises(Unavailable, match="store: "):
        repository = open_repository(directory)
        for number in range(50):
            repository.claim(make_intent(issuer, device, transaction_id=str(number)))


def test_no_database_at_all_is_unavailable(tmp_path):
    (tmp_path / "scepd.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(Unavailable):
        StoreConnection(open_engine(URL, tmp_path))


def test_a_lock_that_cannot_be_made_is_unavailable(directory):
    (directory / "scepd.sqlite.lock").unlink(missing_ok=True)
    (directory / "scepd.sqlite.lock").mkdir()
    with pytest.raises(Unavailable, match="lock"):
        open_repository(directory)


def test_a_lock_that_fails_is_unavailable(repository, monkeypatch):
    def broken(_descriptor, _how):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(Unavailable, match="Input/output"):
        add_challenge(repository)


def test_a_failing_checkpoint_rolls_back(directory, issuer, device):
    def refuse(name):
        if name == "claim.before_commit":
            raise Reject(Reason.interrupted)

    repository = open_repository(directory, checkpoint=refuse)
    with pytest.raises(Reject):
        repository.claim(make_intent(issuer, device))
    assert repository.transactions() == []
    assert repository.audit() == []
    add_challenge(repository)  # the lock is free, the connection usable
    repository.close()


def test_a_faulty_statement_is_no_store_fault(repository):
    with pytest.raises(sqlite3.ProgrammingError):
        repository._connection._run("SELECT ?", ())


def test_times_are_stored_in_utc_at_one_width():
    zoned = datetime.fromisoformat("2026-03-01T13:00:00+01:00")
    assert time_text(zoned) == "2026-03-01T12:00:00.000000+00:00"
    assert time_text(datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)) == "2026-03-01T12:00:00.000005+00:00"
    with pytest.raises(ValueError, match="naive"):
        time_text(datetime(2026, 3, 1, 12))  # noqa: DTZ001 - the fault under test


def test_secrets_of_statements_stay_out_of_fault_texts(directory, issuer, device, repository):
    assert repository._connection.connection.engine.hide_parameters
    other = sqlite3.connect(directory / "scepd.sqlite", isolation_level=None)
    other.execute("DROP TABLE audit_head")
    other.close()
    with pytest.raises(Unavailable) as caught:
        repository.claim(make_intent(issuer, device, subject="CN=canary-9f2"))
    assert "canary" not in str(caught.value)


def test_faults_of_composed_queries_are_unavailable(directory, repository):
    other = sqlite3.connect(directory / "scepd.sqlite", isolation_level=None)
    other.execute("DROP TABLE refusal")
    other.close()
    with pytest.raises(Unavailable, match="no such table"):
        repository.refusals()


def test_a_row_gone_from_under_a_transaction_is_unavailable(directory, repository, issuer, device):
    claimed, _ = repository.claim(make_intent(issuer, device))
    other = sqlite3.connect(directory / "scepd.sqlite", isolation_level=None)
    other.execute("DELETE FROM certificate")
    with pytest.raises(Unavailable, match="no reserved serial"):
        repository.record(claimed, b"der", ())
    other.execute("DELETE FROM 'transaction'")
    other.close()
    with pytest.raises(Unavailable, match="is gone"):
        repository.record(claimed, b"der", ())


def test_an_insert_with_fewer_columns_leaves_the_others_empty(directory):
    connection = StoreConnection(open_engine(URL, directory))
    add = insert(LEASE)
    with connection.write():
        connection.change(add, {"name": "one", "holder": "a", "until": "x"})
        with pytest.raises(Conflict, match="NOT NULL"):
            connection.change(add, {"name": "two", "holder": "a"})
        connection.change(add, {"until": "y", "name": "three", "holder": "b"})
    rows = connection.rows(select(LEASE.c.name, LEASE.c.holder, LEASE.c.until).order_by(LEASE.c.name))
    assert rows == [("one", "a", "x"), ("three", "b", "y")]
    connection.close()
