"""What the self-check asks of the store as a whole: SQLite's own checks, tables and indexes, references, versions."""

from collections.abc import Iterator
from functools import cache

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text

from scepd.observe.damage import Damage
from scepd.store import access_tables, audit_tables, outside_tables, status_tables  # noqa: F401 - their tables are part of the schema
from scepd.store.engines import StoreConnection
from scepd.store.schema import META, METADATA, SCHEMA_VERSION

_SCRIPTS = "scepd.store:migrations"
_RESTORE = "scepd stop; restore a backup; docs/operation.md, The self-check"
_MOST = 100  # faults that SQLite is asked for


def check_tables(connection: StoreConnection) -> Iterator[list[Damage]]:
    """Yield what is wrong with the file and its tables, before any row is judged."""
    yield list(_integrity(connection))
    yield list(_shape(connection))
    yield list(_references(connection))
    yield list(_versions(connection))


def _integrity(connection: StoreConnection) -> Iterator[Damage]:
    for row in connection.query(text(f"PRAGMA integrity_check({_MOST})")):
        if row[0] != "ok":
            yield Damage("store", f"SQLite says: {row[0]}", _RESTORE)


def _shape(connection: StoreConnection) -> Iterator[Damage]:
    """Find tables, columns and indexes that the schema has and the store lacks."""
    found = inspect(connection.connection)
    present = set(found.get_table_names())
    for table in METADATA.sorted_tables:
        if table.name not in present:
            yield Damage(f"table {table.name}", "is missing", _RESTORE)
            continue
        columns = {column["name"] for column in found.get_columns(table.name)}
        for column in table.c:
            if column.name not in columns:
                yield Damage(f"table {table.name}", f"has no column {column.name}", _RESTORE)
        indexes = {index["name"] for index in found.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in indexes:
                yield Damage(f"table {table.name}", f"has no index {index.name}", _RESTORE)


def _references(connection: StoreConnection) -> Iterator[Damage]:
    for table, row, parent, _ in connection.query(text("PRAGMA foreign_key_check")):
        yield Damage(f"{table} row {row}", f"names a row of {parent} that is not there", _RESTORE)


def _versions(connection: StoreConnection) -> Iterator[Damage]:
    meta = dict(connection.query(select(META.c.name, META.c.value)))
    if meta.get("schema_version") != str(SCHEMA_VERSION):
        yield Damage("meta", f"schema_version is {meta.get('schema_version')}, not {SCHEMA_VERSION}", _RESTORE)
    if not str(meta.get("generation")).isdecimal():
        words = "is missing" if "generation" not in meta else f"is {meta['generation']!r}, no number"
        yield Damage("meta", f"generation {words}: workers do not hear of revocations", _RESTORE)
    applied = [row[0] for row in connection.query(text("SELECT version_num FROM alembic_version"))]
    wanted = _newest_script()
    if applied != [wanted]:
        yield Damage("alembic_version", f"is {', '.join(applied) or 'empty'}, not {wanted}", _RESTORE)


@cache
def _newest_script() -> str | None:
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    return ScriptDirectory.from_config(config).get_current_head()
