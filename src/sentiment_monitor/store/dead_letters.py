"""Dead letters: written with the batch they came in, kept for people to read and to be sent again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from sentiment_monitor.domain.news import DeadLetter, Position, Record
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
    replayed_ms: int | None = None
    part: int | None = None  # place of the story within the record; None: the record as a whole


def put_aside(connection: Connection, letters: Sequence[DeadLetter], now_ms: int) -> None:
    """Stores dead letters with their bytes and positions; a detail in what every database can hold."""
    if letters:
        connection.execute(insert(dead_letters), [_row(letter, now_ms) for letter in letters])


def recent(connection: Connection, limit: int, most_bytes: int | None = None) -> list[StoredDeadLetter]:
    """The newest dead letters, newest first, with the first ``most_bytes`` of their values (None: all)."""
    raw = dead_letters.c.raw_value
    value = raw if most_bytes is None else func.substr(raw, 1, most_bytes, type_=raw.type)
    columns = [column for column in dead_letters.c if column.name not in ("raw_key", "raw_value", "timestamp_ms")]
    rows = connection.execute(
        select(*columns, value.label("value"), func.length(raw).label("value_bytes"))
        .order_by(dead_letters.c.id.desc())
        .limit(limit)
    ).mappings()
    return [
        StoredDeadLetter(
            id=row["id"],
            topic=row["kafka_topic"],
            partition=row["kafka_partition"],
            offset=row["kafka_offset"],
            code=row["code"],
            detail=row["detail"],
            raw_value=row["value"],
            value_bytes=row["value_bytes"],
            received_ms=row["received_ms"],
            replayed_ms=row["replayed_ms"],
            part=row["kafka_part"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """The whole record of a dead letter, to be sent again."""

    id: int
    code: str
    record: Record
    replayed_ms: int | None
    part: int | None  # place of the story within the record; None: the record as a whole


def kept(connection: Connection, ids: Sequence[int]) -> list[KeptRecord]:
    """The records of those dead letters that there are, in the order in which they came."""
    rows = connection.execute(
        select(dead_letters).where(dead_letters.c.id.in_(ids)).order_by(dead_letters.c.id)
    ).mappings()
    return [
        KeptRecord(
            id=row["id"],
            code=row["code"],
            record=Record(
                Position(row["kafka_topic"], row["kafka_partition"], row["kafka_offset"]),
                row["raw_key"],
                row["raw_value"],
                # Where the record's own time is not known it came a moment before it was put aside.
                row["received_ms"] if row["timestamp_ms"] is None else row["timestamp_ms"],
            ),
            replayed_ms=row["replayed_ms"],
            part=row["kafka_part"],
        )
        for row in rows
    ]


def not_replayed(connection: Connection, code: str | None = None) -> list[int]:
    """The numbers of the dead letters that nobody has replayed, oldest first; of one code if given."""
    numbers = select(dead_letters.c.id).where(dead_letters.c.replayed_ms.is_(None)).order_by(dead_letters.c.id)
    return list(connection.scalars(numbers if code is None else numbers.where(dead_letters.c.code == code)))


def mark_replayed(connection: Connection, ids: Sequence[int], now_ms: int) -> set[int]:
    """Notes that they were sent again, in the caller's transaction; returns those that nobody had marked before."""
    unmarked = dead_letters.c.id.in_(ids), dead_letters.c.replayed_ms.is_(None)
    marking = update(dead_letters).where(*unmarked).values(replayed_ms=now_ms).returning(dead_letters.c.id)
    return set(connection.scalars(marking))


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
        "timestamp_ms": letter.record.timestamp_ms if letter.record.timestamp_ms > 0 else None,
        "received_ms": now_ms,
        "kafka_part": letter.part,
    }
