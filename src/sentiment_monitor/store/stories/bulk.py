"""The batch transaction's reads and writes in bulk: one statement a table, in the words of each driver.

Thousands of rows a second leave no time for SQLAlchemy's handling of each, so these statements go to the driver's
own cursor, within the transaction that :class:`Database` has begun and with its translation of errors.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Boolean, Connection, Float, Integer, LargeBinary, Table

from sentiment_monitor.store.schema import buckets, copy_keys, stories
from sentiment_monitor.store.stories.row import COUNTERS, BucketKey

Row = Sequence[Any]

# Writers take turns on PostgreSQL as they do on SQLite: without it two replicas would not see each other's
# new stories and both call their copy the original. Any constant does (CRC-32 of "stories").
_WRITER_LOCK = 1_893_374_412

STORED = ("id", "source", "story_id", "revision", "deleted", "headline", "body", "url", "text", "tickers",
          "published_ms", "minute", "copy_keys", "copy_of", "counts_for")  # fmt: skip
"""Columns of a stored story that the transaction reads, before label, topic, negative and score."""
_VARIABLES = 900  # of one statement; an old SQLite takes 999
_LONG = {"body", "url"}  # read only where a message may change them
_MANY_ORIGINALS = 10_000  # pairs of a copy key and an original that a batch loads; twenty a story are already a crowd
_NEWEST_EQUAL, _NEWEST_NEAR = 1_000, 64  # of each exact and each near key when there are more
_CLUSTER = ("revision", "deleted", "copy_of", "counts_for")


def bulk_of(connection: Connection) -> Bulk:
    """The bulk statements of the connection's database."""
    if connection.dialect.name == "sqlite":
        return SqliteBulk(connection.connection.cursor())
    return PostgresBulk(connection.connection.cursor(binary=True))


