"""Where a trail comes from: the service's store, a copy of one, an export."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
import click

from scepd.config.settings import Settings
from scepd.observe.audit import Head
from scepd.observe.export import Export
from scepd.observe.trail import Entry
from scepd.store.engines import StoreConnection, open_engine
from scepd.store.reader import Reader
from scepd.store.version import require_current

_ROW_OCTETS = 500  # of an exported row, nearly


@attrs.frozen
class Evidence:
    """What is verified: the entries, about how many they are, and the noted ends, which are asked for afterwards."""

    entries: Iterable[Entry]
    total: int
    heads: Callable[[], Mapping[str, Head]]


@contextmanager
def open_store(settings: Settings | None, copy: Path | None = None) -> Iterator[Reader]:
    """Open the configured store, or a copy; raises `OperatorError`, `Unavailable`."""
    if copy is not None:
        engine = open_engine(f"sqlite:///{copy.name}", copy.absolute().parent)
    else:
        assert settings is not None  # the one or the other
        engine = open_engine(settings.store.url, settings.appliance.state)
    connection = StoreConnection(engine)
    try:
        require_current(connection)
        yield Reader(connection)
    finally:
        connection.close()
        engine.dispose()


@contextmanager
def store_source(settings: Settings | None, copy: Path | None) -> Iterator[Evidence]:
    """Yield a store's trail as of one moment."""
    with open_store(settings, copy) as reader, reader.snapshot():
        yield Evidence(reader.audit_trail(), reader.audit_entries(), reader.audit_heads)


@contextmanager
def export_source(name: str) -> Iterator[Evidence]:
    """Yield the trail of an export: a file, or "-" for standard input."""
    size = 0 if name == "-" else Path(name).stat().st_size
    with click.open_file(name, "rb") as file:
        export = Export(file)
        yield Evidence(export.entries(), size // _ROW_OCTETS, lambda: export.heads)
