"""Fixtures: an issuer, a prepared store, a repository over it, and the self-check after each test that used it."""

import pytest

from scepd.store.check import check_store

from .building import Clock, Device, Issuer, open_repository, prepare


@pytest.fixture(scope="session")
def issuer():
    return Issuer.make()


@pytest.fixture
def device():
    return Device.make()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory(tmp_path):
    prepare(tmp_path)
    return tmp_path


@pytest.fixture
def repository(directory, clock):
    opened = open_repository(directory, clock)
    yield opened
    opened.close()


@pytest.fixture
def sound(repository, issuer):
    """For tests that leave a sound store: the self-check says so at their end."""
    yield repository
    assert check_store(repository, {"main": issuer.der}) == []
