"""A database at the start: waited for while it is away, refused at once where only a person can help."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from databases import migrated_sqlite
from sentiment_monitor.app.migrated import await_database
from sentiment_monitor.errors import DatabaseAway, DatabaseRefused
from sentiment_monitor.store.database import Database


def test_one_that_is_away_is_asked_again_ever_more_rarely_until_patience_ends() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    pauses: list[float] = []
    with pytest.raises(DatabaseAway):
        await_database(database, True, to_write=True, patience=30, sleep=pauses.append)
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]
    database.close()


def test_one_that_comes_back_is_brought_up_to_date(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    (tmp_path / "a.sqlite").mkdir()  # cannot be opened
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            (tmp_path / "a.sqlite").rmdir()

    await_database(database, True, to_write=True, sleep=sleep)
    assert len(pauses) == 3
    assert database.revisions()[0] is not None
    database.close()


def test_a_table_that_is_missing_is_said_at_the_start(tmp_path: Path) -> None:
    database = migrated_sqlite(tmp_path / "a.sqlite")
    with database.write() as connection:
        connection.execute(text("DROP TABLE audit"))
    with pytest.raises(DatabaseRefused, match="audit"):
        await_database(database, True, to_write=True)
    await_database(database, True, to_write=False)  # a page alone shows what there is
    database.close()


def test_a_right_that_is_missing_is_said_at_the_start(postgres_url: str) -> None:
    owner = Database(postgres_url)
    owner.migrate()
    with owner.write() as connection:
        connection.execute(text("DROP ROLE IF EXISTS looking"))
        connection.execute(text("CREATE ROLE looking LOGIN"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looking"))
    looking = Database(owner.url.set(username="looking").render_as_string(False))
    try:
        with pytest.raises(DatabaseRefused, match="permission denied"):
            await_database(looking, False, to_write=True)
        await_database(looking, False, to_write=False)
    finally:
        looking.close()
        with owner.write() as connection:
            connection.execute(text("DROP OWNED BY looking"))
            connection.execute(text("DROP ROLE looking"))
        owner.close()
