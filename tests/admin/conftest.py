import os
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from scepd.admin.actions import Actions
from scepd.profile.model import OneTimeRule, Profile, StaticRule
from scepd.records import Secret
from scepd.store.engines import open_engine
from scepd.store.migrate import upgrade
from scepd.store.repository import Repository

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
STORE_KEY = bytes(range(32))
URL = "sqlite:///scepd.sqlite"


@attrs.define
class FakeClock:
    time: datetime = NOW

    def now(self):
        return self.time


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
