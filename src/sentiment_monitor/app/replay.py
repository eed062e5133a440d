"""What a replay of dead letters needs of the settings: how the service reads records, and where they go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from sentiment_monitor.actions.dead_letters import Replay, Replayer, replay
from sentiment_monitor.app.policy import decoder_of
from sentiment_monitor.domain.news import DeadLetter
from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.publish import publish_again
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.dead_letters import KeptRecord


def replayer(settings: Settings, database: Database, now_ms: Callable[[], int]) -> Replayer:
    """Replays dead letters by their numbers, for an actor. Raises BrokerAway, BrokerRefused, DatabaseAway."""
    decoder = decoder_of(settings.news)
    publish = partial(publish_again, settings.kafka.client_options())
    turn = threading.Lock()  # two at once would both find a letter unmarked, and both send it

    def refusal(letter: KeptRecord) -> str | None:
        record = letter.record
        if not settings.kafka.reads(record.position.topic):
            return f"topic {record.position.topic} is not read any more (kafka.topics, kafka.topic_pattern)"
        try:
            readings = decoder.decode(record)
        except RecordError as error:
            return str(error)
        unread = (reading for reading in readings if isinstance(reading, DeadLetter))
        # Of a letter for one of several stories that one counts: the others are stored, or have letters of their own.
        return next((f"{other.code}: {other.detail}" for other in unread if letter.part in (None, other.part)), None)

    def replay_in_turn(actor: str, ids: Sequence[int]) -> list[Replay]:
        with turn:
            return replay(database, actor, ids, refusal=refusal, publish=publish, now_ms=now_ms())

    return replay_in_turn
