"""Every JSON answer under its address, and how the OpenAPI document describes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from sentiment_monitor.web.answers import ErrorAnswer
from sentiment_monitor.web.api import alerts, dead_letters, people, series, silences

router = APIRouter(
    prefix="/api/v1",
    responses={
        400: {"model": ErrorAnswer, "description": "A parameter is wrong: see detail."},
        503: {"model": ErrorAnswer, "description": "The database, or the broker, is away: ask again."},
    },
)
for theme in (series, alerts, people, silences, dead_letters):
    router.include_router(theme.router)


def described(generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What FastAPI says of the API, without its own answer 422 to a wrong parameter: ours is 400."""
    document = generate()
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    return document
