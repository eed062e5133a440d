"""Dead letters as JSON, and their replay."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from sentiment_monitor.actions.dead_letters import ReplayOutcome
from sentiment_monitor.store import dead_letters as stored
from sentiment_monitor.web.answers import DeadLetterAnswer, ErrorAnswer, ReplayAnswer
from sentiment_monitor.web.dependencies import Permitted, ReadDatabase
from sentiment_monitor.web.parameters import Limit

_SHOWN_BYTES = 10_000  # of each value: whole ones may be megabytes
_REFUSALS = {ReplayOutcome.UNKNOWN: 404, ReplayOutcome.UNREADABLE: 409, ReplayOutcome.REFUSED: 409}

router = APIRouter()


@router.get("/dead-letters")
def listing(database: ReadDatabase, limit: Limit = 50) -> list[DeadLetterAnswer]:
    """Dead letters, newest first: what ``monitor dead-letters --json`` prints, with the begin of long values."""
    with database.read() as connection:
        return [DeadLetterAnswer.of(letter) for letter in stored.recent(connection, limit, _SHOWN_BYTES)]


@router.post(
    "/dead-letters/{number}/replay",
    responses={
        401: {"model": ErrorAnswer, "description": "The bearer token is missing or wrong."},
        403: {"model": ErrorAnswer, "description": "No token is configured, so nothing can be changed."},
        404: {"model": ErrorAnswer, "description": "There is no such dead letter."},
        409: {
            "model": ErrorAnswer,
            "description": "It still cannot be read, or the broker does not take it: see detail.",
        },
    },
)
def replay(changes: Permitted, number: int) -> ReplayAnswer:
    """Sends the record again: what ``monitor dead-letters replay`` does. One that was replayed is not sent twice."""
    if not 0 < number < 2**63:
        raise HTTPException(404, "there is no such dead letter")
    (outcome,) = changes.replay("api", [number])
    if status := _REFUSALS.get(outcome.outcome):
        raise HTTPException(status, outcome.detail)
    return ReplayAnswer.of(outcome)
