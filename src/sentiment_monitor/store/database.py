"""Connections: one engine per database, transactions, errors of the driver turned into ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event, false, insert, select
from sqlalchemy import exc as sql_errors
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, make_url

from sentiment_monitor.errors import DatabaseAway, DatabaseRefused, FatalError, SettingsError
from sentiment_monitor.store import migrations, sqlite_file
from sentiment_monitor.store.causes import Fault, cause_of
from sentiment_monitor.store.schema import metadata
from sentiment_monitor.store.sqlite_file import SqliteFile
from sentiment_monitor.store.standing import Standing

__all__ = ["Connection", "Database", "insert_missing"]

_READER_POOL = {"pool_size": 4, "max_overflow": 0, "pool_timeout": 2.0}
_READER_POSTGRES = "-c lock_timeout=3000 -c statement_timeout=8000"
# Longer than a frozen process keeps its locks, see below: who waits longer says so and begins anew.
_WRITER_POSTGRES = "-c lock_timeout=60000"
# A process that is frozen within a transaction holds its locks; the others wait no longer than this.
_IDLE_IN_TRANSACTION_MS = 30_000
# A server that is gone without a word: the system's own limits are a quarter of an hour, and two hours.
_DEAD_PEER = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}


class Database:
    """Hands out transactions. Safe to share between threads.

    On SQLite the file is in WAL mode and a writing transaction takes the lock at its start, so that two
    writers queue up instead of failing half-way. A ``reader`` writes nothing and makes no file, has few connections,
    and waits seconds for them and for what others lock: DatabaseAway then. ``standing`` is whether it can be used.
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
        self.standing = Standing()
        self._reader = reader
        self._file: SqliteFile | None = None
        options: dict[str, Any] = {"pool_pre_ping": not self.is_sqlite}
        if self.is_sqlite:
            if self.url.database in {None, "", ":memory:"}:
                raise SettingsError(
                    "database.url: an in-memory SQLite database cannot be shared by the loops; name a file"
                )
            self._file = SqliteFile(str(self.url.database), reader=reader)
            options["creator"] = self._file.connect
        else:
            options["connect_args"] = _postgresql_options(self.url, reader=reader)
        if reader:
            options |= _READER_POOL
        try:
            self.engine: Engine = create_engine(self.url, **options)
        except (sql_errors.ArgumentError, ImportError) as error:
            raise SettingsError(f"database.url: {error}") from None
        self._driver: Any = self.engine.dialect.loaded_dbapi
        if self.is_sqlite:
            event.listen(self.engine, "begin", sqlite_file.begin)
        elif reader:
            event.listen(self.engine, "connect", _read_only)

    @property
    def shown_url(self) -> str:
        """Its address as it may be printed: without passwords, which may also stand behind the question mark."""
        hidden = {name: "***" for name in self.url.query if "password" in name.casefold()}
        return self.url.update_query_dict(hidden).render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write: committed at the end of the block, rolled back on any error.

        Raises DatabaseAway when the database is gone, locked, full, sick or read-only, or the transaction lost a
        race, DatabaseRefused when it does not let us; then nothing was written. Any other error is about the values.
        """
        with self._translated(to_write=True):
            if self._file:
                self._file.check()
            with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, from one consistent snapshot. Raises DatabaseAway and DatabaseRefused."""
        with self._translated(to_write=False):
            if self._file:
                self._file.check()
            with self.engine.connect() as connection, connection.begin():
                if not self.is_sqlite:
                    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield connection

    @contextmanager
    def _translated(self, *, to_write: bool) -> Iterator[None]:
        try:
            yield
        except DatabaseAway as error:  # of the file
            if self._file and self._reader:  # who only looks may look at what is there now: the next one does
                self.engine.dispose()
                self._file.forget()
            self._note_away(str(error), to_write)
            raise
        except sql_errors.TimeoutError as error:
            raise DatabaseAway(f"no free connection: {error}") from error
        except sql_errors.DBAPIError as error:
            self._raise(error.orig or error, error, to_write, disconnected=error.connection_invalidated)
            raise
        except self._driver.Error as error:  # from the driver's own cursor
            self._raise(error, error, to_write)
            raise
        self.standing.back(to_write=to_write)

    def _raise(self, cause: BaseException, error: Exception, to_write: bool, *, disconnected: bool = False) -> None:
        """Raises our error for a driver's, unless that is about the values."""
        said = str(cause).strip() or type(cause).__name__
        text = f"{self._file.path}: {said}" if self._file else said
        match cause_of(cause, disconnected=disconnected):
            case Fault.ROW:
                return
            case Fault.REFUSED:
                raise DatabaseRefused(f"the database does not let us: {text}") from error
            case Fault.DAMAGED:
                raise FatalError(
                    f"{self.url.database} is damaged, or no SQLite file at all ({said}). Put it aside, then restore a "
                    "backup or start without it: what Kafka still holds is read again"
                ) from error
            case Fault.AWAY:
                # Connections that were made before may lead to a server that is no longer the primary.
                self.engine.dispose()
                self._note_away(text, to_write)
            case Fault.LOCKED:
                self._note_away(text, to_write)
        raise DatabaseAway(text) from error

    def _note_away(self, reason: str, to_write: bool) -> None:
        if not self._reader:  # whoever looks at a page says nothing about the service
            self.standing.away(reason, to_write=to_write)

    def close(self) -> None:
        """Closes every pooled connection."""
        self.engine.dispose()

    def check_rights(self) -> None:
        """Tries, without an effect, whether every table is there and takes rows from us.

        Raises DatabaseRefused, or SettingsError for a file that this user may not write; DatabaseAway.
        """
        if self._file:
            self._file.refuse_unwritable()
        with self.write() as connection:
            for table in metadata.sorted_tables:
                connection.execute(insert(table).from_select(list(table.c), select(table).where(false())))

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
                # However long another process migrates.
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                # Serialises migrations; any constant does, this one is the CRC-32 of the project's name.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(2903651709)")
            migrations.upgrade(connection)
        return True


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds rows; where a row with the same key is there already, that one stays as it is."""
    connection.execute(insert_new(connection, table), rows)


def insert_new(connection: Connection, table: Table) -> Insert:
    """An insertion that leaves a row alone that is there already."""
    insertion = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    return insertion(table).on_conflict_do_nothing()


def _postgresql_options(url: URL, *, reader: bool) -> dict[str, Any]:
    """What a connection is opened with, besides what the URL says."""
    options = [f"-c idle_in_transaction_session_timeout={_IDLE_IN_TRANSACTION_MS}"]
    options.append(_READER_POSTGRES if reader else _WRITER_POSTGRES)
    given = url.query.get("options", ())
    options += [given] if isinstance(given, str) else given
    chosen: dict[str, Any] = {"connect_timeout": 10, "application_name": "sentiment-monitor"}
    chosen |= _DEAD_PEER
    hosts = url.query.get("host", ())
    if not reader and (not isinstance(hosts, str) or "," in hosts) and len(hosts) > 1:
        chosen["target_session_attrs"] = "read-write"  # of several servers the primary
    return {name: value for name, value in chosen.items() if name not in url.query} | {"options": " ".join(options)}


def _read_only(connection: Any, record: object) -> None:
    # Not among the options of the connection: libpq would take the server for a standby.
    connection.execute("SET default_transaction_read_only = on")
    connection.commit()
