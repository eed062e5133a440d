"""The pages and the JSON behind them. Every address lies one level deep, so links hold under any prefix of a proxy."""

from __future__ import annotations

import asyncio
import functools
import gzip
import importlib.metadata
import importlib.util
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urlsplit

import jinja2
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from sentiment_monitor import __version__, documents
from sentiment_monitor.domain import MINUTE_MS, dimension_of
from sentiment_monitor.errors import DatabaseAway, FatalError, UsageError
from sentiment_monitor.spans import clock, iso, span
from sentiment_monitor.store import trends
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Connection, Database
from sentiment_monitor.web.metrics import CONTENT_TYPE, Metrics, Parts

SPANS = ("6h", "24h", "3d", "7d", "30d", "90d")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        # Plotly writes its own style elements.
        "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ROWS = 12  # series of a dimension, or stories, on the overview
_LISTED = 100  # stories or dead letters on a page of their own
_ALERTS = 500
_FIRING = 10  # alerts on the overview
_SHOWN_BYTES = 480  # of a dead letter

# Empty: any.
Label = Literal["", "negative", "neutral", "positive"]
State = Literal["", "pending", "firing", "resolved", "dropped"]
_NO_NUL = r"^[^\x00]*$"  # which PostgreSQL keeps in no text
SeriesName = Annotated[
    str, Query(max_length=200, pattern=_NO_NUL, description="all, topic:earnings, ticker:AAPL or source:reuters.")
]
Since = Annotated[str, Query(max_length=60, description="A time, or a span back from the end such as 24h or 7d.")]
Until = Annotated[str | None, Query(max_length=60, description="A time; default: the newest story.")]
Step = Annotated[str | None, Query(max_length=60, description="Width of a step such as 15m.")]
Limit = Annotated[int, Query(ge=1, le=1_000)]


@dataclass(frozen=True, slots=True)
class Span:
    """What a page looks at: minutes [start, end), steps of a chart, and how the reader asked for it."""

    start: int
    end: int
    step: int
    since: str
    until: str | None

    @property
    def query(self) -> dict[str, str]:
        """The same span for a link."""
        return {"since": self.since, **({"until": self.until} if self.until else {})}


