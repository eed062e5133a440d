"""The page of the dead letters."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sentiment_monitor.store import dead_letters as stored
from sentiment_monitor.web.answers import DeadLetterAnswer
from sentiment_monitor.web.dependencies import Html, ReadDatabase

_LISTED = 100
_SHOWN_BYTES = 480

router = APIRouter()


@router.get("/dead-letters")
def dead_letters(database: ReadDatabase, page: Html) -> Response:
    with database.read() as connection:
        newest = stored.recent(connection, _LISTED, _SHOWN_BYTES)
    letters = [DeadLetterAnswer.of(letter) for letter in newest]
    return page.html("dead-letters.html", here="dead letters", letters=letters, limit=_LISTED)