class Bulk(ABC):
    """One transaction's statements. The caller gives the rows in the order of the tables' columns."""

    _mark: ClassVar[str]  # a parameter
    _texts: ClassVar[str]  # a set given as one parameter, so that a statement is one text however many values it has
    _numbers: ClassVar[str]
    _unindexed: ClassVar[str] = ""  # before a column that must not drive a search

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def close(self) -> None:
        """Gives the cursor back."""
        self._cursor.close()

    @abstractmethod
    def take_turn(self) -> None:
        """Waits until no other transaction can store stories; what they stored is seen afterwards."""

    # -- reading ----------------------------------------------------------------------------------

    def stories_named(self, story_ids: Collection[str]) -> list[Row]:
        """Stories with one of these ids, whatever their source."""
        return self._select(_stored(f"s.story_id {self._texts}", True), (self._text_set(story_ids),))

    def originals_with(
        self, exact: Collection[int], near: Collection[int], first_minute: int, last_minute: int
    ) -> list[Row]:
        """(key, id of a story) for each of these copy keys that an original of these minutes has left.

        When that are very many, of each key only the newest: no crowd may make each batch dearer than the last.
        """
        keyed = self._keyed([*exact, *near], first_minute, last_minute, _MANY_ORIGINALS)
        if len(keyed) < _MANY_ORIGINALS:
            return keyed
        newest = self._newest_keyed(exact, first_minute, last_minute, _NEWEST_EQUAL)
        return [*newest, *self._newest_keyed(near, first_minute, last_minute, _NEWEST_NEAR)]

    @abstractmethod
    def _keyed(self, keys: Collection[int], first_minute: int, last_minute: int, most: int) -> list[Row]: ...

    @abstractmethod
    def _newest_keyed(self, keys: Collection[int], first_minute: int, last_minute: int, most: int) -> list[Row]: ...

    def stories_numbered(self, ids: Collection[int]) -> list[Row]:
        """Stories by id, without what is long."""
        return self._select(_stored(f"s.id {self._numbers}", False), (self._number_set(ids),))

    def copies_of(self, ids: Collection[int]) -> list[Row]:
        """Stories that are copies of these, without what is long."""
        return self._select(_stored(f"s.copy_of {self._numbers}", False), (self._number_set(ids),))

    def counting_copies_of(self, ids: Collection[int]) -> list[Row]:
        """Those of the copies of these that count as stories for a company, without what is long."""
        copies = f"s.copy_of {self._numbers} AND s.counts_for <> ''"
        return self._select(_stored(copies, False), (self._number_set(ids),))

    def _select(self, statement: str, parameters: Row) -> list[Row]:
        rows: list[Row] = self._cursor.execute(statement, parameters).fetchall()
        return rows

    @abstractmethod
    def _text_set(self, values: Collection[str]) -> object: ...

    @abstractmethod
    def _number_set(self, values: Collection[int]) -> str: ...

    # -- writing ----------------------------------------------------------------------------------

    @abstractmethod
    def reserve(self, count: int) -> Sequence[int]:
        """Ids for new stories, ascending."""

    @abstractmethod
    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Adds complete rows."""

    def rewrite_stories(self, rows: Sequence[Row]) -> None:
        """Writes every column of stories that exist; the id comes first."""
        self._many(_update(_columns(stories)[1:], self._mark), [(*row[1:], row[0]) for row in rows])

    def move_stories(self, rows: Sequence[tuple[int, int | None, bool, int | None, str]]) -> None:
        """Writes (id, revision, deleted, copy_of, counts_for) of stories that exist."""
        self._many(_update(_CLUSTER, self._mark), [(*row[1:], row[0]) for row in rows])

    def move_over_dead_letters(self, rows: Sequence[tuple[int, str, int, int, int | None]]) -> None:
        """Moves stories that exist on to (id, topic, partition, offset, part), in this order, within their partition.

        Only where a dead letter that may still be read again lies between: of other places nobody will ask.
        """
        mark = self._mark
        between = (
            f"SELECT 1 FROM dead_letters d WHERE d.kafka_topic = {mark} AND d.kafka_partition = {mark}"
            f" AND d.replayed_ms IS NULL AND d.kafka_offset < {mark} AND d.kafka_offset > "
        )
        oldest = f"(SELECT min(kafka_offset) FROM stories WHERE id {self._numbers})"
        by_partition: dict[tuple[str, int], list[tuple[int, int, int | None]]] = {}
        for id_, topic, partition, offset, part in rows:
            by_partition.setdefault((topic, partition), []).append((offset, id_, part))
        for place, moves in by_partition.items():
            last, ids = max(offset for offset, _, _ in moves), {id_ for _, id_, _ in moves}
            if self._select(
                f"{between}{oldest} LIMIT 1", (*place, last, self._number_set(ids))
            ):  # mostly there is none
                self._many(
                    f"UPDATE stories SET kafka_offset = {mark}, kafka_part = {mark} WHERE id = {mark}"
                    f" AND kafka_topic = {mark} AND kafka_partition = {mark}"
                    f" AND EXISTS ({between}stories.kafka_offset)",
                    [(offset, part, id_, *place, *place, offset) for offset, id_, part in moves],
                )

    def drop_scores(self, story_ids: Collection[int]) -> None:
        """Removes the scores of these stories."""
        self._cursor.execute(f"DELETE FROM scores WHERE story_id {self._numbers}", (self._number_set(story_ids),))

    def drop_copy_keys(self, keys: Collection[int], story_ids: Collection[int]) -> None:
        """Removes what these stories have left under these keys; the primary key begins with the key."""
        self._cursor.execute(
            f"DELETE FROM copy_keys WHERE key {self._numbers} AND {self._unindexed}story_id {self._numbers}",
            (self._number_set(keys), self._number_set(story_ids)),
        )

    @abstractmethod
    def add_to_buckets(self, deltas: Mapping[BucketKey, Sequence[int]]) -> None:
        """Adds to each bucket, or makes it."""

    def drop_empty_buckets(self, keys: Iterable[BucketKey]) -> None:
        """Removes those of the buckets in which nothing is counted any more."""
        mark = self._mark
        self._many(
            f"DELETE FROM buckets WHERE series = {mark} AND minute = {mark} AND stories = 0 AND copies = 0",
            list(keys),
        )

    def _many(self, statement: str, rows: Sequence[Row]) -> None:
        if rows:
            self._cursor.executemany(statement, rows)


class SqliteBulk(Bulk):
    """Many rows a statement: for each step of one the driver lets go of the interpreter.

    With a thread at work beside this one it must then wait for its turn, a row at a time if a statement takes one row.
    """

    _mark = "?"
    _texts = _numbers = "IN (SELECT value FROM json_each(?))"
    _unindexed = "+"  # SQLite would seek each of the keys with each of the stories

    def take_turn(self) -> None:
        """Nothing to do: a writing transaction holds SQLite's one lock from its beginning."""

    def reserve(self, count: int) -> Sequence[int]:
        """The ids after the largest; nobody else writes."""
        (largest,) = self._cursor.execute("SELECT max(id) FROM stories").fetchone()
        return range((largest or 0) + 1, (largest or 0) + 1 + count)

    def _keyed(self, keys: Collection[int], first_minute: int, last_minute: int, most: int) -> list[Row]:
        rows = "SELECT key, story_id FROM copy_keys WHERE key IN (SELECT value FROM json_each(?)) AND minute >= ?"
        ((pairs_json,),) = self._select(
            f"SELECT json_group_array(json_array(key, story_id)) FROM ({rows} AND minute <= ? LIMIT ?)",
            (self._number_set(keys), first_minute, last_minute, most),
        )
        pairs: list[Row] = json.loads(pairs_json)
        return pairs

    def _newest_keyed(self, keys: Collection[int], first_minute: int, last_minute: int, most: int) -> list[Row]:
        rows = "SELECT key, story_id FROM copy_keys WHERE key = ? AND minute >= ? AND minute <= ?"
        newest = f"{rows} ORDER BY story_id DESC LIMIT ?"
        return [row for key in keys for row in self._select(newest, (key, first_minute, last_minute, most))]

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """See :meth:`Bulk.insert`."""
        # Ids are given again when the newest story was deleted by hand, and its keys are still there.
        self._insert(table, rows, _ON_LEFTOVER if table is copy_keys else "")

    def add_to_buckets(self, deltas: Mapping[BucketKey, Sequence[int]]) -> None:
        """See :meth:`Bulk.add_to_buckets`."""
        self._insert(buckets, [(*key, *delta) for key, delta in deltas.items()], _ON_CONFLICT)

    def _insert(self, table: Table, rows: Sequence[Row], conflict: str = "") -> None:
        rows_at_once = _VARIABLES // len(table.columns)
        whole = len(rows) - len(rows) % rows_at_once
        statement = _insert(table, rows_at_once, conflict)
        for start in range(0, whole, rows_at_once):
            self._cursor.execute(statement, list(chain.from_iterable(rows[start : start + rows_at_once])))
        self._many(_insert(table, 1, conflict), rows[whole:])

    def _text_set(self, values: Collection[str]) -> str:
        return json.dumps(list(values))

    def _number_set(self, values: Collection[int]) -> str:
        return json.dumps(list(values))


