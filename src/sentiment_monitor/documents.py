"""The JSON documents that the command line (``--json``) and the web API share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sentiment_monitor.domain.alerts import Alert, History
from sentiment_monitor.store.reading import SeriesChange, StoredDeadLetter, StoryFact, TrendPoint
from sentiment_monitor.times import iso


def alert(stored: Alert) -> dict[str, Any]:
    """One alert without its history."""
    return {
        "id": stored.id,
        "fingerprint": stored.fingerprint,
        **{name: getattr(stored, name) for name in ("rule", "series", "severity", "state", "title")},
        "pending_at": iso(stored.pending_minute),
        "fired_at": iso(stored.fired_minute),
        "resolved_at": iso(stored.resolved_minute),
    }


def alert_history(history: History) -> dict[str, Any]:
    """One alert with its events and deliveries, oldest first."""
    alert_id = history.alert.id
    return alert(history.alert) | {
        "events": [{**asdict(event), "alert_id": alert_id, "at": iso(event.minute)} for event in history.events],
        "notifications": [
            {
                **{name: getattr(record, name) for name in ("receiver", "notifier", "state", "attempts", "last_error")},
                "idempotency_key": record.key,
            }
            for record in history.deliveries
        ],
    }


def trend(series: str, points: Sequence[TrendPoint], step: int) -> dict[str, Any]:
    """One series over time."""
    return {
        "series": series,
        "step_minutes": step,
        "points": [{"at": iso(point.minute), **asdict(point)} for point in points],
    }


def change(one: SeriesChange, name: str) -> dict[str, Any]:
    """One series of a span beside the span before; ``name`` is what people call it."""
    return {"series": one.series, "name": name, **asdict(one)}


def story(fact: StoryFact) -> dict[str, Any]:
    """One story as people read it."""
    return {"at": iso(fact.minute), **asdict(fact)}


def dead_letter(letter: StoredDeadLetter) -> dict[str, Any]:
    """One record that was put aside, its value as text."""
    raw = letter.raw_value
    return asdict(letter) | {"raw_value": None if raw is None else raw.decode("utf-8", "backslashreplace")}
