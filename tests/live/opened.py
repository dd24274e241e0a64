"""The store of a server, opened beside it."""

from contextlib import contextmanager
from datetime import UTC, datetime

from scepd.config.load import load
from scepd.store.engines import open_engine
from scepd.store.repository import Repository


class WallClock:
    """The present."""

    def now(self):
        return datetime.now(UTC)


@contextmanager
def opened(server):
    """Yield the repository of a server's store and its issuers' certificates by name."""
    settings = load(server.config)
    engine = open_engine(settings.store.url, settings.appliance.state)
    repository = Repository(engine, owner="test/check", clock=WallClock())
    try:
        yield repository, {issuer.name: issuer.certificate_der for issuer in settings.issuers}
    finally:
        repository.close()
