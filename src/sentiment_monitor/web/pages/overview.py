"""The first page: how the whole feed stands, and who is in trouble."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sentiment_monitor.store import buckets, reading
from sentiment_monitor.times import MINUTE_MS, spell_age
from sentiment_monitor.web.dependencies import Alerts, Html, NowMs, ReadDatabase
from sentiment_monitor.web.pages.chart import chart, sums
from sentiment_monitor.web.parameters import Since, Span, Until

_ROWS = 12  # series of a dimension, or stories
_FIRING = 10  # alerts
_TABLES = (("Companies", "ticker"), ("Topics", "topic"), ("Sources", "source"))

router = APIRouter()


@router.get("/")
def overview(
    database: ReadDatabase, alerts: Alerts, now_ms: NowMs, page: Html, since: Since = "24h", until: Until = None
) -> Response:
    with database.read() as connection:
        last = buckets.last_minute(connection)
        if last is None:
            return page.html("empty.html", here="overview")
        span = Span.read(since, until, None, last)
        within = (span.start, span.end)
        points = buckets.trend(connection, "all", *within, span.step)
        tables = {title: buckets.changes(connection, dimension, *within, _ROWS) for title, dimension in _TABLES}
        shown = [change.series for changes in tables.values() for change in changes]
        sparks = buckets.negatives(connection, shown, *within, span.step)
        worst = reading.latest(connection, "all", *within, _ROWS, "negative")
    return page.html(
        "overview.html",
        here="overview",
        span=span,
        last=last,
        age=spell_age(now_ms // MINUTE_MS - last),
        **sums(points),
        firing=alerts.listing(state="firing", limit=_FIRING),
        firing_count=alerts.counts()[0].get("firing", 0),
        chart=chart(points, span, alerts.of_series("all", *within)),
        tables=tables,
        sparks=sparks,
        latest=worst,
    )
