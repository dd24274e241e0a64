"""Rows of the table `meta`: what the store says of itself, one text by each name."""

from sqlalchemy import bindparam, delete, insert, select

from scepd.store.engines import StoreConnection
from scepd.store.schema import META

_READ = select(META.c.value).where(META.c.name == bindparam("row"))
_DROP = delete(META).where(META.c.name == bindparam("row"))
_ADD = insert(META)


def read(connection: StoreConnection, name: str) -> str | None:
    """Return what stands under a name, None where nothing does."""
    row = connection.first(_READ, {"row": name})
    return None if row is None else str(row[0])


def write(connection: StoreConnection, name: str, value: str) -> None:
    """Write a value in place of what stands under that name, inside a write transaction."""
    drop(connection, name)
    connection.change(_ADD, {"name": name, "value": value})


def drop(connection: StoreConnection, name: str) -> None:
    """Let nothing stand under a name, inside a write transaction."""
    connection.change(_DROP, {"row": name})
