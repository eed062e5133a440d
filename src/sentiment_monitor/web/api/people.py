"""What people do about alerts, over HTTP: the same actions as those of the command line, under the bearer token."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from sentiment_monitor.actions import alerts as actions
from sentiment_monitor.actions.outcomes import Acted, ActionOutcome
from sentiment_monitor.domain.people import Verdict
from sentiment_monitor.web.answers import ChangeAnswer, ErrorAnswer
from sentiment_monitor.web.dependencies import NowMs, Permitted

_MOST = 2**63  # numbers end before
_REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorAnswer, "description": "The bearer token is missing or wrong."},
    403: {"model": ErrorAnswer, "description": "No token is configured, so nothing can be changed."},
    404: {"model": ErrorAnswer, "description": "There is no such alert."},
    409: {"model": ErrorAnswer, "description": "The alert is over."},
}
Name = Annotated[str, Field(max_length=200)]
Words = Annotated[str, Field(max_length=4_000)]

router = APIRouter(prefix="/alerts/{number}", responses=_REFUSED)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TakenOn(_Body):
    """Who has the alert, and what is being done."""

    owner: Name
    note: Words = ""


class GivenUp(_Body):
    """Why nobody has the alert any more."""

    note: Words = ""


class SaidOver(_Body):
    """Who says that the alert is over, and what became of it."""

    author: Name = "api"
    reason: Words = ""


class SaidFalse(_Body):
    """Who says that the alert was false, and why."""

    author: Name = "api"
    reason: Words


class Remark(_Body):
    """Who remarks what."""

    author: Name = "api"
    text: Words


@router.post("/acknowledge")
def acknowledge(changes: Permitted, now_ms: NowMs, number: int, body: TakenOn) -> ChangeAnswer:
    """Takes the alert on, as ``monitor alerts ack`` does: it is not repeated and not escalated any more."""
    return _answer(
        actions.acknowledge(changes.database, "api", _existing(number), owner=body.owner, note=body.note, now_ms=now_ms)
    )


@router.post("/unacknowledge")
def unacknowledge(changes: Permitted, now_ms: NowMs, number: int, body: GivenUp) -> ChangeAnswer:
    """Gives the alert up again, as ``monitor alerts unack`` does."""
    return _answer(actions.unacknowledge(changes.database, "api", _existing(number), note=body.note, now_ms=now_ms))


@router.post("/resolve")
def resolve(changes: Permitted, now_ms: NowMs, number: int, body: SaidOver) -> ChangeAnswer:
    """Ends an alert that was right and is over, as ``monitor alerts resolve`` does: with the next tick."""
    return _close(changes, number, Verdict.RESOLVED, body.author, body.reason, now_ms)


@router.post("/dismiss")
def dismiss(changes: Permitted, now_ms: NowMs, number: int, body: SaidFalse) -> ChangeAnswer:
    """Ends an alert that was false, as ``monitor alerts dismiss`` does: with the next tick."""
    return _close(changes, number, Verdict.DISMISSED, body.author, body.reason, now_ms)


@router.post("/comment")
def comment(changes: Permitted, now_ms: NowMs, number: int, body: Remark) -> ChangeAnswer:
    """Keeps a remark with the alert, over or not, as ``monitor alerts comment`` does."""
    return _answer(
        actions.comment(changes.database, "api", _existing(number), author=body.author, text=body.text, now_ms=now_ms)
    )


def _close(changes: Permitted, number: int, verdict: Verdict, author: str, reason: str, now_ms: int) -> ChangeAnswer:
    return _answer(
        actions.close(
            changes.database,
            "api",
            _existing(number),
            author=author,
            verdict=verdict,
            reason=reason,
            now_ms=now_ms,
        )
    )


def _existing(number: int) -> list[int]:
    if not 0 < number < _MOST:
        raise HTTPException(404, "there is no such alert")
    return [number]


def _answer(changes: list[Acted]) -> ChangeAnswer:
    (change,) = changes
    if change.outcome is ActionOutcome.UNKNOWN:
        raise HTTPException(404, change.detail)
    if change.outcome is ActionOutcome.OVER:
        raise HTTPException(409, change.detail)
    return ChangeAnswer.of(change)
