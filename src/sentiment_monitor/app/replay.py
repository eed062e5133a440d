"""What the settings in force would make of a record that was put aside."""

from __future__ import annotations

from sentiment_monitor.app.policy import decoder_of
from sentiment_monitor.domain.news import UNREADABLE_BATCH, DeadLetter
from sentiment_monitor.errors import RecordError
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store.dead_letters import KeptRecord

_SHOWN = 80  # characters of a headline


def reading_of(settings: Settings, letter: KeptRecord) -> str:
    """For people: the headlines that would come of it, or why none would."""
    if letter.letter.code == UNREADABLE_BATCH:
        return "its bytes are a batch that nobody can read: no settings make a message of it"
    try:
        readings = decoder_of(settings.news).decode(letter.record)
    except RecordError as error:
        return f"unreadable: {error}"
    if not readings:
        return "nothing to store: the record would be skipped"
    return "; ".join(
        f"unreadable: {reading.code}: {reading.detail}"
        if isinstance(reading, DeadLetter)
        else f"{reading.action} {reading.source}/{reading.story_id}: {reading.headline[:_SHOWN]!r}"
        for reading in readings
    )
