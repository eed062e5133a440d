"""One turn of the tick loop: decided once, in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

import writing
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.alerts import Outgoing
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.schema import alert_events, notifications
from sentiment_monitor.times import MINUTE_MS
from sentiment_monitor.watch.tick import Ticker, Told
from writing import Alerts

START = 27_974_400
NOW = START * MINUTE_MS
RULE = Rule(
    name="short",
    dimensions=("ticker",),
    window_minutes=10,
    baseline_days=1,
    warmup_minutes=120,
    min_negative=3,
    min_sources=2,
    keep_firing_minutes=15,
    max_staleness_minutes=8,
    receivers=("a", "b"),
)


class Desk:
    """A database with two quiet hours of news, and the ticker that watches it."""

    def __init__(self, folder: Path, agencies: int = 3) -> None:
        self.agencies = agencies
        self.database = Database(f"sqlite:///{folder / 'a.sqlite'}")
        self.database.migrate()
        self.alerts = Alerts(self.database)
        self.news = writing.Desk(self.database)
        self.told: list[tuple[str, Told]] = []
        for minute in range(0, 240, 3):
            self.story(minute, "neutral", "ABCD"[minute % 4])

    def ticker(self) -> Ticker:
        return Ticker(
            database=self.database, alerts=self.alerts, rules=[RULE], compose=self._compose, names={"A": "Acme"}
        )

    def _compose(self, receiver: str, told: Told) -> list[Outgoing]:
        self.told.append((receiver, told))
        return [Outgoing(receiver, 0, f"{receiver}-{told.transition.minute}", "{}", "t", "b")]

    def story(self, minute: int, label: str, ticker: str = "A") -> None:
        n = self.news.next
        self.news.write(
            writing.scored(
                str(n), source=f"s{n % self.agencies}", minute=START + minute, label=label, tickers=(ticker,)
            )
        )

    def lease(self, holder: str = "me", now: int = NOW) -> Lease:
        found = self.alerts.leases.acquire(holder, now, 1_000)
        assert found is not None
        return found

    def rows(self, table: Any) -> int:
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path)
    yield one
    one.database.close()


def _burst(desk: Desk) -> None:
    for n in range(6):
        desk.story(240 + n, "negative")


def test_a_burst_of_bad_news_fires_once_and_tells_every_receiver(desk: Desk) -> None:
    _burst(desk)
    report = desk.ticker().tick(START + 246, desk.lease(), NOW)
    assert (report.fired, report.open) == (1, 1)
    assert [receiver for receiver, _ in desk.told] == ["a", "b"]
    _, told = desk.told[0]
    assert (told.evaluation.series, told.evaluation.observed) == ("ticker:A", 6)
    assert "Acme" in told.explanation.title
    assert {story.headline for story in told.evidence.stories} <= {f"story {n}" for n in range(80, 86)}
    assert (desk.rows(alert_events), desk.rows(notifications)) == (1, 2)


def test_a_feed_of_one_agency_pages(tmp_path: Path) -> None:
    desk = Desk(tmp_path, agencies=1)
    try:
        for n in range(4):
            desk.story(240 + n, "negative")
        assert desk.ticker().tick(START + 246, desk.lease(), NOW).fired == 1
    finally:
        desk.database.close()


def test_a_tick_sees_the_minutes_before_it_and_not_its_own(desk: Desk) -> None:
    for _ in range(6):
        desk.story(240, "negative")
    ticker = desk.ticker()
    assert ticker.tick(START + 240, desk.lease(), NOW).fired == 0
    assert ticker.tick(START + 241, desk.lease(), NOW).fired == 1


def test_a_minute_that_was_decided_is_not_decided_again_by_anyone(desk: Desk) -> None:
    _burst(desk)
    ticker = desk.ticker()
    ticker.tick(START + 246, desk.lease(), NOW)
    for again in (ticker, desk.ticker()):
        for minute in (START + 246, START + 240):
            assert again.tick(minute, desk.lease(), NOW).fired == 0
    assert desk.rows(alert_events) == 1


def test_a_restart_continues_the_alert_and_does_not_fire_it_again(desk: Desk) -> None:
    _burst(desk)
    for minute in range(246, 290, 2):  # the feed goes on: without any story nothing would be said
        desk.story(minute, "neutral", "B")
    for minute in range(246, 290):
        desk.ticker().tick(START + minute, desk.lease(), NOW)
    with desk.database.read() as connection:
        kinds = list(connection.scalars(select(alert_events.c.transition).order_by(alert_events.c.id)))
    assert kinds == ["fired", "resolved"]


def test_a_ticker_that_lost_its_lease_leaves_nothing_behind(desk: Desk) -> None:
    _burst(desk)
    lease = desk.lease()
    desk.lease("another", NOW + 1_000)
    with pytest.raises(Fenced):
        desk.ticker().tick(START + 246, lease, NOW)
    assert (desk.rows(alert_events), desk.rows(notifications), desk.alerts.open()) == (0, 0, [])


def test_a_fenced_tick_may_run_again_under_a_new_lease(desk: Desk) -> None:
    _burst(desk)
    ticker = desk.ticker()
    lease = desk.lease()
    other = desk.lease("another", NOW + 1_000)
    with pytest.raises(Fenced):
        ticker.tick(START + 246, lease, NOW)
    desk.alerts.leases.release(other)
    assert ticker.tick(START + 246, desk.lease(now=NOW + 2_000), NOW).fired == 1


def test_old_news_never_pages(desk: Desk) -> None:
    for _ in range(6):
        desk.story(240, "negative")
    assert desk.ticker().tick(START + 249, desk.lease(), NOW).fired == 0
