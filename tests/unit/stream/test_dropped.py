"""Fields that could not be read: every one is counted, few are logged, and what becomes usual is warned of once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from sentiment_monitor.domain.news import Dropped, ScoredStory
from sentiment_monitor.stream.dropped import DroppedFields
from sentiment_monitor.telemetry.metrics import HotLoop
from writing import scored


def stories(whole: int, odd: int, *losses: Dropped) -> list[ScoredStory]:
    story = scored("1")
    lossy = replace(story, enriched=replace(story.enriched, story=replace(story.enriched.story, dropped=losses)))
    return [story] * whole + [lossy] * odd


LOSS = Dropped("tickers", "not_a_ticker", "'A B'")


def events(batches: Sequence[list[ScoredStory]], metrics: HotLoop | None = None, step: float = 1.0) -> list[str]:
    noted = DroppedFields(metrics or HotLoop())
    with capture_logs() as logs:
        for number, batch in enumerate(batches):
            noted.seen(batch, number * step)
    return [entry["event"] for entry in logs]


def test_every_loss_is_counted_by_field_and_reason() -> None:
    metrics = HotLoop()
    events([stories(5, 2, LOSS, Dropped("url", "too_long", "''")), stories(0, 1, LOSS)], metrics)
    assert metrics.value("dropped_fields_total", field="tickers", reason="not_a_ticker") == 3
    assert metrics.value("dropped_fields_total", field="url", reason="too_long") == 2


@pytest.mark.parametrize(("step", "lines"), [(1.0, 1), (61.0, 50)])
def test_the_log_has_a_line_a_minute_at_most(step: float, lines: int) -> None:
    assert events([stories(90, 1, LOSS)] * 50, step=step).count("fields.dropped") == lines


def test_a_line_tells_all_that_was_dropped_since_the_last() -> None:
    noted = DroppedFields(HotLoop())
    with capture_logs() as logs:
        for now in (0.0, 1.0, 2.0, 61.0):
            noted.seen(stories(90, 2, LOSS), now)
    assert [entry["counts"] for entry in logs] == [{"tickers:not_a_ticker": 2}, {"tickers:not_a_ticker": 6}]


def test_what_becomes_usual_is_warned_of_once_until_it_changes() -> None:
    rare, usual = stories(99, 1, LOSS), stories(70, 30, LOSS)
    said = [
        event for event in events([rare] * 10 + [usual] * 30 + [rare] * 30 + [usual] * 30) if event.startswith("field.")
    ]
    assert said == ["field.usually_dropped", "field.read_again", "field.usually_dropped"]


def test_a_share_that_wavers_about_the_bound_is_one_warning() -> None:
    above, below = stories(78, 22, LOSS), stories(82, 18, LOSS)
    said = events([above] * 12 + [below] * 12 + [above] * 12)
    assert said.count("field.usually_dropped") == 1
    assert "field.read_again" not in said


def test_few_stories_are_no_habit() -> None:
    assert "field.usually_dropped" not in events([stories(0, 50, LOSS)])
    assert "field.usually_dropped" in events([stories(0, 50, LOSS), stories(0, 50, LOSS)])
