"""A copy of the store while others write: whole, of one moment, and sound (threats S-105)."""

import sqlite3
import threading
import time
from contextlib import closing
from itertools import count

import pytest

from scepd.refusal import OperatorError, Unavailable
from scepd.store.check import check_store
from scepd.store.copy import copy_store, inspect_copy, upgrade_copy
from scepd.store.engines import open_engine
from scepd.store.marks import Marks
from scepd.store.repository import Repository

from .building import URL, Clock, Device, add_challenge, enrol, open_repository

COPIES = 4


def enrol_until(over, directory, issuer, name):
    repository = open_repository(directory, owner=f"alpha/{name}")
    for number in count():
        if over.is_set():
            break
        challenge = add_challenge(repository)
        enrol(repository, issuer, Device.make(f"CN={name}-{number}"), challenge=challenge.id)
    repository.close()


def wait_for_more(repository):
    """Wait until something was written, but not for ever."""
    before, patience = repository.position(), time.monotonic() + 20
    while repository.position() == before and time.monotonic() < patience:
        time.sleep(0.01)


def test_S105_copies_under_enrolment_load_are_each_of_one_moment_and_sound(directory, repository, issuer):
    over = threading.Event()
    writers = [
        threading.Thread(target=enrol_until, args=(over, directory, issuer, name)) for name in ("one", "two", "three")
    ]
    for writer in writers:
        writer.start()
    copies = [directory / f"copy{number}" for number in range(COPIES)]
    try:
        for copy in copies:
            wait_for_more(repository)
            copy_store(URL, directory, copy)
    finally:
        over.set()
        for writer in writers:
            writer.join()
    found = [inspect_copy(copy, "alpha") for copy in copies]
    assert [one.problems for one in found] == [()] * COPIES
    assert found[0].position.transactions < found[-1].position.transactions  # they wrote all the time
    for copy, inspection in zip(copies, found, strict=True):
        assert copy.stat().st_mode & 0o777 == 0o600
        with closing(Repository(open_engine(f"sqlite:///{copy}", directory), owner="x/1", clock=Clock())) as store:
            assert check_store(store, {"main": issuer.der}) == []
            assert store.position() == inspection.position


def test_S105_a_copy_is_compared_with_marks(directory, repository, issuer):
    copy_store(URL, directory, directory / "copy")
    enrol(repository, issuer, Device.make())
    inspection = inspect_copy(directory / "copy", "alpha", Marks(position=repository.position()))
    assert inspection.problems == ()
    assert "1 certificates (after number 0)" in inspection.lost


def damage(path, statement):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_what_is_wrong_with_a_copy_is_told(directory, repository, issuer):
    enrol(repository, issuer, Device.make())
    copy = directory / "copy"
    copy_store(URL, directory, copy)
    with pytest.raises(Unavailable, match="cannot be written"):
        copy_store(URL, directory, copy)
    with pytest.raises(OperatorError, match="there is no store"):
        copy_store("sqlite:///none.sqlite", directory, directory / "other")
    assert upgrade_copy(copy) == []
    damage(copy, "UPDATE audit SET details = '{}'")
    assert "its content was changed" in inspect_copy(copy, "alpha").problems[0]
    damage(copy, "UPDATE meta SET value = '99' WHERE name IN ('schema_version', 'min_reader_version')")
    assert "the store has schema 99" in inspect_copy(copy, "alpha").problems[0]
    assert "the store has schema 99" in upgrade_copy(copy)[0]
    copy.write_bytes(b"SQLite format 3\0" + bytes(5000))
    assert "cannot be read" in inspect_copy(copy, "alpha").problems[0]
    octets = bytearray((directory / "scepd.sqlite").read_bytes())
    octets[4096 * 3 : 4096 * 5] = b"\x5a" * 8192
    copy.write_bytes(octets)
    assert inspect_copy(copy, "alpha").problems
