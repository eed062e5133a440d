"""The site put together. Every address lies one level deep, so links hold under any prefix of a proxy."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from sentiment_monitor import __version__
from sentiment_monitor.errors import DatabaseAway, FatalError, UsageError
from sentiment_monitor.store.database import Database
from sentiment_monitor.telemetry.metrics import Parts
from sentiment_monitor.web.api import add_api, schema
from sentiment_monitor.web.health import add_health
from sentiment_monitor.web.pages import Pages, add_pages

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
    made.add_middleware(_HeadAsGet)
    made.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False)
    made.mount("/static", StaticFiles(packages=[("sentiment_monitor.web", "static")]), name="static")
    pages = Pages(database, names, now_ms)
    _add_errors(made, pages)
    add_pages(made, pages)
    add_api(made, pages)
    add_health(made, parts, database)

    made.openapi = functools.partial(schema, made.openapi)  # type: ignore[method-assign]  # FastAPI's own way

    @made.middleware("http")
    async def headers(request: Request, following: Any) -> Response:
        response: Response = await following(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        lasting = response.status_code in (200, 206, 304) and request.url.path.startswith("/static/")
        response.headers.setdefault("Cache-Control", "max-age=3600" if lasting else "no-store")
        return response

    return made


def _add_errors(made: FastAPI, pages: Pages) -> None:
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
        refusal = answer(request, error.status_code, str(error.detail))
        refusal.headers.update(error.headers or {})
        return refusal

    @made.exception_handler(DatabaseAway)
    @made.exception_handler(FatalError)  # it is damaged
    def away(request: Request, error: Exception) -> Response:
        return answer(request, 503, f"The database is away ({error}). Try again in a moment.")
