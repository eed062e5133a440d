"""Connections, migrations and views, on both databases."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import exc as sql_errors
from sqlalchemy import inspect, select, text

from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.alerts import Evidence, TopStory, fingerprint
from sentiment_monitor.domain.people import Verdict
from sentiment_monitor.errors import DatabaseAway, DatabaseRefused, FatalError, SettingsError
from sentiment_monitor.store import migrations, people, reading
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import copy_keys, metadata, stories
from writing import Alerts, Desk, alert, scored

VIEWS = ("v1_stories", "v1_trend_minute", "v1_alerts", "v1_alert_events", "v1_dropped_fields")


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def alembic(database: Database, direction: str, to: str) -> None:
    config = migrations.config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        getattr(command, direction)(config, to)


# -- migrations -------------------------------------------------------------------------------------


def test_a_reader_writes_nothing_and_waits_for_nobody_long(database: Database) -> None:
    database.migrate()
    reader = Database(database.url.render_as_string(hide_password=False), reader=True)
    try:
        assert reader.revisions()[0] is not None
        with pytest.raises(DatabaseAway), reader.write() as connection:
            connection.exec_driver_sql("DELETE FROM leases")
        if not database.is_sqlite:
            with database.write() as connection:
                connection.exec_driver_sql("LOCK TABLE leases IN ACCESS EXCLUSIVE MODE")
                began = time.monotonic()
                with pytest.raises(DatabaseAway), reader.read() as waiting:
                    waiting.exec_driver_sql("SELECT * FROM leases")
                assert time.monotonic() - began < 7
    finally:
        reader.close()


def test_an_empty_database_is_brought_to_the_newest_schema_once(empty: Database) -> None:
    current, head = empty.revisions()
    assert current is None
    assert empty.migrate() is True
    assert empty.revisions() == (head, head)
    assert empty.migrate() is False


def test_the_newest_revision_is_the_one_that_alembic_finds() -> None:
    script = ScriptDirectory.from_config(migrations.config())
    assert migrations.head_revision() == script.get_current_head()


_MIGRATE = """
import sys, time
from sentiment_monitor.store.database import Database
while time.time() < float(sys.argv[2]):
    pass
for number in range(20):
    database = Database(f"sqlite:///{sys.argv[1]}/{number}.sqlite")
    database.migrate()
    database.close()
    while time.time() < float(sys.argv[2]) + 0.1 * number:
        pass
