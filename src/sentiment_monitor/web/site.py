"""The site put together. Every address lies one level deep, so links hold under any prefix of a proxy."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.staticfiles import StaticFiles

from sentiment_monitor import __version__
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Database
from sentiment_monitor.telemetry.metrics import Metrics
from sentiment_monitor.web import health
from sentiment_monitor.web.api import routes as api
from sentiment_monitor.web.dependencies import ChangeDesk, Resources
from sentiment_monitor.web.names import SeriesNames
from sentiment_monitor.web.pages import routes as pages
from sentiment_monitor.web.pages.chart import plotly_version
from sentiment_monitor.web.pages.render import Renderer
from sentiment_monitor.web.refusals import REFUSALS

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        # Plotly writes its own style elements.
        "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _HeadAsGet:
    """Lets every address that answers GET answer HEAD: the server leaves the body out."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server still sees HEAD in its own
        await self._app(scope, receive, send)


def site(
    database: Database,
    metrics: Metrics,
    *,
    names: Mapping[str, Sequence[str]],
    now_ms: Callable[[], int],
    allowed_hosts: Sequence[str] = ("*",),
    changes: ChangeDesk | None = None,
    troubles: Callable[[], Sequence[str]] = tuple,
) -> FastAPI:
    """The application that a :class:`~sentiment_monitor.web.server.WebServer` serves.

    ``names`` is what people call a ticker, the name to show first. Requests for a host that is not allowed are
    refused, so that a page on the internet cannot read this one through its visitor's browser.
    Without ``changes`` nothing can be changed. ``troubles`` says what keeps this process from its work now.
    """
    app = FastAPI(title="sentiment-monitor", version=__version__, docs_url=None, redoc_url=None,
                  openapi_url="/api/v1/openapi.json", redirect_slashes=False, exception_handlers=REFUSALS)  # fmt: skip
    series_names = SeriesNames(names)
    app.state.resources = Resources(
        database=database,
        alerts=AlertStore(database),
        names=series_names,
        now_ms=now_ms,
        renderer=Renderer(series_names.of, plotly_version()),
        metrics=metrics,
        changes=changes,
        troubles=troubles,
        probes=ThreadPoolExecutor(2, "health"),
    )
    app.add_middleware(_HeadAsGet)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False)
    app.mount("/static", StaticFiles(packages=[("sentiment_monitor.web", "static")]), name="static")
    for router in (pages.router, api.router, health.router):
        app.include_router(router)
    app.openapi = functools.partial(api.described, app.openapi)  # type: ignore[method-assign]  # FastAPI's own way

    @app.middleware("http")
    async def headers(request: Request, following: Any) -> Response:
        response: Response = await following(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        lasting = response.status_code in (200, 206, 304) and request.url.path.startswith("/static/")
        response.headers.setdefault("Cache-Control", "max-age=3600" if lasting else "no-store")
        return response

    return app
