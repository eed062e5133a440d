"""The zone of a feed, from the settings to what the running service stores and says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from databases import copy_migrated
from sentiment_monitor.app import build as root
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.settings.load import Settings, load
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.schema import stories

NOON_MS = 1_796_040_000_000  # 2026-11-30T12:00:00Z, 7 in the morning in New York
MINUTES = 60


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    copy_migrated(tmp_path / "a.sqlite")

    def of(**news: object) -> Settings:
        return load(
            isolated=True,
            database={"url": f"sqlite:///{tmp_path / 'a.sqlite'}"},
            service={"state_dir": tmp_path / "state"},
            news=news,
        )

    return of


def _feed(positions: PositionStore) -> MemorySource:
    """A story a minute, a few seconds old when its record is made, dated by the clock on New York's walls."""
    source = MemorySource(lambda starts: positions.ask(starts, 0), max_poll_records=100)
    for minute in range(MINUTES):
        at_ms = NOON_MS + minute * 60_000
        wall = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo("America/New_York"))
        story = {"id": str(minute), "headline": f"Story {minute}", "source": "Norwick Wire"}
        story["published_at"] = f"{wall:%Y-%m-%d %H:%M:%S}"
        source.append(("news", 0), [json.dumps(story).encode()], timestamp_ms=at_ms + 5_000)
    return source


def _run(chosen: Settings) -> tuple[list[str], float | None, list[int]]:
    """What is said of the feed's clock, the metric, and the stories' times in minutes from noon."""
    with capture_logs() as lines:
        service = root.build(chosen, roles=["ingest"], classifier=StubClassifier(), source=_feed, exit_when_idle=0.05)
        assert service.pipeline is not None
        metrics = service.pipeline.metrics
        service.run()
    said = [str(line["likely_zone"]) for line in lines if line["event"] == "feed.clock_differs"]
    database = Database(chosen.database.url.get_secret_value())
    try:
        with database.read() as connection:
            times = sorted(connection.scalars(select(stories.c.published_ms)))
    finally:
        database.close()
    value = metrics.value("feed_clock_behind_seconds", source="norwick wire")
    return said, value, [round((instant - NOON_MS) / 60_000) for instant in times]


def test_a_feed_of_new_york_read_as_utc_is_said_with_its_likely_zone(settings: Callable[..., Settings]) -> None:
    """Nothing was said: its spikes were five hours old, and too stale for an alert."""
    said, behind, minutes = _run(settings())
    assert said == ["America/New_York"]
    assert behind == pytest.approx(5 * 3600, abs=10)
    assert minutes == [minute - 300 for minute in range(MINUTES)]


@pytest.mark.parametrize(
    "news", [{"time_zone": "America/New_York"}, {"time_zones": {"norwick wire": "America/New_York"}}]
)
def test_with_its_zone_set_the_feed_is_read_right_and_nothing_is_said(
    settings: Callable[..., Settings], news: dict[str, object]
) -> None:
    said, behind, minutes = _run(settings(**news))
    assert (said, minutes) == ([], list(range(MINUTES)))
    assert behind == pytest.approx(5, abs=1)
