"""One store, empty, with an issuer and a device; it must be sound in the end."""

import sqlite3

import pytest

from scepd.store.check import check_store
from tests.store.building import Clock, Device, Issuer, open_repository, prepare


@pytest.fixture(scope="module")
def issuer():
    return Issuer.make()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sqlite"])
def opening(request, tmp_path, clock):
    """A function that opens a further connection to one store; the store must be sound in the end."""
    assert request.param == "sqlite"
    prepare(tmp_path)
    opened = []

    def open_one(**options):
        opened.append(open_repository(tmp_path, clock, **options))
        return opened[-1]

    yield open_one
    for repository in opened:
        repository.close()


@pytest.fixture
def store(opening, issuer):
    repository = opening()
    yield repository
    assert check_store(repository, {"main": issuer.der}) == []


@pytest.fixture
def device():
    return Device.make()


@pytest.fixture
def table_rows(tmp_path):
    """A function that queries the tables past the store."""

    def query(statement):
        database = sqlite3.connect(tmp_path / "scepd.sqlite")
        try:
            return database.execute(statement).fetchall()
        finally:
            database.close()

    return query
