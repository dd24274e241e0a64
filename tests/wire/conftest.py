import pytest

from tests.world import make_keys

from .world import Server


@pytest.fixture(scope="session")
def keys():
    return make_keys()


@pytest.fixture
def serve(keys, tmp_path):
    """Start a server whose one profile has these keys of configuration; several with `profiles`."""

    def start(*, profiles=None, settings=lambda settings: settings, others=None, **table):
        return Server(keys, tmp_path, profiles or {"devices": table}, settings=settings, others=others)

    return start


@pytest.fixture
def server(serve):
    """A server whose profile says nothing."""
    return serve()
