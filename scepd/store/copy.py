"""A copy of a store while others write: whole, of one moment, looked at with the same code as the store itself."""

import contextlib
import os
from pathlib import Path

import attrs
from sqlalchemy.exc import DBAPIError

from scepd.observe.trail import verify
from scepd.refusal import OperatorError, Unavailable
from scepd.store.engines import StoreConnection, open_engine
from scepd.store.marks import Marks
from scepd.store.migrate import upgrade
from scepd.store.position import Position, hash_at, losses, read_position
from scepd.store.reader import Reader
from scepd.store.standing import read_pair
from scepd.store.version import refuse_newer

_SHOWN = 5  # problems of one kind


@attrs.frozen
class Inspection:
    """What a copy holds, and what is wrong with it; `lost` is what it lacks beside the marks it was compared with.

    `is_paired`: it had marks beside it, and without them it is read-only.
    """

    schema: int = 0
    position: Position = attrs.field(factory=Position)
    problems: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    is_paired: bool = False


def copy_store(url: str, directory: Path, target: Path) -> None:
    """Write a copy of one moment of a store to a new file of mode 0600; writers are not kept waiting.

    Raises `OperatorError` where there is no store, `Unavailable` where the copy cannot be written.
    """
    connection = StoreConnection(open_engine(url, directory))
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection.copy_into(target)
    except OSError as error:
        raise Unavailable(f"{target} cannot be written: {error.strerror}") from error
    finally:
        connection.close()


def inspect_copy(path: Path, node: str, marks: Marks | None = None) -> Inspection:
    """Look whether a copy is sound and which store of that node it is of; its directory is written to."""
    try:
        with contextlib.closing(StoreConnection(open_engine(f"sqlite:///{path}", path.parent))) as connection:
            return _inspect(connection, node, marks)
    except (Unavailable, DBAPIError) as error:
        words = error.cause if isinstance(error, Unavailable) else str(error.orig)
        return Inspection(problems=(f"the store cannot be read: {words}",))
    except OperatorError as error:
        return Inspection(problems=(error.problem,))
    finally:
        path.with_name(path.name + ".lock").unlink(missing_ok=True)


def upgrade_copy(path: Path) -> list[str]:
    """Bring a copy to this program's schema, as a start would; return what is in the way."""
    try:
        upgrade(f"sqlite:///{path}", path.parent, create=False)
    except Unavailable as error:
        return [error.cause]
    except OperatorError as error:
        return [error.problem]
    return []


def _inspect(connection: StoreConnection, node: str, marks: Marks | None) -> Inspection:
    found = [*_pragma(connection, "integrity_check"), *_pragma(connection, "foreign_key_check")]
    if found:
        return Inspection(problems=tuple(f"the store is damaged: {words}" for words in found[:_SHOWN]))
    schema = refuse_newer(connection)
    reader, position = Reader(connection), read_position(connection)
    broken = [str(damage) for damage in verify(reader.audit_trail(), reader.audit_heads())]
    lost = [] if marks is None else losses(position, marks.position, hash_at(connection))
    is_paired = read_pair(connection, node) is not None
    return Inspection(schema, position, tuple(broken[:_SHOWN]), tuple(lost), is_paired)


def _pragma(connection: StoreConnection, name: str) -> list[str]:
    rows = connection.connection.exec_driver_sql(f"PRAGMA {name}").all()
    return [" ".join(map(str, row)) for row in rows if tuple(row) != ("ok",)]
