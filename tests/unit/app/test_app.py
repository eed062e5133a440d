"""The composition root: what is refused, and how a service ends."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, make_url, select

from databases import copy_migrated
from receiver import Answer, notification, receiver
from sentiment_monitor.app import build as root
from sentiment_monitor.app.migrated import open_database
from sentiment_monitor.app.service import Service
from sentiment_monitor.errors import FatalError, SettingsError, UsageError
from sentiment_monitor.ingest.embedded import free_port
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.settings import alerting, feed
from sentiment_monitor.settings import service as service_tables
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.schema import leases, stories
from sentiment_monitor.store.schema import notifications as rows
from sentiment_monitor.watch.tick import Ticker
from writing import Alerts, alert, event

MINUTE = 27_974_400


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    copy_migrated(tmp_path / "a.sqlite")
    return Settings(
        database=service_tables.DatabaseSettings.model_validate({"url": f"sqlite:///{tmp_path / 'a.sqlite'}"}),
        detect=alerting.DetectSettings(delivery_seconds=0.05),
        web=service_tables.WebSettings(port=0),
        service=service_tables.ServiceSettings(state_dir=tmp_path / "state"),
    )


def _source(count: int) -> Callable[[PositionStore], MemorySource]:
    def make(positions: PositionStore) -> MemorySource:
        source = MemorySource(lambda starts: positions.ask(starts, 0), max_poll_records=100)
        rows = [
            {"id": str(n), "headline": f"story {n}", "source": f"s{n % 7}", "published_at": (MINUTE + n // 20) * 60}
            for n in range(count)
        ]
        for partition in (0, 1):
            source.append(("news", partition), [json.dumps(row).encode() for row in rows[partition::2]])
        return source

    return make


def _build(settings: Settings, **options: Any) -> Service:
    return root.build(settings, classifier=StubClassifier(), **{"source": _source(20), **options})


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def _text(url: str) -> str:
    try:
        return httpx.get(url).text
    except httpx.TransportError:
        return ""


def _children() -> set[str]:
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def _one(settings: Settings, query: Any) -> Any:
    database = Database(settings.database.url.get_secret_value())
    try:
        with database.read() as connection:
            return connection.scalar(query)
    finally:
        database.close()


# -- what is refused --------------------------------------------------------------------------------


@pytest.fixture
def unopened(made: Settings) -> Settings:
    """Settings of a database that is not there yet."""
    Path(str(Database(made.database.url.get_secret_value()).url.database)).unlink()
    return made


@pytest.mark.parametrize("roles", [["ingest"], ["detect"], []])
def test_event_time_needs_both_loops_in_one_process(made: Settings, roles: list[root.Role]) -> None:
    with pytest.raises(UsageError, match="--clock event"):
        root.build(made, clock="event", roles=roles)


def test_a_mapping_that_cannot_work_is_refused_before_anything_is_opened(unopened: Settings) -> None:
    with pytest.raises(SettingsError, match="unknown field"):
        _build(unopened.model_copy(update={"news": feed.NewsSettings(mapping={"titel": "x"})}))
    assert not Path(str(Database(unopened.database.url.get_secret_value()).url.database)).exists()


def test_without_migrations_an_old_schema_is_refused_with_the_remedy(unopened: Settings) -> None:
    with pytest.raises(FatalError, match="monitor migrate"):
        open_database(unopened, migrate=False)
    open_database(unopened).close()
    open_database(unopened, migrate=False).close()


# -- how a service ends -----------------------------------------------------------------------------


def test_a_replay_stores_everything_decides_to_the_end_and_gives_the_lease_away(made: Settings) -> None:
    _build(made, clock="event", exit_when_idle=0.05).run()
    assert _one(made, select(func.count()).select_from(stories)) == 20
    assert _one(made, select(leases.c.progress_minute)) == MINUTE + 1
    assert _one(made, select(leases.c.holder)) == ""


def test_a_replay_that_is_stopped_does_not_decide_minutes_that_are_not_complete(made: Settings) -> None:
    class Stopping(StubClassifier):
        def score(self, texts: Any) -> Any:
            service.stop()
            return super().score(texts)

    service = _build(made, clock="event", exit_when_idle=None, source=_source(4_000))
    assert service.pipeline is not None
    service.pipeline._scoring.classifier = Stopping()
    service.run()
    stored = _one(made, select(func.count()).select_from(stories))
    assert 0 < stored < 4_000
    newest = service.pipeline.progress.last_minute
    progress = _one(made, select(leases.c.progress_minute))
    assert newest is not None
    assert progress is None or progress <= newest, "a minute after the last story stored was decided"
    # An uninterrupted continuation ends where it must.
    _build(made, clock="event", exit_when_idle=0.05, source=_source(4_000)).run()
    assert _one(made, select(func.count()).select_from(stories)) == 4_000
    assert _one(made, select(leases.c.progress_minute)) == MINUTE + 200


def test_minutes_left_undecided_by_a_stop_are_decided_by_the_next_run_though_it_reads_nothing(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(self: Ticker, minute: int, *arguments: Any, **options: Any) -> Any:
        service.stop()
        return tick(self, minute, *arguments, **options)

    tick = Ticker.tick
    service = _build(made, clock="event", exit_when_idle=None)
    with monkeypatch.context() as patched:
        patched.setattr(Ticker, "tick", stops)
        service.run()
    assert _one(made, select(func.count()).select_from(stories)) == 20
    progress = _one(made, select(leases.c.progress_minute))
    assert progress is None or progress < MINUTE + 1
    _build(made, clock="event", exit_when_idle=0.05).run()
    assert _one(made, select(leases.c.progress_minute)) == MINUTE + 1


def test_the_page_alone_needs_neither_broker_nor_classifier_and_guards_its_name(made: Settings) -> None:
    open_database(made).close()
    service = root.build(made.model_copy(update={"external_url": "https://desk.example/monitor"}), roles=["web"])
    assert service.web is not None
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        url = service.web.server.url
        assert "No story has come yet" in httpx.get(url).text
        assert httpx.get(url, headers={"Host": "desk.example"}).status_code == 200
        assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400
    finally:
        service.stop()
        thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_while_the_database_is_away_at_the_start_the_page_says_so_and_then_it_begins(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiment_monitor.store.sqlite_file._BUSY_SECONDS", 0.05)
    monkeypatch.setattr("sentiment_monitor.app.migrated._FIRST_PAUSE_SECONDS", 0.05)
    port = free_port()
    url = f"http://127.0.0.1:{port}/readyz"
    settings = made.model_copy(update={"web": service_tables.WebSettings(port=port)})
    built: list[Service] = []
    other = sqlite3.connect(str(make_url(made.database.url.get_secret_value()).database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=lambda: built.append(_build(settings, exit_when_idle=None)))
    thread.start()
    try:
        _until(lambda: "locked" in _text(url))
        assert (httpx.get(url).status_code, _text(url).splitlines()[0]) == (503, "starting")
        assert httpx.get(url.replace("readyz", "healthz")).status_code == 200
    finally:
        other.close()
        thread.join(20)
    running = threading.Thread(target=built[0].run)
    running.start()
    try:
        _until(lambda: _text(url) == "ok\n")
    finally:
        built[0].stop()
        running.join(20)


def test_a_port_that_is_taken_is_refused(made: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = made.model_copy(update={"web": service_tables.WebSettings(port=other.getsockname()[1])})
        with pytest.raises(SettingsError, match=r"web\.port"):
            _build(taken)


def test_a_page_that_cannot_be_served_any_more_ends_the_service(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(server: object, site: object, failed: Callable[[BaseException], None]) -> None:
        failed(FatalError("the web server ended by itself"))

    monkeypatch.setattr("sentiment_monitor.web.server.WebServer.start", start)
    service = _build(made, exit_when_idle=None)
    with pytest.raises(FatalError, match="ended by itself"):
        service.run()


@pytest.mark.parametrize("roles", [["ingest", "detect"], ["detect"]])
def test_an_error_of_the_tick_loop_ends_the_service_and_is_raised(
    made: Settings, roles: list[root.Role], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug in detection")

    monkeypatch.setattr("sentiment_monitor.watch.tick.Ticker.tick", broken)
    service = _build(made, roles=roles)
    with pytest.raises(ZeroDivisionError, match="a bug in detection"):
        service.run()


def test_an_error_of_the_hot_loop_ends_the_service_and_is_raised(made: Settings) -> None:
    class Broken(StubClassifier):
        def score(self, texts: Any) -> Any:
            raise FatalError("the engine is gone")

    service = root.build(made, classifier=Broken(), source=_source(5))
    with pytest.raises(FatalError, match="the engine is gone"):
        service.run()
    assert service.live is not None
    assert not service.live._schedule._scheduler.running


@pytest.mark.parametrize("roles", [["ingest"], ["detect"], ["ingest", "detect"]])
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_stop_ends_every_role_also_one_that_comes_before_the_start(
    made: Settings, roles: list[root.Role], when: str
) -> None:
    service = _build(made, roles=roles)
    if when == "before":
        service.stop()
    else:
        threading.Timer(0.3, service.stop).start()
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("clock", ["wall", "event"])
def test_receivers_that_drip_hold_up_neither_one_another_nor_the_end(
    made: Settings, clock: root.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiment_monitor.watch.clocks._LAST_DELIVERY_SECONDS", 0.5)
    monkeypatch.setattr("sentiment_monitor.app.service._LAST_SECONDS", 0.5)
    with receiver(Answer(body=b"x" * 100, drip_s=0.1)) as dripping, receiver() as healthy:
        address = dripping.url.partition("//")[2]
        tables: list[dict[str, Any]] = [
            {"type": "webhook", "url": f"http://{address}/hook", "timeout_seconds": 60},
            {"type": "apprise", "url": f"json://{address}/chat", "name": "apprise"},
            {"type": "apprise", "url": f"json://{healthy.url.partition('//')[2]}", "name": "healthy"},
        ]
        desk = alerting.ReceiverSettings.model_validate({"name": "desk", "notifiers": tables})
        service = _build(made.model_copy(update={"receivers": [desk]}), clock=clock, exit_when_idle=None)
        store = Alerts(service.database)
        lease = service.leadership.lease()
        assert lease is not None
        told = [replace(notification(), notifier=name, key=name) for name in ("webhook", "apprise", "healthy")]
        store.apply(lease, MINUTE, [Change(alert(), event(minute=MINUTE), told)], int(time.time() * 1000))
        children = _children()
        thread = threading.Thread(target=service.run)
        thread.start()
        deadline = time.monotonic() + 30
        while len(dripping.seen) < 2 or not healthy.seen:
            assert time.monotonic() < deadline, "they were not reached"
            time.sleep(0.01)
        began = time.monotonic()
        service.stop()
        thread.join(30)
        assert time.monotonic() - began < 6
    assert not thread.is_alive()
    assert _children() == children
    for name, state in (("webhook", "queued"), ("apprise", "queued"), ("healthy", "sent")):
        assert _one(made, select(rows.c.state).where(rows.c.idempotency_key == name)) == state
