"""Migrated databases from a template: to migrate each one anew takes a third of a second."""

from __future__ import annotations

import functools
import tempfile
import uuid
from pathlib import Path

import psycopg

from sentiment_monitor.store.database import Database

_TEMPLATE = "migrated"


def migrated_sqlite(file: Path) -> Database:
    """A database in a new file, with the current schema and nothing in it."""
    copy_migrated(file)
    return Database(f"sqlite:///{file}")


def copy_migrated(file: Path) -> None:
    """Writes the file of such a database."""
    file.write_bytes(_sqlite_template())


@functools.cache
def _sqlite_template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.sqlite"
        database = Database(f"sqlite:///{file}")
        database.migrate()
        database.close()
        return file.read_bytes()


class PostgresDatabases:
    """Databases of one PostgreSQL server, empty or migrated."""

    def __init__(self, socket_folder: Path) -> None:
        self._folder = socket_folder
        self._has_template = False

    def create(self, *, migrated: bool) -> str:
        """The URL of a new database."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        if migrated and not self._has_template:
            self._execute(f"CREATE DATABASE {_TEMPLATE}")
            database = Database(self._url(_TEMPLATE))
            database.migrate()
            database.close()
            self._has_template = True
        self._execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {_TEMPLATE}" if migrated else ""))
        return self._url(name)

    def drop(self, url: str) -> None:
        """Takes away a database, whoever is still connected."""
        self._execute(f"DROP DATABASE {url.partition('@/')[2].partition('?')[0]} WITH (FORCE)")

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"

    def _execute(self, statement: str) -> None:
        with psycopg.connect(host=str(self._folder), user="postgres", autocommit=True) as connection:
            connection.execute(statement)
