"""Connections: one engine per database, transactions, errors of the driver turned into ours."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy import exc as sql_errors
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, make_url

from sentiment_monitor.errors import DatabaseAway, FatalError, SettingsError
from sentiment_monitor.store import migrations

__all__ = ["Connection", "Database", "insert_missing"]

_BUSY_SECONDS = 30.0
# What somebody who looks at a page waits for, at most; and little memory, since many may look at once.
_READER_BUSY_SECONDS = 3.0
_READER_POSTGRES = "-c default_transaction_read_only=on -c lock_timeout=3000 -c statement_timeout=8000"
_READER_POOL = {"pool_size": 4, "max_overflow": 0, "pool_timeout": 2.0}
_PRAGMAS = (
    # A power cut may undo the last transactions, but rows and offsets together: they are read again.
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-65536",
    "mmap_size=268435456",
)
_READER_PRAGMAS = ("query_only=ON", "temp_store=MEMORY", "cache_size=-8192", "mmap_size=268435456")
# PostgreSQL: serialization failure, deadlock, connection and operator-intervention classes, disk full,
# too many connections, idle for too long, a reader's timeouts. The same call may succeed later.
_RETRY_STATES = ("40", "08", "57", "53", "55P03", "25P03")
# A process that is frozen within a transaction holds its locks; the others wait no longer than this.
_IDLE_IN_TRANSACTION_MS = 30_000


class Database:
    """Hands out transactions. Safe to share between threads.

    On SQLite the file is in WAL mode and a writing transaction takes the lock at its start, so that two
    writers queue up instead of failing half-way. A ``reader`` writes nothing and makes no file, has few connections,
    and waits seconds for them and for what others lock: DatabaseAway then.
    """

    def __init__(self, url: str, *, reader: bool = False) -> None:
        try:
            self.url: URL = make_url(url)
        except (sql_errors.ArgumentError, ValueError):  # ValueError: a port that is no number
            raise SettingsError("database.url is not a SQLAlchemy URL, e.g. sqlite:///monitor.sqlite") from None
        if self.url.get_backend_name() == "postgresql" and self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.url.get_backend_name() not in {"sqlite", "postgresql"}:
            raise SettingsError(
                f"database.url: {self.url.get_backend_name()} is not supported; sqlite and postgresql are"
            )
        options: dict[str, Any] = {"pool_pre_ping": not self.is_sqlite}
        if self.is_sqlite:
            if self.url.database in {None, "", ":memory:"}:
                raise SettingsError(
                    "database.url: an in-memory SQLite database cannot be shared by the loops; name a file"
                )
            if not Path(str(self.url.database)).resolve().parent.is_dir():
                raise SettingsError(f"database.url: the folder of {self.url.database} does not exist")
            if reader:
                place = quote(str(Path(str(self.url.database)).resolve()))
                options["creator"] = lambda: sqlite3.connect(
                    f"file:{place}?mode=rw", uri=True, timeout=_READER_BUSY_SECONDS, check_same_thread=False
                )
            else:
                options["connect_args"] = {"timeout": _BUSY_SECONDS}
        else:
            options["connect_args"] = {
                "connect_timeout": 10,
                "application_name": "sentiment-monitor",
                "options": f"-c idle_in_transaction_session_timeout={_IDLE_IN_TRANSACTION_MS} "
                + (_READER_POSTGRES if reader else ""),
            }
        if reader:
            options |= _READER_POOL
        try:
            self.engine: Engine = create_engine(self.url, **options)
        except (sql_errors.ArgumentError, ImportError) as error:
            raise SettingsError(f"database.url: {error}") from None
        self._driver: Any = self.engine.dialect.loaded_dbapi
        if self.is_sqlite:
            event.listen(self.engine, "connect", _sqlite_connect(_READER_PRAGMAS if reader else _PRAGMAS))
            event.listen(self.engine, "begin", _sqlite_begin)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write: committed at the end of the block, rolled back on any error.

        Raises DatabaseAway when the database is gone, locked or full, or the transaction lost a race; then
        nothing was written.
        """
        with self._translated(), self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, from one consistent snapshot. Raises DatabaseAway."""
        with self._translated(), self.engine.connect() as connection, connection.begin():
            if not self.is_sqlite:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sql_errors.TimeoutError as error:
            raise DatabaseAway(f"no free connection: {error}") from error
        except sql_errors.DBAPIError as error:
            if error.connection_invalidated or self._is_temporary(error.orig):
                raise DatabaseAway(str(error.orig).strip() or type(error.orig).__name__) from error
            self._refuse_damaged(error.orig)
            raise
        except self._driver.Error as error:  # from the driver's own cursor
            if self._is_temporary(error):
                raise DatabaseAway(str(error).strip() or type(error).__name__) from error
            self._refuse_damaged(error)
            raise

    def _refuse_damaged(self, error: object) -> None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise FatalError(
                f"{self.url.database} is damaged, or no SQLite file at all ({error}). Put it aside, then restore a "
                "backup or start without it: what Kafka still holds is read again"
            )

    def _is_temporary(self, error: object) -> bool:
        if isinstance(error, sqlite3.OperationalError):
            text = str(error)
            return any(word in text for word in ("locked", "busy", "disk is full", "disk I/O", "unable to open"))
        state = getattr(error, "sqlstate", None)
        if state is None:
            return isinstance(error, self._driver.OperationalError)
        return str(state).startswith(_RETRY_STATES)

    def close(self) -> None:
        """Closes every pooled connection."""
        self.engine.dispose()

    # -- migrations -------------------------------------------------------------------------------

    def revisions(self) -> tuple[str | None, str]:
        """The schema revision the database is at (None: empty) and the one this version needs."""
        with self.read() as connection:
            return migrations.current_revision(connection), migrations.head_revision()

    def migrate(self) -> bool:
        """Brings the schema up to date; True when something changed.

        Two processes may try at once: the second waits and finds nothing to do. Raises FatalError for a
        database that a newer version of this program has already changed.
        """
        current, head = self.revisions()
        if current == head:
            return False
        with self.write() as connection:
            if not self.is_sqlite:
                # Serialises migrations; any constant does, this one is the CRC-32 of the project's name.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(2903651709)")
            migrations.upgrade(connection)
        return True


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds rows; where a row with the same key is there already, that one stays as it is."""
    connection.execute(insert_new(connection, table), rows)


def insert_new(connection: Connection, table: Table) -> Insert:
    """An insertion that leaves a row alone that is there already."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    return insert(table).on_conflict_do_nothing()


def _sqlite_connect(pragmas: Sequence[str]) -> Callable[[sqlite3.Connection, object], None]:
    def prepare(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see _sqlite_begin
        _wal(connection)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    return prepare


def _wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for its busy timeout where waiting could be a deadlock, and the change of a new file to WAL
    # is such a place: of two processes that start together one would end with "database is locked".
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
