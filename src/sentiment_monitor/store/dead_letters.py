"""Dead letters: written with the batch they came in, kept for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from sentiment_monitor.domain.news import DeadLetter
from sentiment_monitor.store.schema import dead_letters

_MOST_DETAIL = 2_000  # characters


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


def put_aside(connection: Connection, letters: Sequence[DeadLetter], now_ms: int) -> None:
    """Stores dead letters with their bytes and positions; a detail in what every database can hold."""
    if letters:
        connection.execute(insert(dead_letters), [_row(letter, now_ms) for letter in letters])


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


def _row(letter: DeadLetter, now_ms: int) -> dict[str, Any]:
    position = letter.record.position
    detail = letter.detail.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return {
        "kafka_topic": position.topic,
        "kafka_partition": position.partition,
        "kafka_offset": position.offset,
        "code": letter.code,
        "detail": detail[:_MOST_DETAIL],
        "raw_key": letter.record.key,
        "raw_value": letter.record.value,
        "received_ms": now_ms,
    }
