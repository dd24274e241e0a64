"""Whether this program may read a store (threat S-135: an older program must not run over a newer store)."""

from sqlalchemy import inspect, select

from scepd.refusal import OperatorError
from scepd.store.engines import StoreConnection
from scepd.store.schema import META, SCHEMA_VERSION


def read_versions(connection: StoreConnection) -> tuple[int, int]:
    """Return the version of a store's tables and the least version that may read them; (0, 0) where there are none."""
    if not inspect(connection.connection).has_table(META.name):
        return 0, 0
    stored = {str(name): value for name, value in connection.query(select(META.c.name, META.c.value))}
    try:
        return int(stored["schema_version"]), int(stored["min_reader_version"])
    except (KeyError, ValueError) as error:
        raise OperatorError(f"the store does not say which schema it has: {error}", "restore a backup") from error


def refuse_newer(connection: StoreConnection, program: int = SCHEMA_VERSION) -> int:
    """Return the version of a store's tables; OperatorError where only a newer program may read them."""
    version, least = read_versions(connection)
    if least > program:
        raise OperatorError(
            f"the store has schema {version}, readable from schema {least} on; this program knows schema {program}",
            "restore the backup made before the upgrade, or install the release that wrote this store",
        )
    return version


def require_current(connection: StoreConnection) -> None:
    """Raise OperatorError where the tables are newer than this program can read, older than it needs, or missing."""
    version = refuse_newer(connection)
    if version < SCHEMA_VERSION:
        raise OperatorError(
            f"the store has schema {version}; this program needs schema {SCHEMA_VERSION}",
            "scepd run   (it migrates the store before it serves)",
        )
