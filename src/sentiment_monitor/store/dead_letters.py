"""Dead letters: written with the batch they came in, kept for people to look at and to be read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, insert, select

from sentiment_monitor.domain.news import DeadLetter, Position, Record
from sentiment_monitor.store.schema import dead_letters

_MOST_DETAIL = 2_000  # characters
_AT_ONCE = 100  # whole records in memory
_NUMBERS_AT_ONCE = 500  # values of a statement


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
    replayed_ms: int | None = None  # read again, and stored
    requested_ms: int | None = None  # somebody has asked for it to be read again, and it was not yet
    attempts: int = 0  # how often it was read again
    part: int | None = None  # place of the story within the record; None: the record as a whole


def put_aside(connection: Connection, letters: Sequence[DeadLetter], now_ms: int) -> None:
    """Stores dead letters with their bytes and positions; a detail in what every database can hold."""
    if letters:
        connection.execute(insert(dead_letters), [_row(letter, now_ms) for letter in letters])


def recent(
    connection: Connection, limit: int, most_bytes: int | None = None, *, code: str | None = None
) -> list[StoredDeadLetter]:
    """The newest dead letters, newest first, with the first ``most_bytes`` of their values (None: all)."""
    wanted = [] if code is None else [dead_letters.c.code == code]
    newest = _listing(most_bytes).where(*wanted).order_by(dead_letters.c.id.desc()).limit(limit)
    return [_stored(row, row["value"], row["value_bytes"]) for row in connection.execute(newest).mappings()]


def numbered(connection: Connection, number: int, most_bytes: int) -> StoredDeadLetter | None:
    """One dead letter, with the first ``most_bytes`` of its value; None if there is no such letter."""
    lookup = _listing(most_bytes).where(dead_letters.c.id == number)
    row = connection.execute(lookup).mappings().one_or_none()
    return None if row is None else _stored(row, row["value"], row["value_bytes"])


def _listing(most_bytes: int | None) -> Select[Any]:
    raw = dead_letters.c.raw_value
    value = raw if most_bytes is None else func.substr(raw, 1, most_bytes, type_=raw.type)
    columns = [column for column in dead_letters.c if column.name not in ("raw_key", "raw_value", "timestamp_ms")]
    return select(*columns, value.label("value"), func.length(raw).label("value_bytes"))


def _stored(row: RowMapping, value: bytes | None, value_bytes: int | None) -> StoredDeadLetter:
    return StoredDeadLetter(
        id=row["id"],
        topic=row["kafka_topic"],
        partition=row["kafka_partition"],
        offset=row["kafka_offset"],
        code=row["code"],
        detail=row["detail"],
        raw_value=value,
        value_bytes=value_bytes,
        received_ms=row["received_ms"],
        replayed_ms=row["replayed_ms"],
        requested_ms=row["requested_ms"],
        attempts=row["attempts"],
        part=row["kafka_part"],
    )


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A dead letter with its whole record."""

    letter: StoredDeadLetter
    record: Record
    taken: int = 0  # how often its reading was begun since it was asked for

    @property
    def id(self) -> int:
        """The number of the letter."""
        return self.letter.id


def kept(connection: Connection, number: int) -> KeptRecord | None:
    """One dead letter with all of its record; None if there is no such letter."""
    row = connection.execute(select(dead_letters).where(dead_letters.c.id == number)).mappings().one_or_none()
    return None if row is None else kept_from(row)


def every(connection: Connection, ids: Sequence[int]) -> Iterator[KeptRecord]:
    """Those of these dead letters that there are, in the order given; few at a time are in memory."""
    for first in range(0, len(ids), _AT_ONCE):
        portion = ids[first : first + _AT_ONCE]
        rows = connection.execute(select(dead_letters).where(dead_letters.c.id.in_(portion))).mappings()
        by_id = {row["id"]: row for row in rows}
        yield from (kept_from(by_id[number]) for number in portion if number in by_id)


def kept_from(row: RowMapping) -> KeptRecord:
    """A whole row of the table."""
    value = row["raw_value"]
    return KeptRecord(
        _stored(row, value, None if value is None else len(value)),
        Record(
            Position(row["kafka_topic"], row["kafka_partition"], row["kafka_offset"]),
            row["raw_key"],
            value,
            # Where the record's own time is not known it came a moment before it was put aside.
            row["received_ms"] if row["timestamp_ms"] is None else row["timestamp_ms"],
        ),
        row["taken"],
    )


def numbers(connection: Connection, code: str | None = None, *, replayed: bool = False) -> list[int]:
    """The numbers of the dead letters, oldest first: of one code if given, without those that are stored by now."""
    wanted: list[ColumnElement[bool]] = [] if code is None else [dead_letters.c.code == code]
    if not replayed:
        wanted.append(dead_letters.c.replayed_ms.is_(None))
    return list(connection.scalars(select(dead_letters.c.id).where(*wanted).order_by(dead_letters.c.id)))


@dataclass(frozen=True, slots=True)
class LetterState:
    """How far one dead letter is with being read again."""

    requested: bool  # it waits for that
    replayed_ms: int | None
    attempts: int
    code: str
    detail: str
    topic: str


def states(connection: Connection, ids: Sequence[int]) -> dict[int, LetterState]:
    """The states of those of these dead letters that there are, by number."""
    columns = dead_letters.c
    states_by_id: dict[int, LetterState] = {}
    for first in range(0, len(ids), _NUMBERS_AT_ONCE):
        rows = connection.execute(
            select(columns.id, columns.requested_ms, columns.replayed_ms, columns.attempts, columns.code,
                   columns.detail, columns.kafka_topic).where(columns.id.in_(ids[first : first + _NUMBERS_AT_ONCE]))
        )  # fmt: skip
        states_by_id |= {row[0]: LetterState(row[1] is not None, *row[2:]) for row in rows}
    return states_by_id


def detail_of(letter: DeadLetter) -> str:
    """Its detail, in what every database can hold."""
    return letter.detail.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()[:_MOST_DETAIL]


def _row(letter: DeadLetter, now_ms: int) -> dict[str, Any]:
    position = letter.record.position
    return {
        "kafka_topic": position.topic,
        "kafka_partition": position.partition,
        "kafka_offset": position.offset,
        "code": letter.code,
        "detail": detail_of(letter),
        "raw_key": letter.record.key,
        "raw_value": letter.record.value,
        "timestamp_ms": letter.record.timestamp_ms if letter.record.timestamp_ms > 0 else None,
        "received_ms": now_ms,
        "kafka_part": letter.part,
    }
