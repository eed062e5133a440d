"""The page of one series: its trend, alerts and stories; and the search that leads there."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from sentiment_monitor.store import buckets, reading
from sentiment_monitor.web.dependencies import Alerts, Html, Names, ReadDatabase, snapshot
from sentiment_monitor.web.pages.chart import chart, sums
from sentiment_monitor.web.pages.render import href
from sentiment_monitor.web.parameters import Label, SeriesName, Since, Span, Until

_STORIES = 100

router = APIRouter()


@router.get("/series")
def series(
    database: ReadDatabase,
    alerts: Alerts,
    names: Names,
    page: Html,
    name: SeriesName,
    since: Since = "24h",
    until: Until = None,
    label: Label = "",
) -> Response:
    name = name.strip()
    with snapshot(database) as (connection, last):
        span = Span.read(since, until, None, last)
        within = (span.start, span.end)
        points = buckets.trend(connection, name, *within, span.step)
        facts = reading.latest(connection, name, *within, _STORIES, label or None)
        known = buckets.exists(connection, name)
        meant = [] if known or not name else names.meant_by(name, connection)
    if not known:
        if len(meant) == 1:
            return RedirectResponse(href("series", name=meant[0], **span.query), 303)
        return page.html("search.html", 404, here="", asked=name, meant=meant, span=span)
    shown = alerts.of_series(name, *within)
    return page.html(
        "series.html",
        here="",
        series=name,
        span=span,
        label=label,
        points=points,
        **sums(points),
        alerts=shown,
        chart=chart(points, span, shown),
        facts=facts,
        limit=_STORIES,
    )
