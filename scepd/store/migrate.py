"""Migrations: the tables are made and altered by Alembic scripts that ship inside the package."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from scepd.store.engines import StoreConnection, open_engine
from scepd.store.schema import SCHEMA_VERSION
from scepd.store.version import read_versions, refuse_newer

SCRIPTS = "scepd.store:migrations"


def upgrade(url: str, directory: Path, *, create: bool = True) -> tuple[int, int]:
    """Bring a store (made if missing, unless `create` is false) to this program's schema; return the schema versions before and after.

    One write transaction: after a crash the store is as before or as after. OperatorError over a store that only a
    newer program may read; a newer store that this program may read is left as it is.
    """
    connection = StoreConnection(open_engine(url, directory, create=create))
    try:
        before = refuse_newer(connection)
        if before > SCHEMA_VERSION:
            return before, before
        with connection.rebuild():
            _run_scripts(connection)
        return before, read_versions(connection)[0]
    finally:
        connection.close()


def current(url: str, directory: Path) -> int:
    """Return the schema version of a store, 0 for one without tables; OperatorError where there is no store."""
    connection = StoreConnection(open_engine(url, directory))
    try:
        return read_versions(connection)[0]
    finally:
        connection.close()


def _run_scripts(connection: StoreConnection) -> None:
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["connection"] = connection.connection
    command.upgrade(config, "head")
