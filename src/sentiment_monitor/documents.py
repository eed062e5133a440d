"""The JSON documents that the command line (``--json``) and the web API share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sentiment_monitor.store.alerts import StoredAlert
from sentiment_monitor.store.reading import SeriesChange, StoredDeadLetter, StoryFact, TrendPoint
from sentiment_monitor.times import iso


def alert(stored: StoredAlert) -> dict[str, Any]:
    """One alert without its history."""
    record = {name: value for name, value in asdict(stored).items() if not name.endswith(("_minute", "_json"))}
    return record | {
        "pending_at": iso(stored.pending_minute),
        "fired_at": iso(stored.fired_minute),
        "resolved_at": iso(stored.resolved_minute),
    }


def alert_history(
    stored: StoredAlert, events: Sequence[Mapping[str, Any]], sent: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One alert with its events and deliveries, oldest first."""
    return alert(stored) | {
        "events": [
            {**event, "at": iso(event["minute"]), "evidence": json.loads(event["evidence"])} for event in events
        ],
        "notifications": [
            {name: row[name] for name in ("receiver", "state", "attempts", "idempotency_key", "last_error")}
            for row in sent
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
