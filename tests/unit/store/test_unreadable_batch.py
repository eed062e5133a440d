"""A batch that nobody can read, put aside: its bytes are kept as they were, on both databases."""

from __future__ import annotations

from sentiment_monitor.domain.news import DeadLetter, Position, Record, UnreadableBatch
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.dead_letters import put_aside, recent
from writing import NOW, TOPIC


def test_the_bytes_of_an_unreadable_batch_are_kept(database: Database) -> None:
    value = UnreadableBatch(b"\x00\xff\x01", "offsets 3 to 5: the checksum does not match")
    letter = DeadLetter(Record(Position(TOPIC, 0, 3), None, value, NOW), "unreadable_batch", value.reason)
    with database.write() as connection:
        put_aside(connection, [letter], NOW)
    with database.read() as connection:
        (stored,) = recent(connection, 5)
    assert (stored.raw_value, stored.code, stored.detail) == (b"\x00\xff\x01", "unreadable_batch", value.reason)