class PostgresBulk(Bulk):
    """COPY for rows, arrays for sets: a statement a table, however many rows."""

    _mark = "%s"
    _texts = "= ANY(%s::text[])"
    _numbers = "= ANY(%s::bigint[])"

    def take_turn(self) -> None:
        """Takes the writers' lock.

        Plans are kept from when a table was empty; reading all of it must not look cheap to the planner then.
        """
        self._cursor.execute(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK}), set_config('enable_seqscan', 'off', true)")

    def reserve(self, count: int) -> Sequence[int]:
        """From the sequence, which stays right for whoever else inserts."""
        self._cursor.execute(
            "SELECT nextval(ids.name) FROM (SELECT pg_get_serial_sequence('stories', 'id')::regclass AS name OFFSET 0)"
            " ids, generate_series(1, %s)",
            (count,),
        )
        return sorted(identity for (identity,) in self._cursor.fetchall())

    def _keyed(self, keys: Collection[int], first_minute: int, last_minute: int, most: int) -> list[Row]:
        return self._select(
            "SELECT key, story_id FROM copy_keys WHERE key = ANY(%s::bigint[]) AND minute >= %s AND minute <= %s"
            " LIMIT %s",
            (self._number_set(keys), first_minute, last_minute, most),
        )

    def _newest_keyed(self, keys: Collection[int], first_minute: int, last_minute: int, most: int) -> list[Row]:
        return self._select(
            "SELECT newest.key, newest.story_id FROM unnest(%s::bigint[]) AS wanted(key) CROSS JOIN LATERAL"
            " (SELECT key, story_id FROM copy_keys WHERE key = wanted.key AND minute >= %s AND minute <= %s"
            " ORDER BY story_id DESC LIMIT %s) AS newest",
            (self._number_set(keys), first_minute, last_minute, most),
        )

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """See :meth:`Bulk.insert`."""
        statement, types = _copy(table)
        with self._cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def add_to_buckets(self, deltas: Mapping[BucketKey, Sequence[int]]) -> None:
        """See :meth:`Bulk.add_to_buckets`."""
        series, minutes = zip(*deltas, strict=True)
        numbers = (minutes, *zip(*deltas.values(), strict=True))
        self._cursor.execute(_ADD_TO_BUCKETS, (list(series), *map(self._number_set, numbers)))

    def _text_set(self, values: Collection[str]) -> list[str]:
        return list(values)

    def _number_set(self, values: Collection[int]) -> str:
        # Spelt here: the driver makes an array item by item in Python.
        return f"{{{','.join(map(str, values))}}}"


