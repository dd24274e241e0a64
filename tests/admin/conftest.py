import os
from datetime import timedelta

import pytest

from scepd.admin.actions import Actions
from scepd.profile.model import OneTimeRule, Profile, StaticRule
from scepd.records import Secret
from scepd.store.engines import open_engine
from scepd.store.migrate import upgrade
from scepd.store.repository import Repository
from tests.world import STORE_KEY, URL, FakeClock


@pytest.fixture
def actions(tmp_path):
    """The actions over a real SQLite store, with a profile of each kind."""
    upgrade(URL, tmp_path)
    engine = open_engine(URL, tmp_path)
    clock = FakeClock()
    repository = Repository(engine, owner="node/desk", clock=clock)
    profiles = [
        Profile(name="routers", challenge=(OneTimeRule(timedelta(hours=2)),)),
        Profile(name="phones", challenge=(StaticRule(Secret("x" * 32)),)),
    ]
    yield Actions(repository, {profile.name: profile for profile in profiles}, STORE_KEY, clock, os.urandom)
    repository.close()
    engine.dispose()
