"""An SQLite file: how it is opened, and that it is still the one that was opened when it is used."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection

from sentiment_monitor.errors import DatabaseAway, SettingsError

_BUSY_SECONDS = 30.0
# What somebody who looks at a page waits for, at most; and little memory, since many may look at once.
_READER_BUSY_SECONDS = 3.0
_PRAGMAS = (
    # A power cut may undo the last transactions, but rows and offsets together: they are read again.
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-65536",
    "mmap_size=268435456",
)
_READER_PRAGMAS = ("query_only=ON", "temp_store=MEMORY", "cache_size=-8192", "mmap_size=268435456")


class SqliteFile:
    """One file. The first connection of a writer may make it; after that nothing is made in its place.

    Raises SettingsError for a folder that does not exist.
    """

    def __init__(self, name: str, *, reader: bool) -> None:
        self.path = Path(name).absolute()
        if not self.path.parent.is_dir():
            raise SettingsError(f"database.url: the folder of {name} does not exist")
        self._reader = reader
        self._opened: tuple[int, int] | None = None  # device and inode

    def refuse_unwritable(self) -> None:
        """Raises SettingsError where this user may write neither file nor folder: no time mends that."""
        for place in (self.path, self.path.parent):
            if place.exists() and not os.access(place, os.W_OK):
                raise SettingsError(f"database.url: {place} cannot be written by this user")

    def check(self) -> None:
        """Raises DatabaseAway when the file was removed or replaced since it was opened.

        What is written to it then is lost with its last connection, and a new one in its place would begin anew, or
        take the old one's log for its own.
        """
        if self._opened is None:
            return
        present = self._identity()
        if present is None:
            raise DatabaseAway(
                f"{self.path} was removed while it was in use. Nothing is made in its place: put it back, or restart "
                "to begin with a new one"
            )
        if present != self._opened:
            raise DatabaseAway(f"{self.path} is no longer the file that was opened: restart to go on with this one")

    def forget(self) -> None:
        """Whatever lies there when it is next opened is the file from then on."""
        self._opened = None

    def connect(self) -> sqlite3.Connection:
        """A new connection. Raises DatabaseAway like :meth:`check`."""
        self.check()
        mode = "rw" if self._reader or self._opened else "rwc"
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            timeout=_READER_BUSY_SECONDS if self._reader else _BUSY_SECONDS,
            check_same_thread=False,
        )
        try:
            connection.isolation_level = None  # we say BEGIN ourselves, see begin()
            _wal(connection)
            for pragma in _READER_PRAGMAS if self._reader else _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            self.check()
            self._opened = self._identity()
        except BaseException:
            connection.close()
            raise
        return connection

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def begin(connection: Connection) -> None:
    """A transaction that writes takes the lock at its start, so that two queue up instead of failing half-way."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


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