_ON_CONFLICT = "ON CONFLICT (series, minute) DO UPDATE SET " + ", ".join(
    f"{name} = buckets.{name} + excluded.{name}" for name in COUNTERS
)
_ON_LEFTOVER = "ON CONFLICT (key, story_id) DO UPDATE SET minute = excluded.minute"
_ADD_TO_BUCKETS = (
    f"INSERT INTO buckets (series, minute, {', '.join(COUNTERS)}) "
    f"SELECT * FROM unnest(%s::text[]{', %s::bigint[]' * (1 + len(COUNTERS))}) {_ON_CONFLICT}"
)


@cache
def _stored(condition: str, with_long: bool) -> str:
    columns = ", ".join("''" if name in _LONG and not with_long else f"s.{name}" for name in STORED)
    return (
        f"SELECT {columns}, c.label, c.topic, coalesce(c.negative, 0.0), coalesce(c.score, 0.0)"
        f" FROM stories s LEFT JOIN scores c ON c.story_id = s.id WHERE {condition}"
    )


@cache
def _columns(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


@cache
def _insert(table: Table, rows: int, conflict: str) -> str:
    names = _columns(table)
    values = ", ".join([f"({', '.join('?' * len(names))})"] * rows)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {values} {conflict}"


@cache
def _update(names: tuple[str, ...], mark: str) -> str:
    return f"UPDATE stories SET {', '.join(f'{name} = {mark}' for name in names)} WHERE id = {mark}"


@cache
def _copy(table: Table) -> tuple[str, tuple[str, ...]]:
    return (
        f"COPY {table.name} ({', '.join(_columns(table))}) FROM STDIN (FORMAT BINARY)",
        tuple(_postgres_type(column.type) for column in table.columns),
    )


def _postgres_type(kind: object) -> str:
    for known, name in ((BigInteger, "int8"), (Integer, "int4"), (Boolean, "bool"), (Float, "float8"),
                        (LargeBinary, "bytea")):  # fmt: skip
        if isinstance(kind, known):
            return name
    return "text"
