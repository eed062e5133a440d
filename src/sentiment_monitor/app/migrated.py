"""A database whose schema is the one that this version needs."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from sentiment_monitor.errors import DatabaseAway, FatalError
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store.database import Database
from sentiment_monitor.times import pauses

_log = structlog.get_logger()

_FIRST_PAUSE_SECONDS = 0.5


def open_database(settings: Settings, *, migrate: bool | None = None) -> Database:
    """Connects, and brings the schema up to date unless told not to. Raises DatabaseAway, FatalError."""
    database = Database(settings.database.url.get_secret_value())
    bring_up_to_date(database, settings.database.migrate if migrate is None else migrate)
    return database


def bring_up_to_date(database: Database, migrate: bool) -> None:
    """Migrates the schema, or where that is not allowed refuses an old one. Raises DatabaseAway, FatalError."""
    if migrate:
        if database.migrate():
            _log.info("database.migrated", url=database.shown_url)
    else:
        current, head = database.revisions()
        if current != head:
            raise FatalError(
                f"the database is at schema revision {current}, this version needs {head}: monitor migrate"
            )


def await_database(
    database: Database,
    migrate: bool,
    *,
    to_write: bool,
    patience: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Brings the schema up to date as soon as the database answers; ``to_write``: and takes rows from us.

    Waits for one that is away, for ``patience`` seconds at most: DatabaseAway then. Raises FatalError for what no time
    mends: a password, a right, a table, a schema.
    """
    pause, waited = pauses(first=_FIRST_PAUSE_SECONDS), 0.0
    while True:
        try:
            bring_up_to_date(database, migrate)
            if to_write:
                database.check_rights()
        except DatabaseAway:  # which the database has told the log
            if patience is not None and waited >= patience:
                raise
            seconds = next(pause)
            sleep(seconds)
            waited += seconds
        else:
            return
