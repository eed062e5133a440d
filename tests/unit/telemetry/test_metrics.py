"""The closed list of metrics: what is shown when, histograms by the batch, and that the list is documented."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sentiment_monitor.errors import DatabaseAway
from sentiment_monitor.telemetry.metrics import HotLoop, Metrics

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def _shown(metrics: Metrics) -> set[str]:
    return {
        sample.name.removeprefix("sentiment_monitor_")
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.name.startswith("sentiment_monitor_")
    }


def test_a_loop_that_is_not_here_shows_nothing(metrics: Metrics) -> None:
    assert _shown(metrics) == {"build_info"}
    assert metrics.tick.value("ticks_total", result="done") == 0
    assert "ticks_total" in _shown(metrics)
    assert "records_total" not in _shown(metrics)


def test_what_is_not_known_yet_is_absent(metrics: Metrics) -> None:
    assert metrics.hot.value("newest_story_timestamp_seconds") is None
    metrics.hot.newest_story.set(60)
    assert metrics.value("newest_story_timestamp_seconds") == 60


def test_ages_fall_into_buckets_up_to_their_bound() -> None:
    hot = HotLoop()
    hot.published_to_stored.observe([0.1, 0.3, -5, 1e9])
    buckets = {
        bound: hot.value("published_to_stored_seconds_bucket", le=bound) for bound in ("0.1", "0.25", "0.5", "+Inf")
    }
    assert buckets == {"0.1": 2, "0.25": 2, "0.5": 3, "+Inf": 4}
    assert hot.value("published_to_stored_seconds_count") == 4
    assert hot.value("published_to_stored_seconds_sum") == pytest.approx(1e9 + 0.4)


def test_sources_that_are_gone_are_not_shown() -> None:
    hot = HotLoop()
    hot.feed_clocks.set({"norwick wire": 18_000.0})
    assert hot.value("feed_clock_behind_seconds", source="norwick wire") == 18_000
    hot.feed_clocks.set({"halden": 1.0})
    assert hot.value("feed_clock_behind_seconds", source="norwick wire") is None


def test_partitions_that_are_gone_are_not_shown() -> None:
    hot = HotLoop()
    hot.partitions.set({("news", 0): 7, ("news", 1): None})
    assert hot.value("assigned_partitions") == 2
    assert hot.value("lag_records", topic="news", partition="0") == 7
    assert hot.value("lag_records", topic="news", partition="1") is None
    hot.partitions.set({})
    assert hot.value("assigned_partitions") == 0
    assert hot.value("lag_records", topic="news", partition="0") is None


def test_a_turn_of_a_stage_is_load_and_time() -> None:
    hot = HotLoop()
    for _ in range(2):
        with hot.turn("score"):
            time.sleep(0.01)
            assert hot.turns["score"].overdue(0)
    assert hot.turns["score"].overdue(0) is None
    assert 0.02 <= (hot.value("stage_busy_seconds_total", stage="score") or 0) < 10
    assert hot.value("stage_seconds_count", stage="score") == 2


def test_a_database_that_is_away_is_said_and_nothing_is_made_up(metrics: Metrics) -> None:
    def away() -> tuple[dict[str, int], dict[str, int]]:
        raise DatabaseAway("gone")

    metrics.ask_database(away)
    assert metrics.value("database_up") == 0
    assert metrics.value("alerts", state="firing") is None


def test_every_metric_is_documented_and_no_other(metrics: Metrics) -> None:
    metrics.ask_database(lambda: ({}, {}))
    for part in (metrics.hot, metrics.tick):
        assert part.registry is metrics.registry
    families = {
        family.name.removeprefix("sentiment_monitor_")
        for family in metrics.registry.collect()
        if family.name.startswith("sentiment_monitor_")
    }
    section = OPERATIONS.read_text(encoding="utf-8").partition("## Metrics and health")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| (?:counter|gauge|histogram) ", section, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    documented = {name.removesuffix("_total").removesuffix("_info") for name in names}
    assert documented == families
