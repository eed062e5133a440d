"""A database whose schema is the one that this version needs."""

from __future__ import annotations

import structlog

from sentiment_monitor.errors import FatalError
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store.database import Database

_log = structlog.get_logger()


def open_database(settings: Settings, *, migrate: bool | None = None) -> Database:
    """Connects, and brings the schema up to date unless told not to. Raises DatabaseAway, FatalError."""
    database = Database(settings.database.url.get_secret_value())
    bring_up_to_date(database, settings.database.migrate if migrate is None else migrate)
    return database


def bring_up_to_date(database: Database, migrate: bool) -> None:
    """Migrates the schema, or where that is not allowed refuses an old one. Raises DatabaseAway, FatalError."""
    if migrate:
        if database.migrate():
            _log.info("database.migrated", url=database.url.render_as_string(hide_password=True))
    else:
        current, head = database.revisions()
        if current != head:
            raise FatalError(
                f"the database is at schema revision {current}, this version needs {head}: monitor migrate"
            )
