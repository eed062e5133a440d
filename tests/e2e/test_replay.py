"""History decides the same alerts however it is replayed: at once, in several process lives, minute by minute."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from integration.harness import Message, Results, Service, send, service, until
from sentiment_monitor.app.policy import watched
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.ingest.embedded import EmbeddedBroker
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store import schema
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.times import MINUTE_MS
from sentiment_monitor.watch.tick import Ticker

START = 29_540_160  # minute: 2026-03-02 00:00 UTC
DAYS = 3
BURST = START + 2 * 1_440 + 11 * 60  # the third day, 11:00
LEASE_SECONDS = 5  # the least that settings allow
LEXICON = ("--classifier", "lexicon", "--clock", "event")

NAMES = {
    "KSTL": "Kestrel Bank",
    "MRDN": "Meridian Foods",
    "HLVT": "Helvetor",
    "OBRN": "Oberon Rail",
    "TSCA": "Tosca Air",
}
PLAIN = (
    "{} opens an office in Leeds, number {}",
    "{} names a new head of region {}",
    "{} to present at conference {}",
    "{} moves its meeting to room {}",
)
GOOD = ("{} profit beats forecasts in quarter {}", "{} wins order worth {} million")
BAD = ("{} sued over delayed delivery {}", "{} warns of weak sales in region {}")
CRISIS = (
    "{} faces collapse as depositors flee, desk {}",
    "{} accused of fraud by regulator in case {}",
    "{} default feared after losses, paper {}",
    "{} shares plunge on bankruptcy fears, tape {}",
    "{} scandal deepens as losses mount, memo {}",
)
SOURCES = ("harbour wire", "kestrel post", "mill gazette", "evening ledger")


def _history() -> list[Message]:
    """Three ordinary days; on the third Kestrel Bank gets into trouble within forty minutes."""
    rng = random.Random(2026)
    told: list[tuple[int, str, str, str]] = []  # minute, ticker, source, headline
    number = 0
    for minute in range(START, START + DAYS * 1_440, 7):
        number += 1
        ticker = rng.choice(list(NAMES))
        words = rng.choices((PLAIN, GOOD, BAD), (80, 12, 8))[0]
        told.append((minute, ticker, rng.choice(SOURCES), rng.choice(words).format(NAMES[ticker], number)))
    for place in range(18):
        number += 1
        headline = CRISIS[place % len(CRISIS)].format(NAMES["KSTL"], number)
        told.append((BURST + 1 + 2 * place, "KSTL", SOURCES[place % 4], headline))
    told.sort()
    return [
        Message(
            str(number).encode(),
            json.dumps(
                {
                    "id": f"h{number}",
                    "headline": headline,
                    "source": source,
                    "tickers": [ticker],
                    "published_at": minute * MINUTE_MS + 500 * (number % 100),
                }
            ).encode(),
            minute * MINUTE_MS,
        )
        for number, (minute, ticker, source, headline) in enumerate(told)
    ]


def _decided(url: str) -> list[dict[str, Any]]:
    """Every alert event with its alert and what was sent, without ids of rows."""
    database = Database(url)
    events, alerts, sent, stories = schema.alert_events, schema.alerts, schema.notifications, schema.stories
    try:
        with database.read() as connection:
            told = {row.id: row.story_id for row in connection.execute(select(stories.c.id, stories.c.story_id))}
            keys: dict[int, list[str]] = {}
            for row in connection.execute(select(sent.c.event_id, sent.c.idempotency_key)):
                keys.setdefault(row.event_id, []).append(row.idempotency_key)
            rows = connection.execute(
                select(
                    *(alerts.c[name] for name in ("rule", "series", "severity", "state", "fingerprint", "title")),
                    *(alerts.c[name] for name in ("pending_minute", "fired_minute", "resolved_minute")),
                    *(column for column in events.c if column.name != "alert_id"),
                ).join(alerts, alerts.c.id == events.c.alert_id)
            )
            found = [dict(row) for row in rows.mappings()]
    finally:
        database.close()
    for event in found:
        event["keys"] = sorted(keys.get(event.pop("id"), []))
        event["evidence"] = json.loads(event["evidence"])
        for story in event["evidence"]["top_stories"]:
            story["id"] = told[int(story["id"])]
    return sorted(found, key=lambda event: (event["minute"], event["rule"], event["series"], event["transition"]))


def _fired(url: str) -> bool:
    database = Database(url)
    try:
        with database.read() as connection:
            return bool(connection.scalar(select(schema.alerts.c.id).where(schema.alerts.c.state == "firing")))
    finally:
        database.close()


@pytest.fixture(scope="module")
def history(embedded_broker: EmbeddedBroker) -> list[Message]:
    messages = _history()
    send(embedded_broker.address, "history", messages, partitions=2)
    return messages


@pytest.fixture(scope="module")
def at_once(
    embedded_broker: EmbeddedBroker, history: list[Message], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("at-once")
    url = f"sqlite:///{folder / 'monitor.sqlite'}"
    with service(folder, embedded_broker.address, "history", "at-once", url) as one:
        replay = one.run(*LEXICON, "--exit-when-idle", "1s")
        assert replay.wait(200) == 0, repr(replay)
    with Results(url, "at-once") as results:
        assert results.position() == len(history)
    return _decided(url)


def test_burst_of_bad_news_raises_and_resolves_one_alert_about_its_company(at_once: list[dict[str, Any]]) -> None:
    fired = [event for event in at_once if event["transition"] == "fired"]
    assert {event["series"] for event in fired if event["rule"] == "company-hour"} == {"ticker:KSTL"}
    (first,) = [event for event in fired if event["rule"] == "company-hour"]
    assert BURST < first["minute"] <= BURST + 40
    assert first["resolved_minute"] is not None
    assert len(first["keys"]) == 1
    assert {story["source"] for story in first["evidence"]["top_stories"]} <= set(SOURCES)


@pytest.fixture
def replays(embedded_broker: EmbeddedBroker, history: list[Message], tmp_path: Path) -> Iterator[Service]:
    url = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    group = f"replay-{uuid.uuid4().hex[:8]}"
    with service(
        tmp_path,
        embedded_broker.address,
        "history",
        group,
        url,
        kafka__max_poll_records="20",
        detect__lease_seconds=str(LEASE_SECONDS),
    ) as one:
        yield one


def _kill_on_a_calm_day(replays: Service) -> None:
    calm = replays.run(*LEXICON, ms_per_story=4)
    calm.await_event("detect.leading")  # both partitions have begun, and the first ticks are decided
    calm.kill()
    assert not _fired(replays.database)


def test_replay_killed_on_the_way_decides_the_same(replays: Service, at_once: list[dict[str, Any]]) -> None:
    _kill_on_a_calm_day(replays)
    _outlive_the_lease()
    troubled = replays.run(*LEXICON, ms_per_story=4)
    until(lambda: _fired(replays.database), "the alert", 60, pause=0.02)
    troubled.kill()
    _outlive_the_lease()
    last = replays.run(*LEXICON, "--exit-when-idle", "1s")
    assert last.wait(200) == 0, repr(last)
    assert _decided(replays.database) == at_once


def test_replay_restarted_at_once_after_a_kill_decides_the_same(
    replays: Service, at_once: list[dict[str, Any]]
) -> None:
    replays.settings["MONITOR_DETECT__LEASE_SECONDS"] = "20"
    _kill_on_a_calm_day(replays)
    last = replays.run(*LEXICON, "--exit-when-idle", "1s")
    assert last.wait(200) == 0, repr(last)
    assert _decided(replays.database) == at_once


def _outlive_the_lease() -> None:
    """Until the dead detector's lease has run out."""
    time.sleep(LEASE_SECONDS + 0.5)


def test_ticks_of_every_minute_decide_the_same(replays: Service, at_once: list[dict[str, Any]]) -> None:
    assert replays.run("--classifier", "lexicon", "--roles", "ingest", "--exit-when-idle", "1s").wait(200) == 0
    defaults = Settings()
    database = Database(replays.database)
    try:
        store = AlertStore(database)
        rules, tellings = watched(defaults)
        ticker = Ticker(
            database=database,
            alerts=store,
            rules=rules,
            routes=Routes(tellings, {"default": ("log",)}),
            external_url="http://localhost:8080",
            names={},
        )
        lease = LeaseStore(database).acquire("by-hand", 0, 1)
        assert lease is not None
        for minute in range(START, START + DAYS * 1_440 + 1):
            ticker.tick(minute, lease, minute * MINUTE_MS, note_quiet=False)
    finally:
        database.close()
    assert _decided(replays.database) == at_once
