"""Dead letters as JSON, and their replay."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response

from sentiment_monitor.actions.dead_letters import ReplayOutcome
from sentiment_monitor.store import dead_letters as stored
from sentiment_monitor.web.answers import DeadLetterAnswer, ErrorAnswer, ReplayAnswer
from sentiment_monitor.web.dependencies import Permitted, ReadDatabase
from sentiment_monitor.web.parameters import Limit

_SHOWN_BYTES = 10_000  # of each value: whole ones may be megabytes
_MOST = 2**63  # numbers end before
_UNKNOWN = "there is no such dead letter"

router = APIRouter()


@router.get("/dead-letters")
def listing(database: ReadDatabase, limit: Limit = 50) -> list[DeadLetterAnswer]:
    """Dead letters, newest first: what ``monitor dead-letters --json`` prints, with the begin of long values."""
    with database.read() as connection:
        return [DeadLetterAnswer.of(letter) for letter in stored.recent(connection, limit, _SHOWN_BYTES)]


@router.get(
    "/dead-letters/{number}", responses={404: {"model": ErrorAnswer, "description": "There is no such dead letter."}}
)
def letter(database: ReadDatabase, number: int) -> DeadLetterAnswer:
    """One dead letter, with the begin of a long value; ``monitor dead-letters export`` writes whole records."""
    with database.read() as connection:
        stored_letter = stored.numbered(connection, number, _SHOWN_BYTES) if 0 < number < _MOST else None
    if stored_letter is None:
        raise HTTPException(404, _UNKNOWN)
    return DeadLetterAnswer.of(stored_letter)


@router.post(
    "/dead-letters/{number}/replay",
    status_code=202,
    responses={
        200: {"model": ReplayAnswer, "description": "It was replayed before; nothing is asked for."},
        401: {"model": ErrorAnswer, "description": "The bearer token is missing or wrong."},
        403: {"model": ErrorAnswer, "description": "No token is configured, so nothing can be changed."},
        404: {"model": ErrorAnswer, "description": "There is no such dead letter."},
        409: {"model": ErrorAnswer, "description": "It is a batch that nobody can read, and holds no message."},
    },
)
def replay(changes: Permitted, number: int, response: Response) -> ReplayAnswer:
    """Asks for the record to be read again, as ``monitor dead-letters replay`` does; look at the letter for the end."""
    if not 0 < number < _MOST:
        raise HTTPException(404, _UNKNOWN)
    request = changes.request_replay("api", [number])
    if not request.settled:
        return ReplayAnswer(number, ReplayOutcome.REQUESTED.value, "waits for an ingest process")
    (settled,) = request.settled
    if settled.outcome is ReplayOutcome.UNKNOWN:
        raise HTTPException(404, settled.detail)
    if settled.outcome is ReplayOutcome.NO_MESSAGE:
        raise HTTPException(409, settled.detail)
    response.status_code = 200
    return ReplayAnswer.of(settled)