"""


def test_processes_that_start_together_on_a_new_sqlite_file_wait_for_each_other(tmp_path: Path) -> None:
    start = str(time.time() + 2)
    processes = [
        subprocess.Popen([sys.executable, "-c", _MIGRATE, tmp_path, start], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate()[1] for process in processes] == [""] * 4
    assert not any(process.returncode for process in processes)


def test_down_and_up_again_leaves_the_same_schema(database: Database) -> None:
    def shape() -> dict[str, Any]:
        with database.read() as connection:
            found = inspect(connection)
            return {
                name: (sorted(str(column) for column in found.get_columns(name)), found.get_indexes(name))
                for name in found.get_table_names()
            }

    before = shape()
    alembic(database, "downgrade", "base")
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
        assert inspect(connection).get_view_names() == []
    alembic(database, "upgrade", "head")
    assert shape() == before


def test_copy_keys_survive_the_way_down_to_their_foreign_key_and_up_again(database: Database) -> None:
    Desk(database).write(scored("1", "Bank fails"), scored("2", "Mill opens again"))

    def kept() -> set[tuple[int, ...]]:
        with database.read() as connection:
            return {tuple(row) for row in connection.execute(select(copy_keys))}

    before = kept()
    assert len({identity for _, identity, _ in before}) == 2
    alembic(database, "downgrade", "0001")
    with database.read() as connection:
        (foreign,) = inspect(connection).get_foreign_keys("copy_keys")
        assert (foreign["referred_table"], foreign["options"]) == ("stories", {"ondelete": "CASCADE"})
        assert [index["name"] for index in inspect(connection).get_indexes("copy_keys")] == ["ix_copy_keys_story_id"]
    assert kept() == before
    alembic(database, "upgrade", "head")
    assert kept() == before
    Desk(database).write(scored("1", "Bank fails", action="deleted"), scored("3", "Mill opens again"))
    assert {identity for _, identity, _ in kept()} == {identity for _, identity, _ in before} - {1}


def test_alerts_of_the_schema_before_come_over_with_state_evidence_and_queue(database: Database) -> None:
    alembic(database, "downgrade", "0002")
    state = {"status": "firing", "evaluated_minute": 130, "pending_minute": 100, "started_minute": 101,
             "quiet_minute": 125, "notified_minute": 101, "ended_minute": None}  # fmt: skip
    story = {"id": "7", "headline": "Mill – 银行", "source": "wire", "url": "https://news.example/7",
             "published_ms": 1_772_667_540_000, "negative": 0.93, "copies": 2}  # fmt: skip
    statistics = {"p_count": 1e-9, "effect": 12.5, "expected_share": 0.2, "series": "ticker:A", "beyond": True}
    evidence = {
        "sentence": "5 of 9",
        "sources": ["wire"],
        "copies": 2,
        "top_stories": [story],
        "statistics": statistics,
    }
    with database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO alerts (id, fingerprint, rule, series, severity, state, state_json, title, pending_minute,"
                " fired_minute, updated_minute) VALUES (1, :print, 'rule', 'ticker:A', 'critical', 'firing', :state,"
                " 'A fires', 100, 101, 130)"
            ),
            {"print": fingerprint("rule", "ticker:A"), "state": json.dumps(state)},
        )
        connection.execute(
            text(
                "INSERT INTO alert_events (id, alert_id, minute, transition, reason, observed, volume, expected,"
                " p_value, q_value, evidence, explanation) VALUES (1, 1, 101, 'fired', 'spike_burst', 5, 9, 0.5, 1e-6,"
                " 1e-5, :e, 'because')"
            ),
            {"e": json.dumps(evidence)},
        )
        for number in (0, 1):
            connection.execute(
                text(
                    "INSERT INTO notifications (event_id, receiver, notifier, idempotency_key, payload, title, body,"
                    " state, attempts, created_ms, next_attempt_ms) VALUES (1, 'desk', :n, :key, '{}', 't', 'b',"
                    " 'queued', 0, 5, 5)"
                ),
                {"n": number, "key": f"key-{number}"},
            )
    alembic(database, "upgrade", "head")
    alerts = Alerts(database)
    (alert,) = alerts.open()
    assert (alert.state, alert.pending_minute, alert.fired_minute, alert.quiet_minute, alert.decided_minute) == (
        State.FIRING, 100, 101, 125, 130,
    )  # fmt: skip
    assert alerts.told([1]) == {1: {"desk": 101}}
    history = alerts.history(1)
    assert history is not None
    assert history.events[0].evidence == Evidence(
        "5 of 9",
        (TopStory("7", "Mill – 银行", "wire", "https://news.example/7", "2026-03-04T23:39:00Z", 0.93, 2),),
        ("wire",),
        2,
        {"p_count": 1e-9, "effect": 12.5, "expected_share": 0.2},
    )
    assert [due.notification.notifier for due in alerts.due(5)] == ["#0", "#1"]
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM v1_alert_events")) == 1
    alembic(database, "downgrade", "0002")
    with database.read() as connection:
        (kept,) = connection.execute(text("SELECT state_json, updated_minute FROM alerts"))
        assert json.loads(kept[0]) == {**state, "evaluated_minute": 130}
        (old,) = connection.scalars(text("SELECT evidence FROM alert_events"))
        assert json.loads(old)["top_stories"] == [story]
        assert list(connection.scalars(text("SELECT notifier FROM notifications ORDER BY id"))) == [0, 1]


def test_on_sqlite_copy_keys_stay_one_tree_without_row_numbers(database: Database) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("SQLite's own kind of table")
    with database.read() as connection:
        (made,) = connection.scalars(text("SELECT sql FROM sqlite_master WHERE name = 'copy_keys'"))
    assert "WITHOUT ROWID" in made


def test_the_tables_in_the_code_are_those_the_migrations_make(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_every_constraint_and_index_is_named_by_the_convention(database: Database) -> None:
    with database.read() as connection:
        found = inspect(connection)
        for table in metadata.tables:
            names = [index["name"] for index in found.get_indexes(table)]
            names += [one["name"] for one in found.get_unique_constraints(table)]
            names += [one["name"] for one in found.get_foreign_keys(table)]
            names += [one["name"] for one in found.get_check_constraints(table)]
            names.append(found.get_pk_constraint(table)["name"])
            for name in names:
                assert name is not None
                assert name.startswith(tuple(f"{kind}_{table}" for kind in ("ix", "uq", "fk", "ck", "pk"))), name
                assert len(name) <= 63, "PostgreSQL would cut it"


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(FatalError, match="newer version"):
        database.migrate()


def test_the_views_are_readable_and_show_times_copies_and_no_deleted_story(database: Database) -> None:
    desk = Desk(database)
    desk.write(
        scored("1", "Bank fails", minute=27_974_481, label="negative", tickers=("KSB", "XYZ")),
        scored("2", "Bank fails", minute=27_974_482, label="negative", tickers=("KSB", "XYZ")),
        scored("3"),
        scored("3", action="deleted"),
    )
    with database.read() as connection:
        for view in VIEWS:
            connection.execute(text(f"select * from {view}")).all()
        found = connection.execute(text("select * from v1_stories order by id")).mappings().all()
        assert [row["story_id"] for row in found] == ["1", "2"]
        assert (found[0]["tickers"], found[0]["sentiment"], found[0]["copy_of"]) == ("KSB,XYZ", "negative", None)
        assert found[1]["copy_of"] == found[0]["id"]
        at = found[0]["published_at"]
        assert (at if isinstance(at, str) else at.strftime("%Y-%m-%dT%H:%M:%S.000Z")) == "2023-03-10T17:21:00.000Z"
        trend = connection.execute(
            text("select stories, copies, negative_mass, mean_score from v1_trend_minute where series = 'all'")
        ).all()
    assert [tuple(map(float, row)) for row in trend if row[0]] == [(1, 0, 0.8, -0.75)]
    assert [(row[1], row[3]) for row in trend if not row[0]] == [(1, None)]


def test_the_view_of_alerts_says_who_has_one_who_ended_it_and_how_it_recovers(database: Database) -> None:
    alerts = Alerts(database)
    lease = alerts.leases.acquire("me", 0, 1_000)
    assert lease is not None
    calm = alert(series="ticker:B", quiet_minute=27_974_481, reopened_minute=27_974_480, reopenings=1)
    over = alert(series="ticker:C", state=State.RESOLVED, resolved_minute=27_974_482, quiet_minute=27_974_481)
    alerts.apply(lease, 27_974_482, [Change(alert(stale=True)), Change(calm), Change(over)], 0)
    with database.write() as connection:
        for owner in ("ada", "bob"):
            people.acknowledge(connection, 1, "ann", owner, "", 27_974_481 * 60_000)
        for holder in ("ada", None):
            people.acknowledge(connection, 2, "ann", holder, "", 0)
        people.close(connection, 3, "ann", Verdict.DISMISSED, "a namesake", 0)
    names = "reopened_at, recovering_since, owner, acknowledged_at, verdict, closed_by, closing_reason, stale"
    with database.read() as connection:
        rows = connection.execute(text(f"SELECT {names} FROM v1_alerts ORDER BY id")).all()

    def shown(value: Any) -> Any:
        return value.strftime("%H:%M") if hasattr(value, "strftime") else value[11:16] if "Z" in str(value) else value

    assert [tuple(map(shown, row)) for row in rows] == [
        (None, None, "bob", "17:21", None, None, None, True),
        ("17:20", "17:21", None, None, None, None, None, False),
        (None, None, None, None, "dismissed", "ann", "a namesake", False),
    ]


# -- transactions -----------------------------------------------------------------------------------


def test_an_error_in_a_transaction_undoes_it(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:  # noqa: PT012  # it ends inside the block
        connection.execute(text("insert into leases values ('x', 'h', 1, 1, null)"))
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(text("select * from leases")).all() == []


def test_a_reader_sees_one_snapshot_whatever_is_written_meanwhile(database: Database) -> None:
    desk = Desk(database)
    desk.write(scored("1"))
    with database.read() as connection:
        before = reading.totals(connection).stories
        desk.write(scored("2", "Rates rise again"))
        assert reading.totals(connection).stories == before == 1
    with database.read() as connection:
        assert reading.totals(connection).stories == 2


def test_what_is_missing_is_for_a_person_and_a_refused_row_is_not_called_away(database: Database) -> None:
    with pytest.raises(DatabaseRefused, match="no_such_table"), database.write() as connection:
        connection.execute(text("insert into no_such_table values (1)"))
    with pytest.raises(sql_errors.IntegrityError), database.write() as connection:
        connection.execute(text("insert into leases (name) values ('x')"))


def test_a_server_that_is_gone_is_away() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    assert database.url.drivername == "postgresql+psycopg"
    with pytest.raises(DatabaseAway), database.read():
        pass
    database.close()


def test_a_server_that_drops_the_connection_is_away_and_then_back(postgres_url: str) -> None:
    database = Database(postgres_url)
    database.migrate()
    with pytest.raises(DatabaseAway), database.write() as connection:  # noqa: PT012  # it ends inside the block
        own = connection.execute(text("select pg_backend_pid()")).scalar()
        with database.read() as other:
            other.execute(text(f"select pg_terminate_backend({own})"))
        connection.execute(text("select 1"))
    with database.read() as connection:
        assert connection.execute(select(stories)).all() == []
    database.close()


def test_a_locked_file_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment_monitor.store.sqlite_file._BUSY_SECONDS", 0.05)
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    database.migrate()
    other = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(DatabaseAway, match="locked"), database.write():
        pass
    other.close()
    with database.write():
        pass
    database.close()


@pytest.mark.parametrize(
    ("state", "temporary"),
    [("40001", True), ("40P01", True), ("08006", True), ("57P01", True), ("53300", True), ("22021", False),
     ("23505", False), (None, True)],
)  # fmt: skip
@pytest.mark.parametrize("through_sqlalchemy", [True, False])
def test_states_that_may_pass_are_temporary(state: str | None, temporary: bool, through_sqlalchemy: bool) -> None:
    cause = psycopg.OperationalError("x")
    cause.sqlstate = state
    raised = sql_errors.OperationalError("select 1", {}, cause) if through_sqlalchemy else cause
    database = Database("postgresql://nobody@/nowhere")  # connects only when asked to
    with pytest.raises(DatabaseAway if temporary else type(raised)), database._translated(to_write=True):
        raise raised
    database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "not a SQLAlchemy URL"),
        ("nonsense", "not a SQLAlchemy URL"),
        ("mysql://h/d", "mysql is not supported"),
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
        ("sqlite:////no/such/folder/a.sqlite", "does not exist"),
    ],
)
def test_a_database_that_cannot_work_is_refused_with_the_reason(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Database(url)


@pytest.mark.parametrize(
    "url", ["postgresql://u:s3cret@h/d", "postgresql://h/d?password=s3cret", "postgresql://u@h/d?sslpassword=s3cret"]
)
def test_no_password_of_an_address_is_shown_wherever_it_stands(url: str) -> None:
    database = Database(url)
    assert "h/d" in database.shown_url
    assert "s3cret" not in database.shown_url
    database.close()
