"""Which errors of a database cost a record, which are waited out, which are for a person: asked of real databases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, func, select, text

from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.errors import DatabaseAway, DatabaseRefused, FatalError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.store.causes import Fault, cause_of
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.schema import consumer_offsets, dead_letters, stories
from sentiment_monitor.store.stories.transaction import StoryWriter
from sentiment_monitor.stream.pipeline import Pipeline
from writing import NOW, Desk, scored

_ROW = ("22001", "22003", "22021", "23502", "23505", "23514", "44000", "54000", "P0001")
_AWAY = ("25006", "53100", "53200", "57014", "57P01", "57P03", "58030", "XX000", "XX001", "0A000", "55000", "26000")
_REFUSED = ("42501", "42P01", "42703", "28000", "28P01", "3D000")


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    database.migrate()
    yield database
    database.close()


def _trigger(database: Database, state: str, times: int = 1_000_000) -> None:
    """Lets the first so many insertions of stories fail with an SQLSTATE, as a sick server would."""
    with database.write() as connection:
        connection.execute(text("CREATE SEQUENCE sick"))  # it counts on through rollbacks
        connection.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" IF nextval('sick') <= {times} THEN RAISE EXCEPTION 'not today' USING ERRCODE = '{state}'; END IF;"
                " RETURN NEW; END $$"
            )
        )
        connection.execute(
            text("CREATE TRIGGER fail BEFORE INSERT ON stories FOR EACH STATEMENT EXECUTE FUNCTION fail()")
        )


def test_each_state_of_a_real_server_is_about_the_row_or_an_outage_or_for_a_person(postgres: Database) -> None:
    causes: dict[str, Fault] = {}
    with psycopg.connect(postgres.url.set(drivername="postgresql").render_as_string(False), autocommit=True) as raw:
        for state in (*_ROW, *_AWAY, *_REFUSED):
            with pytest.raises(psycopg.Error) as raised:
                raw.execute(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$")
            causes[state] = cause_of(raised.value)
    assert causes == {
        **dict.fromkeys(_ROW, Fault.ROW),
        **dict.fromkeys(_AWAY, Fault.AWAY),
        **dict.fromkeys(_REFUSED, Fault.REFUSED),
    }


def test_a_value_that_the_driver_cannot_send_is_about_the_row(postgres: Database) -> None:
    with pytest.raises(psycopg.DataError) as raised, postgres.engine.connect() as connection:
        connection.connection.cursor().execute("SELECT %s", ("a\0b",))
    assert cause_of(raised.value) is Fault.ROW


def _feed(database: Database, count: int) -> Pipeline:
    positions = PositionStore(database, "g")
    source = MemorySource(lambda starts: positions.ask(starts, NOW))
    source.append(
        ("news", 0), [json.dumps({"headline": f"Kestrel Bank story {n}", "id": str(n)}).encode() for n in range(count)]
    )
    return Pipeline(
        source=source,
        decode=Decoder().decode,
        enrich=Enricher(clean).enrich_all,
        classifier=StubClassifier(),
        writer=StoryWriter(database, positions, wording),
        now_ms=lambda: NOW,
        exit_when_idle=0.0,
    )


@pytest.mark.parametrize("state", ["58030", "XX000", "25006", "53100"])
def test_a_server_that_is_sick_for_a_while_costs_no_story(postgres: Database, state: str) -> None:
    _trigger(postgres, state, times=5)
    _feed(postgres, 9).run()
    with postgres.read() as connection:
        assert connection.scalar(select(func.count()).select_from(stories)) == 9
        assert connection.scalar(select(func.count()).select_from(dead_letters)) == 0
        assert connection.scalar(select(consumer_offsets.c.next_offset)) == 9
    assert postgres.standing.trouble is None


def test_a_right_that_is_missing_stops_the_process_and_costs_no_story(postgres: Database) -> None:
    _trigger(postgres, "42501")
    with pytest.raises(DatabaseRefused, match="not today"):
        _feed(postgres, 9).run()
    with postgres.read() as connection:
        assert connection.scalar(select(func.count()).select_from(dead_letters)) == 0
        assert connection.scalar(select(consumer_offsets.c.next_offset)) == 0


def test_a_row_that_is_refused_costs_itself_alone(postgres: Database) -> None:
    with postgres.write() as connection:
        connection.execute(text("ALTER TABLE stories ADD CONSTRAINT no_four CHECK (story_id <> '4')"))
    _feed(postgres, 9).run()
    with postgres.read() as connection:
        assert connection.scalar(select(func.count()).select_from(stories)) == 8
        assert connection.scalars(select(dead_letters.c.code)).all() == ["store_failed"]


def test_after_a_failover_connections_to_the_old_server_are_not_used_again(postgres: Database) -> None:
    """A primary that became a standby refuses to write, politely and for ever."""
    name = postgres.url.database
    desk = Desk(postgres)
    admin = Database(postgres.url.set(database="postgres").render_as_string(False))
    try:
        with admin.write() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        postgres.close()
        with pytest.raises(DatabaseAway, match="read-only"):
            desk.write(scored("1"))
        assert "read-only" in str(postgres.standing.trouble)
        with postgres.read() as connection:  # that it can be read says nothing of writing
            assert connection.scalar(select(func.count()).select_from(stories)) == 0
        assert postgres.standing.trouble
        with admin.write() as connection:
            connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
        with pytest.raises(DatabaseAway, match="read-only"):  # on the connection that has just read
            desk.write(scored("1"))
        assert desk.write(scored("1")).created == 1  # a pooled connection would be read-only for ever
        assert postgres.standing.trouble is None
    finally:
        admin.close()


def test_a_reader_can_ask_for_the_primary_like_everybody(postgres: Database) -> None:
    url = postgres.url.update_query_dict({"target_session_attrs": "read-write"}).render_as_string(False)
    reader = Database(url, reader=True)
    try:
        assert reader.revisions()[0] is not None
        with pytest.raises(DatabaseAway, match="read-only"), reader.write() as connection:
            connection.execute(text("DELETE FROM leases"))
    finally:
        reader.close()


def test_of_several_servers_the_primary_is_found(postgres: Database) -> None:
    folder = str(postgres.url.query["host"])
    url = postgres.url.set(query={"host": ("/nowhere:5432", f"{folder}:5432")}).render_as_string(False)
    database = Database(url)
    try:
        assert Desk(database).write(scored("1")).created == 1
        with psycopg.connect(f"host={folder} user=postgres dbname={postgres.url.database}", autocommit=True) as raw:
            raw.execute(f"ALTER DATABASE {postgres.url.database} SET default_transaction_read_only = on")
        database.close()
        with pytest.raises(DatabaseAway, match="read-only"), database.write():
            pass
    finally:
        database.close()


@pytest.mark.parametrize(("part", "value"), [("database", "nowhere"), ("username", "nobody_here")])
def test_who_is_not_let_in_is_told_so(postgres: Database, part: str, value: str) -> None:
    database = Database(postgres.url.set(**{part: value}).render_as_string(False))  # type: ignore[arg-type]
    with pytest.raises(DatabaseRefused, match="does not exist"), database.read():
        pass
    database.close()


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ('connection failed: FATAL:  password authentication failed for user "monitor"', Fault.REFUSED),
        ('connection failed: FATAL:  no pg_hba.conf entry for host "10.0.0.7", user "monitor"', Fault.REFUSED),
        ("connection failed: fe_sendauth: no password supplied", Fault.REFUSED),
        ("connection failed: FATAL:  the database system is starting up", Fault.AWAY),
        ("connection failed: FATAL:  sorry, too many clients already", Fault.AWAY),
        ("connection failed: could not translate host name", Fault.AWAY),
        ("consuming input failed: server closed the connection unexpectedly", Fault.AWAY),
    ],
)
def test_a_connection_that_is_not_made_is_an_outage_unless_it_was_turned_down(said: str, cause: Fault) -> None:
    assert cause_of(psycopg.OperationalError(said)) is cause


def test_a_driver_that_only_notices_a_broken_connection_says_nothing_of_the_row() -> None:
    assert cause_of(psycopg.ProgrammingError("x"), disconnected=True) is Fault.AWAY


# -- SQLite ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)
    connection.execute("CREATE TABLE t (i INTEGER PRIMARY KEY, a NOT NULL)")
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("statement", "values", "cause"),
    [
        ("INSERT INTO t VALUES (1, NULL)", (), Fault.ROW),
        ("INSERT INTO t VALUES ('x', 1)", (), Fault.ROW),
        ("INSERT INTO t VALUES (1, ?)", (b"x" * 200_000,), Fault.ROW),
        ("INSERT INTO t VALUES (1, ?)", ([],), Fault.ROW),
        ("INSERT INTO elsewhere VALUES (1)", (), Fault.REFUSED),
        ("INSERT INTO t (b) VALUES (1)", (), Fault.REFUSED),
        ("PRAGMA query_only=ON; INSERT INTO t VALUES (1, 1)", (), Fault.AWAY),
        ("PRAGMA max_page_count=2; INSERT INTO t VALUES (1, zeroblob(50000))", (), Fault.AWAY),
    ],
)
def test_each_error_of_a_real_file_is_told_apart(
    file: sqlite3.Connection, statement: str, values: tuple[Any, ...], cause: Fault
) -> None:
    file.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
    *before, last = statement.split("; ")
    for pragma in before:
        file.execute(pragma)
    with pytest.raises(sqlite3.Error) as raised:
        file.execute(last, values)
    assert cause_of(raised.value) is cause


def test_a_full_disk_is_waited_for_and_said_and_costs_no_story(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    database.migrate()
    full = [True]

    @event.listens_for(database.engine, "checkout")
    def limit(connection: sqlite3.Connection, *_: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0] if full[0] else 2**30
        connection.execute(f"PRAGMA max_page_count={pages}")

    desk = Desk(database)
    batch = [scored(str(n), body="x" * 5_000) for n in range(40)]
    with pytest.raises(DatabaseAway, match=r"a\.sqlite: database or disk is full"):
        desk.write(*batch)
    assert "full" in str(database.standing.trouble)
    full[0] = False
    assert desk.write(*batch).created == 40
    assert database.standing.trouble is None
    database.close()


def test_a_file_that_is_damaged_stops_the_process(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"no database at all" * 1_000)
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with pytest.raises(FatalError, match="damaged"), database.read():
        pass
    database.close()
