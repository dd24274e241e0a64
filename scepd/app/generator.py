"""The challenge generator of one worker: calls are answered in a thread with a store connection of its own."""

import os
import time
from typing import Any, Self

from twisted.internet.defer import Deferred

from scepd.admin.actions import Actions
from scepd.admin.generator import Asked, GeneratorReply, answer
from scepd.admin.generator_resource import GeneratorResource
from scepd.app.clerk import Clerk
from scepd.app.clock import UtcClock
from scepd.app.parcel import Parcel
from scepd.config.settings import Settings
from scepd.store.engines import open_engine
from scepd.store.repository import Repository
from scepd.web.gcra import RateLimit

_FAILURES = 30  # calls a minute without a good token, of one address and all workers


class Generator:
    """Needs no token: challenges are handed out while it is away. Rates and tokens are the store's, of all workers."""

    def __init__(self, reactor: Any, settings: Settings, parcel: Parcel, store_key: bytes) -> None:
        """Begin; the store is opened by the first call."""
        self._settings = settings
        self._store_key = store_key
        self._owner = f"{settings.appliance.node}/{parcel.slot}.generator"
        self._clock = UtcClock()
        self._profiles = {profile.name: profile for profile in settings.profiles}
        self._clerk = Clerk(reactor, "generator", self._open)
        self._clerk.start()
        failures = RateLimit(_FAILURES / (parcel.slots or 1), clock=time.monotonic_ns)
        self.resource = GeneratorResource(self.answer, failures)

    @classmethod
    def where_served(cls, reactor: Any, settings: Settings, parcel: Parcel, store_key: bytes) -> Self | None:
        """Return the generator, None where no listener serves challenges."""
        is_served = any("challenges" in listener.serves for listener in settings.listeners)
        return cls(reactor, settings, parcel, store_key) if is_served else None

    def answer(self, asked: Asked) -> Deferred[GeneratorReply]:
        """Answer one call in the thread."""
        return self._clerk.run(lambda repository: answer(self._actions(repository), asked))

    def stop(self) -> Deferred[None]:
        """End after what waits already."""
        return self._clerk.stop()

    def _open(self) -> Repository:
        engine = open_engine(self._settings.store.url, self._settings.appliance.state)
        return Repository(engine, owner=self._owner, clock=self._clock)

    def _actions(self, repository: Repository) -> Actions:
        return Actions(repository, self._profiles, self._store_key, self._clock, os.urandom)
