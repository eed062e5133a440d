"""Dead letters as they are kept: for people to read."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from sentiment_monitor.store.schema import dead_letters


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A record that was put aside. ``raw_value`` may be cut, ``value_bytes`` says how long it is (None: no value)."""

    id: int
    topic: str
    partition: int
    offset: int
    code: str
    detail: str
    raw_value: bytes | None
    value_bytes: int | None
    received_ms: int


def recent(connection: Connection, limit: int, most_bytes: int | None = None) -> list[StoredDeadLetter]:
    """The newest dead letters, newest first, with the first ``most_bytes`` of their values (None: all)."""
    raw = dead_letters.c.raw_value
    rows = connection.execute(
        select(
            dead_letters.c.id,
            dead_letters.c.kafka_topic,
            dead_letters.c.kafka_partition,
            dead_letters.c.kafka_offset,
            dead_letters.c.code,
            dead_letters.c.detail,
            raw if most_bytes is None else func.substr(raw, 1, most_bytes, type_=raw.type),
            func.length(raw),
            dead_letters.c.received_ms,
        )
        .order_by(dead_letters.c.id.desc())
        .limit(limit)
    )
    return [StoredDeadLetter(*row) for row in rows]
