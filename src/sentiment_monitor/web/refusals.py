"""What cannot be answered, said in the form that was asked for: JSON under ``/api/``, else a page."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from sentiment_monitor.errors import DatabaseAway, FatalError, UsageError
from sentiment_monitor.web.dependencies import resources_of


def _refusal(request: Request, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": text}, status, headers)
    # Links are relative, and a wrong address may lie deeper than any page.
    up = "../" * (request.url.path.count("/") - 1)
    page = resources_of(request).renderer.html("error.html", status, here="", code=status, text=text, up=up)
    page.headers.update(headers or {})
    return page


async def _refused(request: Request, error: HTTPException) -> Response:
    return _refusal(request, error.status_code, str(error.detail), error.headers)


async def _wrong(request: Request, error: UsageError) -> Response:
    return _refusal(request, 400, str(error))


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    problems = [f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()]
    return _refusal(request, 400, "; ".join(problems))


async def _away(request: Request, error: Exception) -> Response:
    return _refusal(request, 503, f"The database is away ({error}). Try again in a moment.")


REFUSALS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    404: _refused,
    405: _refused,
    UsageError: _wrong,
    RequestValidationError: _invalid,
    DatabaseAway: _away,
    FatalError: _away,  # it is damaged
}
"""How each error that an endpoint raises is answered."""
