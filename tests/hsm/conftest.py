"""A prepared SoftHSM token per session, and a logged-in copy of it per test."""

import os

import pytest

from .tokens import open_bench, prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    before = os.environ.get("SOFTHSM2_CONF")
    yield prepare(tmp_path_factory.mktemp("prepared-token"))
    if before is None:
        os.environ.pop("SOFTHSM2_CONF", None)
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture
def bench(prepared, tmp_path):
    bench = open_bench(prepared, tmp_path)
    yield bench
    bench.module.finalise()
