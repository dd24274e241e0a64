"""Engines, and the one way to write: lock, BEGIN IMMEDIATE, statements, COMMIT, unlock."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, cast

import attrs
from sqlalchemy import Connection, Engine, Executable, Insert, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.compiler import SQLCompiler

from scepd.refusal import OperatorError, Unavailable

BUSY_TIMEOUT = timedelta(seconds=5)

Values = Mapping[str, Any]

NO_VALUES: Values = MappingProxyType({})


def open_engine(url: str, directory: Path, *, create: bool = False, busy_timeout: timedelta = BUSY_TIMEOUT) -> Engine:
    """Return the engine of a store URL; a relative SQLite path is taken from `directory`.

    With `create`, a missing SQLite file is made, readable by its owner alone; otherwise it is an OperatorError.
    """
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise OperatorError("the store's URL cannot be read", 'url = "sqlite:///scepd.sqlite"') from error
    if address.get_backend_name() != "sqlite" or address.database in (None, "", ":memory:"):
        raise OperatorError(
            f"no store engine for {address.render_as_string(hide_password=True)}",
            'url = "sqlite:///scepd.sqlite"',
        )
    path = directory / str(address.database)
    _require_file(path, create=create)
    engine = create_engine(
        address.set(database=str(path)),
        isolation_level="AUTOCOMMIT",  # BEGIN and COMMIT are said below, nowhere else
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"timeout": busy_timeout.total_seconds()},
    )
    event.listen(engine, "connect", _set_pragmas)
    return engine


def _require_file(path: Path, *, create: bool) -> None:
    flags = os.O_RDWR | (os.O_CREAT if create else 0)
    try:
        os.close(os.open(path, flags | os.O_CLOEXEC, 0o600))
    except FileNotFoundError as error:
        raise OperatorError(
            f"there is no store at {path}", "restore the backup; or scepd run makes an empty one"
        ) from error
    except OSError as error:
        raise OperatorError(
            f"the store {path} cannot be opened: {error.strerror}",
            f"ls -l {path.parent}",
        ) from error


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # FULL: a certificate that was handed out must survive a power cut (NORMAL may lose the last commits in WAL mode).
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        cursor.execute(f"PRAGMA {pragma}").fetchall()
    cursor.close()


class Conflict(Exception):  # noqa: N818 - an answer that the caller interprets
    """A unique constraint (or another rule of the tables) refused a row."""


@attrs.frozen
class _Prepared:
    """A statement compiled for one dialect: `pick` orders positional parameters (None: named), `fixed` = its constants."""

    text: str
    pick: Callable[[Values], tuple[Any, ...]] | None
    fixed: Mapping[str, Any]

    def bind(self, values: Values) -> Any:
        merged = {**self.fixed, **values} if self.fixed else values
        return merged if self.pick is None else self.pick(merged)


def _picker(names: Sequence[str]) -> Callable[[Values], tuple[Any, ...]]:
    """Return what takes the values of those names, in that order."""
    if len(names) > 1:  # itemgetter of one name returns no tuple
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


class StoreConnection:
    """One connection and its own lock descriptor: for one thread.

    Store faults (locked, full, I/O, corrupt) leave every method as Unavailable, unique constraints as Conflict.
    Statements are compiled once by SQLAlchemy and then run by the driver: a sixth of the cost of executing them
    through SQLAlchemy, and possible because no column type of `store.schema` needs a converter.
    """

    def __init__(self, engine: Engine) -> None:
        """Open the connection under the lock, since the first change to WAL mode has no busy handler."""
        self._dialect = engine.dialect
        self._driver = engine.dialect.loaded_dbapi
        self._prepared: dict[tuple[Executable, tuple[str, ...] | None], _Prepared] = {}
        self._lock = _open_lock(Path(str(engine.url.database)))
        try:
            with self._locked():
                self._connection = engine.connect()
        except DBAPIError as error:
            os.close(self._lock)
            raise Unavailable(f"store: {error.orig}") from error
        self._raw = cast("Any", self._connection.connection.dbapi_connection)
        self._cursor = self._raw.cursor()  # of what is run to its end at once

    def close(self) -> None:
        """Close connection and lock."""
        self._connection.close()
        os.close(self._lock)

    @property
    def connection(self) -> Connection:
        """The SQLAlchemy connection, for Alembic and inspection."""
        return self._connection

    def rows(self, statement: Executable, values: Values = NO_VALUES) -> Sequence[Any]:
        """Run a statement that is built once; return all its rows as tuples."""
        try:
            return cast("Sequence[Any]", self._execute(statement, values).fetchall())
        except self._driver.Error as error:
            raise self._classified(error) from error

    def first(self, statement: Executable, values: Values = NO_VALUES) -> Any | None:
        """Run a statement that is built once; return its first row, if any."""
        rows = self.rows(statement, values)
        return rows[0] if rows else None

    def change(self, statement: Executable, values: Values) -> int:
        """Run an INSERT, UPDATE or DELETE that is built once; return how many rows it touched (for compare-and-set)."""
        try:
            return cast("int", self._execute(statement, values).rowcount)
        except self._driver.Error as error:
            raise self._classified(error) from error

    def query(self, statement: Executable) -> Sequence[Any]:
        """Run a query that was composed for this call."""
        try:
            return self._connection.execute(statement).all()
        except DBAPIError as error:
            raise Unavailable(f"store: {error.orig}") from error

    def _execute(self, statement: Executable, values: Values) -> Any:
        # An INSERT is another one for each set of columns that it is given.
        names = tuple(values) if isinstance(statement, Insert) else None
        prepared = self._prepared.get((statement, names)) or self._prepare(statement, values, names)
        return self._cursor.execute(prepared.text, prepared.bind(values))

    def _prepare(self, statement: Executable, values: Values, names: tuple[str, ...] | None) -> _Prepared:
        columns = None if names is None else list(names)
        compiled: SQLCompiler = cast("Any", statement).compile(dialect=self._dialect, column_keys=columns)
        pick = _picker(compiled.positiontup or ()) if compiled.positional else None
        fixed = {name: value for name, value in compiled.params.items() if name not in values and value is not None}
        prepared = self._prepared[statement, names] = _Prepared(compiled.string, pick, fixed)
        return prepared

    def _run(self, text: str, parameters: Any = ()) -> Any:
        cursor = self._raw.cursor()
        try:
            cursor.execute(text, parameters)
        except self._driver.Error as error:
            raise self._classified(error) from error
        return cursor

    def _classified(self, error: Exception) -> Exception:
        """Return what to raise for a driver's error: a statement at fault stays what it is."""
        driver = self._driver
        if isinstance(error, driver.IntegrityError):
            return Conflict(str(error))
        if isinstance(error, (driver.ProgrammingError, driver.InterfaceError, driver.DataError)):
            return error
        return Unavailable(f"store: {error}")

    def write(self) -> "_Write":
        """Make one durable write transaction of a block; an exception leaves the store as it was.

        The lock hands the turn round fairly between processes (SQLite's own waiting starves one of two writers).
        IMMEDIATE: no read of the block can meet SQLITE_BUSY when it becomes a write.
        """
        return _Write(self)

    def _begin(self) -> None:
        self._take_turn()
        try:
            self._run("BEGIN IMMEDIATE")
        except BaseException:
            self._end_turn()
            raise

    def _end(self, *, whole: bool) -> None:
        try:
            if whole:
                self._run("COMMIT")
        except BaseException:
            whole = False
            raise
        finally:
            if not whole:
                self._roll_back()
            self._end_turn()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads of the block see one state of the store."""
        self._run("BEGIN")
        try:
            yield
        finally:
            self._roll_back()

    def copy_into(self, path: Path) -> None:
        """Write all that is committed now to an empty file; others may write meanwhile (SQLite VACUUM INTO)."""
        self._run("VACUUM INTO ?", (str(path),))

    @contextlib.contextmanager
    def rebuild(self) -> Iterator[None]:
        """Like `write`, for migrations: a table may be replaced by a copy of itself; references are checked at the end."""
        self._run("PRAGMA foreign_keys=OFF")
        try:
            with self.write():
                yield
                if self._run("PRAGMA foreign_key_check").fetchall():
                    raise Unavailable("store: a migration would break references")
        finally:
            self._run("PRAGMA foreign_keys=ON")

    def _roll_back(self) -> None:
        with contextlib.suppress(self._driver.Error):  # SQLite rolls back by itself after some faults
            self._raw.cursor().execute("ROLLBACK")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._take_turn()
        try:
            yield
        finally:
            self._end_turn()

    def _take_turn(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise Unavailable(f"store: lock: {error.strerror}") from error

    def _end_turn(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_UN)


class _Write:
    """The block of `StoreConnection.write`: no generator, which costs 2 us, twice for each certificate."""

    __slots__ = ("_connection",)

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection._begin()  # noqa: SLF001 - a part of it

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection._end(whole=kind is None)  # noqa: SLF001 - a part of it


def _open_lock(database: Path) -> int:
    path = database.with_name(database.name + ".lock")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"store: lock {path}: {error.strerror}") from error
