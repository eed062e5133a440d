"""What a replay of dead letters needs of the settings: how the service reads records, and where they go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from sentiment_monitor.actions.dead_letters import Replay, Replayer, replay
from sentiment_monitor.domain.news import Record
from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.publish import publish_again
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store.database import Database


def replayer(settings: Settings, database: Database, now_ms: Callable[[], int]) -> Replayer:
    """Replays dead letters by their numbers, for an actor. Raises BrokerAway, BrokerRefused, DatabaseAway."""
    decoder = Decoder(**settings.news.decoder_options())
    publish = partial(publish_again, settings.kafka.client_options())
    turn = threading.Lock()  # two at once would both find a letter unmarked, and both send it

    def refusal(record: Record) -> str | None:
        if record.position.topic not in settings.kafka.topics:
            return f"topic {record.position.topic} is not read any more (kafka.topics)"
        try:
            decoder.decode(record)
        except RecordError as error:
            return str(error)
        return None

    def replay_in_turn(actor: str, ids: Sequence[int]) -> list[Replay]:
        with turn:
            return replay(database, actor, ids, refusal=refusal, publish=publish, now_ms=now_ms())

    return replay_in_turn
