"""The schema's revisions: which one a database is at, which one this version needs, and how to get there.

Alembic is imported by what migrates, not by what only asks: it would be half the start of a command that reads.
"""

from __future__ import annotations

import functools
import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from sentiment_monitor.errors import FatalError

if TYPE_CHECKING:
    from alembic.config import Config


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None: it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return revision


@functools.cache
def head_revision() -> str:
    """The newest revision of this version, by the names of the files: they are numbered in order."""
    numbers = [path.name.partition("_")[0] for path in (_folder() / "versions").glob("[0-9]*.py")]
    if not numbers:
        raise FatalError(f"no migrations found in {_folder()}")
    return max(numbers)


def upgrade(connection: Connection) -> None:
    """Brings the schema to the newest revision, within the caller's transaction.

    Raises FatalError for a database that a newer version of this program has already changed.
    """
    from alembic import command
    from alembic.util import CommandError

    settings = config()
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, "head")
    except CommandError as error:
        raise FatalError(
            f"the database is at schema revision {current_revision(connection)}, which this version does not know: "
            f"{error}. It was probably changed by a newer version; use that one."
        ) from error


def config() -> Config:
    """Alembic's settings, without a database."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    return settings


def _folder() -> Path:
    """Where the migrations lie: inside an installed package, beside ``src`` in a checkout."""
    packaged = Path(str(importlib.resources.files("sentiment_monitor"))) / "alembic"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "alembic"
