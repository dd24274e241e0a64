import pytest

from scepd.config.load import load
from scepd.problems import ConfigurationError

from .pki import NOW, lay_out, write_configuration


@pytest.fixture
def site(tmp_path):
    """A directory with every certificate and secret that the base configuration names."""
    directory = tmp_path / "c"
    directory.mkdir()
    return lay_out(directory)


@pytest.fixture
def compiled(site):
    """Compile tables in that directory."""

    def compile_tables(tables, **environ):
        return load(write_configuration(site, tables), environ=environ, now=NOW, cores=3)

    return compile_tables


@pytest.fixture
def refused(compiled):
    """Return the problems of tables that must be refused."""

    def find(tables, **environ):
        with pytest.raises(ConfigurationError) as caught:
            compiled(tables, **environ)
        return caught.value.problems

    return find