def site(
    database: Database,
    parts: Parts,
    *,
    names: Mapping[str, Sequence[str]],
    now_ms: Callable[[], int],
    allowed_hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """The application that a :class:`~sentiment_monitor.web.server.WebServer` serves.

    ``names`` is what people call a ticker, the name to show first. Requests for a host that is not allowed are
    refused, so that a page on the internet cannot read this one through its visitor's browser.
    """
    made = FastAPI(title="sentiment-monitor", version=__version__, docs_url=None, redoc_url=None,
                   openapi_url="/api/v1/openapi.json", redirect_slashes=False)  # fmt: skip
    made.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False)
    made.mount("/static", StaticFiles(packages=[("sentiment_monitor.web", "static")]), name="static")
    pages = _Pages(database, names, now_ms)
    _add_errors(made, pages)
    _add_pages(made, pages)
    _add_api(made, pages)
    _add_health(made, parts, database)

    made.openapi = functools.partial(_schema, made, made.openapi)  # type: ignore[method-assign]

    @made.middleware("http")
    async def headers(request: Request, following: Any) -> Response:
        response: Response = await following(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        lasting = response.status_code == 200 and request.url.path.startswith("/static/")
        response.headers.setdefault("Cache-Control", "max-age=3600" if lasting else "no-store")
        return response

    return made


class _Pages:
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
            "iso": iso,
            "ms_clock": lambda ms: clock(ms // MINUTE_MS),
            "name": self.name,
            "web_link": web_link,
            "spark": spark,
            "percent": lambda part: f"{part:.0%}",
            "of": lambda count, one, several: f"{count:,} {one if count == 1 else several}",
        }
        self._templates.globals |= {"version": __version__, "plotly": plotly_version(), "spans": SPANS, "href": href}
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
            last = trends.last_minute(connection)
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


def _span(since: str, until: str | None, step: str | None, last: int) -> Span:
    start, end, width = span(since, until, step, last)
    return Span(start, end, width, since, until)


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


# -- pages ------------------------------------------------------------------------------------------


def _add_pages(made: FastAPI, pages: _Pages) -> None:
    @made.get("/", response_class=HTMLResponse, include_in_schema=False)
    def overview(since: Since = "24h", until: Until = None) -> Response:
        with pages.database.read() as connection:
            last = trends.last_minute(connection)
            if last is None:
                return pages.html("empty.html", here="overview")
            chosen = _span(since, until, None, last)
            within = (chosen.start, chosen.end)
            points = trends.trend(connection, "all", *within, chosen.step)
            tables = {
                title: trends.changes(connection, dimension, *within, _ROWS)
                for title, dimension in (("Companies", "ticker"), ("Topics", "topic"), ("Sources", "source"))
            }
            shown = [one.series for rows in tables.values() for one in rows]
            sparks = trends.negatives(connection, shown, *within, chosen.step)
            worst = trends.latest(connection, "all", *within, _ROWS, "negative")
        return pages.html(
            "overview.html",
            here="overview",
            span=chosen,
            last=last,
            age=pages.age(last),
            stories=sum(point.stories for point in points),
            negative=sum(point.negative for point in points),
            copies=sum(point.copies for point in points),
            firing=pages.alerts.listing(state="firing", limit=_FIRING),
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
            chosen = _span(since, until, None, last)
            within = (chosen.start, chosen.end)
            points = trends.trend(connection, name, *within, chosen.step)
            facts = trends.latest(connection, name, *within, _LISTED, label or None)
            known = any(point.stories or point.copies for point in points) or trends.exists(connection, name)
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
            stories=sum(point.stories for point in points),
            negative=sum(point.negative for point in points),
            copies=sum(point.copies for point in points),
            alerts=alerts,
            chart=chart(points, chosen, alerts),
            facts=facts,
            limit=_LISTED,
        )

    @made.get("/alerts", response_class=HTMLResponse, include_in_schema=False)
    def alerts(state: State = "") -> Response:
        listing = pages.alerts.listing(state=state or None, limit=_ALERTS)
        return pages.html("alerts.html", here="alerts", state=state, alerts=listing, limit=_ALERTS)

    @made.get("/alert", response_class=HTMLResponse, include_in_schema=False)
    def alert(
        id: Annotated[int | None, Query(ge=1, lt=2**63)] = None,  # noqa: A002  # the name in the address
        fingerprint: Annotated[str | None, Query(max_length=64, pattern=_NO_NUL)] = None,
    ) -> Response:
        if id is None:
            # How a notification names it: its newest alert is the one meant, or one that came after it.
            id = pages.alerts.newest_of(fingerprint or "")  # noqa: A001
        found = pages.alerts.show(id) if id is not None else None
        if found is None:
            raise HTTPException(404, "there is no such alert")
        stored, events, sent = found
        decided = [{**event, "evidence": json.loads(event["evidence"])} for event in events]
        told = [event for event in decided if event["evidence"].get("top_stories")]
        first = stored.pending_minute
        around = {
            "since": iso(max(0, first - 1440)),
            "until": iso((stored.resolved_minute or stored.updated_minute) + 720),
        }
        return pages.html(
            "alert.html", here="alerts", alert=stored, events=decided, sent=sent, around=around,
            evidence=told[-1]["evidence"] if told else None,
        )  # fmt: skip

    @made.get("/dead-letters", response_class=HTMLResponse, include_in_schema=False)
    def dead_letters() -> Response:
        with pages.database.read() as connection:
            found = trends.recent_dead_letters(connection, _LISTED, _SHOWN_BYTES)
        letters = [documents.dead_letter(one) for one in found]
        return pages.html("dead-letters.html", here="dead letters", letters=letters, limit=_LISTED)

    @made.get("/plotly.min.js", include_in_schema=False)
    def plotly(request: Request) -> Response:
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(plotly_source(packed), media_type="text/javascript", headers=headers)


def _like(connection: Connection, names: Mapping[str, Sequence[str]], text: str) -> list[str]:
    """Series that somebody who typed ``text`` may mean; companies that are called exactly so hide all others."""
    wanted = text.casefold()
    called = {ticker: [name.casefold() for name in (ticker, *several)] for ticker, several in names.items()}

    def there(tickers: list[str]) -> list[str]:
        series = [f"ticker:{ticker}" for ticker in tickers[:50]]
        return [one for one in series if trends.exists(connection, one)]

    if exact := there([ticker for ticker, several in called.items() if wanted in several]):
        return exact
    named = there([ticker for ticker, several in called.items() if any(wanted in name for name in several)])
    return list(dict.fromkeys([*named, *trends.series_like(connection, text.partition(":")[2] or text, 20)]))


def chart(points: Sequence[trends.TrendPoint], chosen: Span, alerts: Sequence[Any]) -> dict[str, Any]:
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
                "from": max(one.fired_minute, chosen.start) * MINUTE_MS,
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


# -- JSON -------------------------------------------------------------------------------------------


def _add_api(made: FastAPI, pages: _Pages) -> None:
    @made.get("/api/v1/trend")
    def trend(series: SeriesName, since: Since = "24h", until: Until = None, step: Step = None) -> dict[str, Any]:
        """One series over time: what ``monitor trend --json`` prints."""
        with pages.reading() as (connection, last):
            chosen = _span(since, until, step, last)
            points = trends.trend(connection, series, chosen.start, chosen.end, chosen.step)
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
            chosen = _span(since, until, None, last)
            found = trends.changes(connection, dimension, chosen.start, chosen.end, limit)
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
            chosen = _span(since, until, None, last)
            found = trends.latest(connection, series, chosen.start, chosen.end, limit, label or None)
        return [documents.story(one) for one in found]

    @made.get("/api/v1/alerts")
    def alerts(state: State = "", limit: Limit = 50) -> list[dict[str, Any]]:
        """Alerts, newest first: what ``monitor alerts list --json`` prints."""
        return [documents.alert(one) for one in pages.alerts.listing(state=state or None, limit=limit)]

    @made.get("/api/v1/alerts/{number}")
    def alert(number: int) -> dict[str, Any]:
        """One alert with events, evidence and deliveries: what ``monitor alerts show --json`` prints."""
        found = pages.alerts.show(number) if 0 < number < 2**63 else None
        if found is None:
            raise HTTPException(404, "there is no such alert")
        return documents.alert_history(*found)


def _schema(made: FastAPI, usual: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What FastAPI says of the API, but that a wrong parameter is answered with 400."""
    schema = usual()
    for methods in schema["paths"].values():
        for operation in methods.values():
            if operation["responses"].pop("422", None):
                operation["responses"]["400"] = {"description": "A parameter is wrong: see detail."}
    return schema


# -- health -----------------------------------------------------------------------------------------


def _add_health(made: FastAPI, parts: Parts, database: Database) -> None:
    metrics = Metrics(parts, database)
    # Not the threads of the pages: those may all be waiting for the database.
    threads = ThreadPoolExecutor(2, "health")

    def probe(path: str) -> Callable[[Callable[[], Awaitable[Response]]], Callable[[], Awaitable[Response]]]:
        # Health checkers like to ask with HEAD.
        return made.api_route(path, methods=["GET", "HEAD"], include_in_schema=False, response_class=Response)

    @probe("/metrics")
    async def scrape() -> Response:
        text = await asyncio.get_running_loop().run_in_executor(threads, metrics.text)
        return Response(text, media_type=CONTENT_TYPE)

    @probe("/healthz")
    async def alive() -> Response:
        # The process itself ends when one of its loops does.
        return PlainTextResponse("ok\n")

    @probe("/readyz")
    async def ready() -> Response:
        try:
            current, head = await asyncio.get_running_loop().run_in_executor(threads, database.revisions)
        except (DatabaseAway, FatalError) as error:
            return PlainTextResponse(f"database away: {error}\n", 503)
        if current != head:
            return PlainTextResponse(f"database at schema revision {current}, not {head}\n", 503)
        return PlainTextResponse("ok\n")


# -- errors -----------------------------------------------------------------------------------------


def _add_errors(made: FastAPI, pages: _Pages) -> None:
    def answer(request: Request, status: int, text: str) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": text}, status)
        # Links are relative, and a wrong address may lie deeper than any page.
        up = "../" * (request.url.path.count("/") - 1)
        return pages.html("error.html", status, here="", code=status, text=text, up=up)

    @made.exception_handler(UsageError)
    def wrong(request: Request, error: UsageError) -> Response:
        return answer(request, 400, str(error))

    @made.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        problems = [f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()]
        return answer(request, 400, "; ".join(problems))

    @made.exception_handler(404)
    @made.exception_handler(405)
    def refused(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail))

    @made.exception_handler(DatabaseAway)
    @made.exception_handler(FatalError)  # it is damaged
    def away(request: Request, error: Exception) -> Response:
        return answer(request, 503, f"The database is away ({error}). Try again in a moment.")
