"""Silences as JSON: read, added, ended early."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from sentiment_monitor.actions import silences as actions
from sentiment_monitor.actions.outcomes import ActionOutcome
from sentiment_monitor.store import people
from sentiment_monitor.times import MINUTE_MS, instant
from sentiment_monitor.web.answers import ChangeAnswer, ErrorAnswer, SilenceAnswer
from sentiment_monitor.web.dependencies import NowMs, Permitted, ReadDatabase
from sentiment_monitor.web.parameters import Limit

_MOST = 2**63  # numbers end before
_UNKNOWN = "there is no such silence"
_TOKEN_MISSING = {"model": ErrorAnswer, "description": "The bearer token is missing or wrong."}
_NO_TOKEN = {"model": ErrorAnswer, "description": "No token is configured, so nothing can be changed."}
Written = Annotated[str, Field(max_length=1_000)]

router = APIRouter()


class SilenceBody(BaseModel):
    """What is muted, from when (null: the next tick) until when, by whom and why. Times are RFC 3339."""

    model_config = ConfigDict(extra="forbid")

    matchers: Annotated[list[Written], Field(min_length=1, max_length=actions.MOST_MATCHERS)]
    starts_at: Annotated[str, Field(max_length=60)] | None = None
    ends_at: Annotated[str, Field(max_length=60)]
    author: Annotated[str, Field(max_length=200)] = "api"
    comment: Annotated[str, Field(max_length=4_000)]


@router.get("/silences")
def listing(database: ReadDatabase, now_ms: NowMs, expired: bool = False, limit: Limit = 50) -> list[SilenceAnswer]:
    """Silences that are not over, or all of them: what ``monitor silences list --json`` prints."""
    minute = now_ms // MINUTE_MS
    with database.read() as connection:
        return [
            SilenceAnswer.of(silence, minute)
            for silence in people.listed(connection, minute, over=expired, limit=limit)
        ]


@router.post("/silences", status_code=201, responses={401: _TOKEN_MISSING, 403: _NO_TOKEN})
def add(changes: Permitted, now_ms: NowMs, body: SilenceBody) -> SilenceAnswer:
    """Mutes alerts that fit all matchers, as ``monitor silences add`` does."""
    silence = actions.add_silence(
        changes.database,
        "api",
        matchers=actions.matchers_of(body.matchers),
        author=body.author,
        comment=body.comment,
        starts_minute=None if body.starts_at is None else instant("starts_at", body.starts_at),
        ends_minute=instant("ends_at", body.ends_at),
        now_ms=now_ms,
    )
    return SilenceAnswer.of(silence, now_ms // MINUTE_MS)


@router.delete(
    "/silences/{number}",
    responses={401: _TOKEN_MISSING, 403: _NO_TOKEN, 404: {"model": ErrorAnswer, "description": "There is none."}},
)
def expire(changes: Permitted, now_ms: NowMs, number: int) -> ChangeAnswer:
    """Ends a silence now, as ``monitor silences expire`` does. It stays, and says when it ended."""
    if not 0 < number < _MOST:
        raise HTTPException(404, _UNKNOWN)
    (expiry,) = actions.expire(changes.database, "api", [number], now_ms)
    if expiry.outcome is ActionOutcome.UNKNOWN:
        raise HTTPException(404, expiry.detail)
    return ChangeAnswer.of(expiry)
