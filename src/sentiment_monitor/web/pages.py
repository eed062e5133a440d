"""The pages. The server renders them whole; ``static/monitor.js`` draws the charts and keeps an open page current."""

from __future__ import annotations

import functools
import gzip
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import jinja2
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from sentiment_monitor import __version__, documents
from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.domain.alerts import State as AlertState
from sentiment_monitor.domain.series import dimension_of
from sentiment_monitor.store import reading
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Connection, Database
from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS, clock, iso
from sentiment_monitor.web.parameters import NO_NUL, Label, SeriesName, Since, Span, State, Until

_SPANS = ("6h", "24h", "3d", "7d", "30d", "90d")
_ROWS = 12  # series of a dimension, or stories, on the overview
_LISTED = 100  # stories or dead letters on a page of their own
_ALERTS = 500
_FIRING = 10  # alerts on the overview
_SHOWN_BYTES = 480  # of a dead letter


class Pages:
    """What every page needs: the database, names, and templates."""

    def __init__(self, database: Database, names: Mapping[str, Sequence[str]], now_ms: Callable[[], int]) -> None:
        self.database = database
        self.alerts = AlertStore(database)
        self.names = names
        self.now_ms = now_ms
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("sentiment_monitor.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "clock": clock,
            "ms_clock": lambda ms: clock(ms // MINUTE_MS),
            "rfc3339_clock": lambda instant: instant[:16].replace("T", " "),
            "name": self.name,
            "web_link": web_link,
            "spark": spark,
            "percent": lambda part: f"{part:.0%}",
            "of": lambda count, one, several: f"{count:,} {one if count == 1 else several}",
        }
        self._templates.globals |= {"version": __version__, "plotly": plotly_version(), "spans": _SPANS, "href": href}
        self._templates.globals["up"] = ""

    def name(self, series: str) -> str:
        """What people call a series: the company of a ticker, else its value."""
        value = series.partition(":")[2]
        if dimension_of(series) == "ticker" and value in self.names:
            return f"{self.names[value][0]} ({value})" if self.names[value][0] != value else value
        return {"topic": value.replace("_", " ")}.get(dimension_of(series), value) or "The whole feed"

    def html(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(template).render(**values), status_code=status)

    @contextmanager
    def reading(self) -> Iterator[tuple[Connection, int]]:
        """A snapshot and its newest minute. HTTPException for an empty database."""
        with self.database.read() as connection:
            last = reading.last_minute(connection)
            if last is None:
                raise HTTPException(404, "the database holds no story yet")
            yield connection, last

    def age(self, minute: int) -> str:
        """How long ago a minute was, in words."""
        minutes = max(0, self.now_ms() // MINUTE_MS - minute)
        for unit, size in (("days", 2880), ("h", 120)):
            if minutes >= size:
                return f"{minutes // (size // 2)} {unit} ago"
        return f"{minutes} min ago"


def add_pages(made: FastAPI, pages: Pages) -> None:
    @made.get("/", response_class=HTMLResponse, include_in_schema=False)
    def overview(since: Since = "24h", until: Until = None) -> Response:
        with pages.database.read() as connection:
            last = reading.last_minute(connection)
            if last is None:
                return pages.html("empty.html", here="overview")
            chosen = Span.read(since, until, None, last)
            within = (chosen.start, chosen.end)
            points = reading.trend(connection, "all", *within, chosen.step)
            tables = {
                title: reading.changes(connection, dimension, *within, _ROWS)
                for title, dimension in (("Companies", "ticker"), ("Topics", "topic"), ("Sources", "source"))
            }
            shown = [one.series for rows in tables.values() for one in rows]
            sparks = reading.negatives(connection, shown, *within, chosen.step)
            worst = reading.latest(connection, "all", *within, _ROWS, "negative")
        return pages.html(
            "overview.html",
            here="overview",
            span=chosen,
            last=last,
            age=pages.age(last),
            **_sums(points),
            firing=pages.alerts.listing(state=AlertState.FIRING, limit=_FIRING),
            firing_count=pages.alerts.counts()[0].get("firing", 0),
            chart=chart(points, chosen, pages.alerts.of_series("all", *within)),
            tables=tables,
            sparks=sparks,
            latest=worst,
        )

    @made.get("/series", response_class=HTMLResponse, include_in_schema=False)
    def series(name: SeriesName, since: Since = "24h", until: Until = None, label: Label = "") -> Response:
        name = name.strip()
        with pages.reading() as (connection, last):
            chosen = Span.read(since, until, None, last)
            within = (chosen.start, chosen.end)
            points = reading.trend(connection, name, *within, chosen.step)
            facts = reading.latest(connection, name, *within, _LISTED, label or None)
            known = reading.exists(connection, name)
            found = [] if known or not name else _like(connection, pages.names, name)
        if not known:
            if len(found) == 1:
                return RedirectResponse(href("series", name=found[0], **chosen.query), 303)
            return pages.html("search.html", 404, here="", asked=name, found=found, span=chosen)
        alerts = pages.alerts.of_series(name, *within)
        return pages.html(
            "series.html",
            here="",
            series=name,
            span=chosen,
            label=label,
            points=points,
            **_sums(points),
            alerts=alerts,
            chart=chart(points, chosen, alerts),
            facts=facts,
            limit=_LISTED,
        )

    @made.get("/alerts", response_class=HTMLResponse, include_in_schema=False)
    def alerts(state: State = "") -> Response:
        listing = pages.alerts.listing(state=AlertState(state) if state else None, limit=_ALERTS)
        return pages.html("alerts.html", here="alerts", state=state, alerts=listing, limit=_ALERTS)

    @made.get("/alert", response_class=HTMLResponse, include_in_schema=False)
    def alert(
        number: Annotated[int | None, Query(alias="id", ge=1, lt=2**63)] = None,
        fingerprint: Annotated[str, Query(max_length=64, pattern=NO_NUL)] = "",
    ) -> Response:
        # Notifications know the fingerprint only: its newest alert is the one meant, or one that came after it.
        wanted = number or pages.alerts.newest_of(fingerprint)
        history = pages.alerts.history(wanted) if wanted else None
        if history is None:
            raise HTTPException(404, "there is no such alert")
        stored = history.alert
        evidence = next((event.evidence for event in reversed(history.events) if event.evidence.top_stories), None)
        first = stored.pending_minute or 0
        last = stored.resolved_minute or stored.decided_minute or first
        around = {"since": iso(max(0, first - DAY_MINUTES)), "until": iso(last + DAY_MINUTES // 2)}
        return pages.html(
            "alert.html", here="alerts", alert=stored, events=history.events, sent=history.deliveries, around=around,
            evidence=evidence,
        )  # fmt: skip

    @made.get("/dead-letters", response_class=HTMLResponse, include_in_schema=False)
    def dead_letters() -> Response:
        with pages.database.read() as connection:
            found = reading.recent_dead_letters(connection, _LISTED, _SHOWN_BYTES)
        letters = [documents.dead_letter(one) for one in found]
        return pages.html("dead-letters.html", here="dead letters", letters=letters, limit=_LISTED)

    @made.get("/plotly.min.js", include_in_schema=False)
    def plotly(request: Request) -> Response:
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(plotly_source(packed), media_type="text/javascript", headers=headers)


def _sums(points: Sequence[reading.TrendPoint]) -> dict[str, int]:
    return {name: sum(getattr(point, name) for point in points) for name in ("stories", "negative", "copies")}


def _like(connection: Connection, names: Mapping[str, Sequence[str]], text: str) -> list[str]:
    """Series that somebody who typed ``text`` may mean; companies that are called exactly so hide all others."""
    wanted = text.casefold()
    called = {ticker: [name.casefold() for name in (ticker, *several)] for ticker, several in names.items()}

    def there(tickers: list[str]) -> list[str]:
        series = [f"ticker:{ticker}" for ticker in tickers[:50]]
        return [one for one in series if reading.exists(connection, one)]

    if exact := there([ticker for ticker, several in called.items() if wanted in several]):
        return exact
    named = there([ticker for ticker, several in called.items() if any(wanted in name for name in several)])
    return list(dict.fromkeys([*named, *reading.series_like(connection, text.partition(":")[2] or text, 20)]))


def chart(points: Sequence[reading.TrendPoint], chosen: Span, alerts: Sequence[Alert]) -> dict[str, Any]:
    """What ``monitor.js`` draws: one bar a step, the mean score as a line, alerts as bands."""
    return {
        "step_ms": chosen.step * MINUTE_MS,
        "at": [point.minute * MINUTE_MS for point in points],
        "negative": [point.negative for point in points],
        "neutral": [point.neutral for point in points],
        "positive": [point.positive for point in points],
        "score": [None if point.score is None else round(point.score, 3) for point in points],
        "alerts": [
            {
                "from": max(one.fired_minute or 0, chosen.start) * MINUTE_MS,
                "to": min(one.resolved_minute or chosen.end, chosen.end) * MINUTE_MS,
            }
            for one in alerts
        ],
    }


@functools.cache
def plotly_version() -> str:
    """The version of the chart library, which makes its address change with it."""
    return importlib.metadata.version("plotly")


@functools.cache
def plotly_source(packed: bool) -> bytes:
    """The chart library for browsers, out of the installed package, which is not imported for it."""
    found = importlib.util.find_spec("plotly")
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).with_name("package_data").joinpath("plotly.min.js").read_bytes()
    return gzip.compress(source, 6, mtime=0) if packed else source


def href(address: str, **query: str | None) -> str:
    """A link with what is not empty of a query."""
    kept = {name: value for name, value in query.items() if value}
    return f"{address}?{urlencode(kept)}" if kept else address


def web_link(url: str) -> str | None:
    """The address if a browser may be sent there: feeds can write anything, ``javascript:`` too."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None


def spark(values: Sequence[int]) -> str:
    """The points of a polyline in a box of 100 by 20, the largest value at the top."""
    top = max([*values, 1])
    gap = 100 / max(1, len(values) - 1)
    return " ".join(f"{place * gap:.1f},{19 - value / top * 18:.1f}" for place, value in enumerate(values))
