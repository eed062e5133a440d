"""The JSON of the pages, for programs: docs/data-contract.md, "JSON over HTTP"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastapi import FastAPI, HTTPException

from sentiment_monitor import documents
from sentiment_monitor.domain.alerts import State as AlertState
from sentiment_monitor.store import reading
from sentiment_monitor.web.pages import Pages
from sentiment_monitor.web.parameters import Label, Limit, SeriesName, Since, Span, State, Step, Until


def add_api(made: FastAPI, pages: Pages) -> None:
    @made.get("/api/v1/trend")
    def trend(series: SeriesName, since: Since = "24h", until: Until = None, step: Step = None) -> dict[str, Any]:
        """One series over time: what ``monitor trend --json`` prints."""
        with pages.reading() as (connection, last):
            chosen = Span.read(since, until, step, last)
            points = reading.trend(connection, series, chosen.start, chosen.end, chosen.step)
        return documents.trend(series, points, chosen.step)

    @made.get("/api/v1/series")
    def all_series(
        dimension: Literal["ticker", "topic", "source", "all"] = "ticker",
        since: Since = "24h",
        until: Until = None,
        limit: Limit = 50,
    ) -> list[dict[str, Any]]:
        """Series with the most negatives of a span, each beside the span of equal length before."""
        with pages.reading() as (connection, last):
            chosen = Span.read(since, until, None, last)
            found = reading.changes(connection, dimension, chosen.start, chosen.end, limit)
        return [documents.change(one, pages.name(one.series)) for one in found]

    @made.get("/api/v1/stories")
    def stories(
        series: SeriesName = "all",
        since: Since = "24h",
        until: Until = None,
        label: Label = "",
        limit: Limit = 100,
    ) -> list[dict[str, Any]]:
        """Stories of a series, newest first, without copies."""
        with pages.reading() as (connection, last):
            chosen = Span.read(since, until, None, last)
            found = reading.latest(connection, series, chosen.start, chosen.end, limit, label or None)
        return [documents.story(one) for one in found]

    @made.get("/api/v1/alerts")
    def alerts(state: State = "", limit: Limit = 50) -> list[dict[str, Any]]:
        """Alerts, newest first: what ``monitor alerts list --json`` prints."""
        return [
            documents.alert(one)
            for one in pages.alerts.listing(state=AlertState(state) if state else None, limit=limit)
        ]

    @made.get("/api/v1/alerts/{number}")
    def alert(number: int) -> dict[str, Any]:
        """One alert with events, evidence and deliveries: what ``monitor alerts show --json`` prints."""
        history = pages.alerts.history(number) if 0 < number < 2**63 else None
        if history is None:
            raise HTTPException(404, "there is no such alert")
        return documents.alert_history(history)


def schema(usual: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What FastAPI says of the API, but that a wrong parameter is answered with 400."""
    said = usual()
    for methods in said["paths"].values():
        for operation in methods.values():
            if operation["responses"].pop("422", None):
                operation["responses"]["400"] = {"description": "A parameter is wrong: see detail."}
    return said
