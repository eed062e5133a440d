"""The hot loop's one transaction: stories, scores, bucket increments, dead letters and the next offsets.

All of it or nothing. The offset update is conditional on the value it replaces, so a process that lost its
partition to another can write nothing (:class:`Fenced`), and a record is never counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Update, bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from sentiment_monitor.domain import HOUR_MINUTES, Action, DeadLetter, ScoredStory
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.rows import COUNTERS, Counters, StoryRow
from sentiment_monitor.store.schema import (
    buckets,
    classifiers,
    consumer_offsets,
    copy_keys,
    dead_letters,
    scores,
    stories,
)

T = TypeVar("T")
Partition = tuple[str, int]

_CHUNK = 1_000  # values in one IN list; SQLite allows 32,766 variables a statement
# Writers take turns on PostgreSQL as they do on SQLite: without it two replicas would not see each other's
# new stories and both call their copy the original. Any constant does (CRC-32 of "stories").
_WRITER_LOCK = 1_893_374_412


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction stores.

    ``offsets`` maps each partition to (the next offset SQL must hold now, the next offset afterwards).
    """

    offsets: Mapping[Partition, tuple[int, int]]
    scored: Sequence[ScoredStory] = ()
    dead: Sequence[DeadLetter] = ()


@dataclass(slots=True)
class Written:
    """What a transaction did, for the log line of the batch."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    copies: int = 0
    duplicates: int = 0
    dead: int = 0


@dataclass(slots=True)
class StoryWriter:
    """Stores batches for one consumer group with one classifier.

    ``is_copy(headline, headline)`` decides about candidates that share a copy key.
    """

    database: Database
    group: str
    classifier: str
    calibration: str
    manifest: str
    is_copy: Callable[[str, str], bool]
    copy_window_minutes: int = 72 * HOUR_MINUTES
    _registered: bool = field(default=False, init=False)

    def positions(self, starts: Mapping[Partition, int | None], now_ms: int) -> dict[Partition, int]:
        """The next offset of each partition; one that is new to SQL begins at its start. Raises DatabaseAway."""
        with self.database.write() as connection:
            found = self._offsets(connection, starts)
            for (topic, partition), start in starts.items():
                if (topic, partition) not in found:
                    if start is None:
                        raise ValueError(f"no start given for {topic}/{partition}")
                    self._set_offset(connection, topic, partition, start, now_ms)
                    found[topic, partition] = start
        return found

    def move(self, offsets: Mapping[Partition, int | None], now_ms: int) -> dict[Partition, int]:
        """Sets the next offsets without a condition; for a position that the broker lost. Raises DatabaseAway."""
        moved = {key: offset for key, offset in offsets.items() if offset is not None}
        with self.database.write() as connection:
            for (topic, partition), offset in moved.items():
                self._set_offset(connection, topic, partition, offset, now_ms)
                connection.execute(self._at(topic, partition).values(next_offset=offset, updated_ms=now_ms))
        return moved

    def commit(self, batch: Batch, now_ms: int) -> Written:
        """Stores one batch.

        Raises Fenced when SQL is not where the batch begins, DatabaseAway when nothing was written and the
        same call may succeed later. Any other error means that the batch holds something the database refuses.
        """
        with self.database.write() as connection:
            self._advance(connection, batch, now_ms)
            if not self.database.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
            if not self._registered:
                self._register(connection, now_ms)
            if batch.dead:
                connection.execute(insert(dead_letters), [_dead_values(letter, now_ms) for letter in batch.dead])
            work = _Transaction(connection, self, now_ms)
            work.store(batch.scored)
            work.written.dead = len(batch.dead)
        self._registered = True
        return work.written

    def _offsets(self, connection: Connection, partitions: Iterable[Partition]) -> dict[Partition, int]:
        wanted = set(partitions)
        rows = connection.execute(
            select(consumer_offsets.c.topic, consumer_offsets.c.partition, consumer_offsets.c.next_offset).where(
                consumer_offsets.c.consumer_group == self.group
            )
        )
        return {(topic, partition): offset for topic, partition, offset in rows if (topic, partition) in wanted}

    def _set_offset(self, connection: Connection, topic: str, partition: int, offset: int, now_ms: int) -> None:
        values = {
            "consumer_group": self.group,
            "topic": topic,
            "partition": partition,
            "next_offset": offset,
            "updated_ms": now_ms,
        }
        # Two members may meet a new partition at the same moment: whoever is second keeps the first one's row.
        connection.execute(self._insert(consumer_offsets).on_conflict_do_nothing(), values)

    def _advance(self, connection: Connection, batch: Batch, now_ms: int) -> None:
        for (topic, partition), (expected, following) in sorted(batch.offsets.items()):
            moved = connection.execute(
                self._at(topic, partition)
                .where(consumer_offsets.c.next_offset == expected)
                .values(next_offset=following, updated_ms=now_ms)
            )
            if moved.rowcount != 1:
                raise Fenced(f"{topic}/{partition}: SQL is no longer at offset {expected}")

    def _at(self, topic: str, partition: int) -> Update:
        return update(consumer_offsets).where(
            consumer_offsets.c.consumer_group == self.group,
            consumer_offsets.c.topic == topic,
            consumer_offsets.c.partition == partition,
        )

    def _register(self, connection: Connection, now_ms: int) -> None:
        connection.execute(
            self._insert(classifiers).on_conflict_do_nothing(),
            {"id": self.classifier, "first_used_ms": now_ms, "manifest": self.manifest},
        )

    def _insert(self, table: Any) -> Any:
        return sqlite_insert(table) if self.database.is_sqlite else pg_insert(table)


class _Transaction:
    """One batch's unit of work: rows are loaded once, changed in memory, and written at the end."""

    def __init__(self, connection: Connection, writer: StoryWriter, now_ms: int) -> None:
        self._connection = connection
        self._writer = writer
        self._now_ms = now_ms
        self._by_key: dict[tuple[str, str], StoryRow] = {}
        self._by_id: dict[int, StoryRow] = {}
        self._created: list[StoryRow] = []
        self._touched: dict[int, StoryRow] = {}
        self._originals: dict[int, list[StoryRow]] = {}  # copy key -> originals that bear it
        self._deltas: dict[tuple[str, int], list[int]] = {}
        self.written = Written()

    def store(self, scored: Sequence[ScoredStory]) -> None:
        """Applies every story in order and writes what changed."""
        if not scored:
            return
        self._load_stories([item.enriched.story.story_id for item in scored])
        self._load_originals(scored)
        for item in scored:
            story = item.enriched.story
            row = self._by_key.get((story.source, story.story_id))
            if row is None:
                self._create(item)
            else:
                self._change(row, item)
        self._flush()

    # -- applying one message ---------------------------------------------------------------------

    def _create(self, item: ScoredStory) -> None:
        row = StoryRow.from_scored(item, self._now_ms)
        self._by_key[row.source, row.story_id] = row
        self._created.append(row)
        if row.deleted:
            self.written.deleted += 1
            return
        self.written.created += 1
        self._cluster(row)

    def _change(self, row: StoryRow, item: ScoredStory) -> None:
        story = item.enriched.story
        newer = story.revision is not None and (row.revision is None or story.revision > row.revision)
        unnumbered = story.revision is None
        if story.action is Action.DELETED:
            if row.deleted or not (newer or unnumbered or story.revision == row.revision):
                self.written.duplicates += 1
                return
            self._touch(row)
            self._leave_cluster(row)
            row.deleted, row.revision = True, story.revision if newer else row.revision
            self.written.deleted += 1
            return
        fresh = StoryRow.from_scored(item, self._now_ms)
        same = (row.headline, row.body, row.url, row.tickers, row.published_ms) == (
            fresh.headline,
            fresh.body,
            fresh.url,
            fresh.tickers,
            fresh.published_ms,
        )
        # Without a number only a live story can change: a repeated message must not raise the dead.
        if not newer and (not unnumbered or row.deleted or same):
            self.written.duplicates += 1
            return
        self._touch(row)
        self._leave_cluster(row)
        for name in (
            "headline", "body", "url", "text", "language", "tickers", "published_ms", "received_ms", "minute",
            "copy_keys", "kafka_topic", "partition", "offset",
        ):  # fmt: skip
            setattr(row, name, getattr(fresh, name))
        row.deleted, row.revision = False, story.revision if newer else row.revision
        row.take_score(item.score)
        self.written.updated += 1
        self._cluster(row)

    # -- copies -----------------------------------------------------------------------------------

    def _cluster(self, row: StoryRow) -> None:
        """Makes ``row`` a copy of the original it repeats, or an original itself."""
        original = self._find_original(row)
        if original is None:
            self._announce(row)
            return
        self.written.copies += 1
        if original.order < row.order:
            row.copy_of, row.copy_of_id = original, None
            return
        # The later arrival was published first: it takes over.
        self._touch(original)
        self._retire(original)
        self._move_copies(original, row)
        original.copy_of, original.copy_of_id = row, None
        self._announce(row)

    def _find_original(self, row: StoryRow) -> StoryRow | None:
        candidates: dict[int, StoryRow] = {}
        for key in row.copy_keys:
            for original in self._originals.get(key, ()):
                candidates[id(original)] = original
        fitting = [
            original
            for original in candidates.values()
            if original is not row
            and abs(original.minute - row.minute) <= self._writer.copy_window_minutes
            and (
                original.text == row.text
                # Nearly the same words can say the opposite ("rises", "falls"), and what looks like the name of a
                # source at the end can be news ("- Stocks Tumble"): the classifier must agree.
                or (
                    original.label == row.label
                    and (
                        original.copy_keys[0] == row.copy_keys[0]
                        or self._writer.is_copy(original.headline, row.headline)
                    )
                )
            )
        ]
        return min(fitting, key=lambda original: original.order, default=None)

    def _leave_cluster(self, row: StoryRow) -> None:
        """Takes ``row`` out of its cluster; if it was the original, its earliest living copy becomes it."""
        if row.is_copy:
            row.copy_of = row.copy_of_id = None
            return
        self._retire(row)
        heirs = sorted(self._copies_of(row), key=lambda copy: copy.order)
        if not heirs:
            return
        heir = heirs[0]
        self._touch(heir)
        heir.copy_of = heir.copy_of_id = None
        self._move_copies(row, heir)
        self._announce(heir)

    def _move_copies(self, old: StoryRow, new: StoryRow) -> None:
        for copy in self._copies_of(old):
            if copy is not new:
                self._touch(copy)
                copy.copy_of, copy.copy_of_id = new, None

    def _copies_of(self, original: StoryRow) -> list[StoryRow]:
        if original.id is not None:
            self._load(stories.c.copy_of == original.id)
        known = [*self._by_id.values(), *self._created]
        return [
            row
            for row in known
            if not row.deleted
            and (row.copy_of is original or (original.id is not None and row.copy_of_id == original.id))
        ]

    def _announce(self, row: StoryRow) -> None:
        for key in row.copy_keys:
            self._originals.setdefault(key, []).append(row)

    def _retire(self, row: StoryRow) -> None:
        for key in row.copy_keys:
            if row in (found := self._originals.get(key, [])):
                found.remove(row)

    # -- loading ----------------------------------------------------------------------------------

    def _load_stories(self, story_ids: Sequence[str]) -> None:
        for chunk in _chunks(sorted(set(story_ids))):
            self._load(stories.c.story_id.in_(chunk))

    def _load_originals(self, scored: Sequence[ScoredStory]) -> None:
        living = [item.enriched for item in scored if item.score is not None]
        if not living:
            return
        window = self._writer.copy_window_minutes
        first = min(enriched.minute for enriched in living) - window
        last = max(enriched.minute for enriched in living) + window
        ids: set[int] = set()
        for chunk in _chunks(sorted({key for enriched in living for key in enriched.copy_keys})):
            ids.update(
                self._connection.scalars(
                    select(copy_keys.c.story_id).where(
                        copy_keys.c.key.in_(chunk), copy_keys.c.minute >= first, copy_keys.c.minute <= last
                    )
                )
            )
        for some in _chunks(sorted(ids)):
            self._load(stories.c.id.in_(some))
        for identity in ids:
            if not (row := self._by_id[identity]).is_copy and not row.deleted:
                self._announce(row)

    def _load(self, condition: Any) -> None:
        query = (
            select(stories, scores.c.label, scores.c.topic, scores.c.negative, scores.c.score)
            .select_from(stories.outerjoin(scores, scores.c.story_id == stories.c.id))
            .where(condition)
        )
        for found in self._connection.execute(query).mappings():
            if found["id"] not in self._by_id:
                row = StoryRow.from_row(dict(found))
                self._by_id[found["id"]] = row
                self._by_key[row.source, row.story_id] = row

    # -- writing ----------------------------------------------------------------------------------

    def _touch(self, row: StoryRow) -> None:
        """Before the first change of a stored row: what it added to the buckets is taken back."""
        if row.id is not None and row.id not in self._touched:
            self._touched[row.id] = row
            self._count(row, -1)

    def _count(self, row: StoryRow, sign: int) -> None:
        for series, minute, counters in row.contributions():
            delta = self._deltas.setdefault((series, minute), [0] * len(COUNTERS))
            for place, value in enumerate(counters):
                delta[place] += sign * value

    def _flush(self) -> None:
        # Originals first: a copy's row names its original's id.
        for rows in (
            [row for row in self._created if row.copy_of is None or row.copy_of.id is not None],
            [row for row in self._created if row.copy_of is not None and row.copy_of.id is None],
        ):
            self._insert_stories(rows)
        if self._touched:
            self._connection.execute(
                update(stories).where(stories.c.id == bindparam("row_id")),
                [{"row_id": row.id, **row.values()} for row in self._touched.values()],
            )
        self._write_scores()
        self._write_copy_keys()
        for row in (*self._created, *self._touched.values()):
            self._count(row, 1)
        self._write_buckets()

    def _insert_stories(self, rows: list[StoryRow]) -> None:
        if not rows:
            return
        ids = self._connection.scalars(
            insert(stories).returning(stories.c.id, sort_by_parameter_order=True), [row.values() for row in rows]
        )
        for row, identity in zip(rows, ids, strict=True):
            row.id = identity

    def _write_scores(self) -> None:
        stale = [row.id for row in self._touched.values() if row.score is not None]
        for chunk in _chunks(stale):
            self._connection.execute(delete(scores).where(scores.c.story_id.in_(chunk)))
        values = [
            {
                "story_id": row.id,
                "classifier": self._writer.classifier,
                "calibration": self._writer.calibration,
                "label": str(score.label),
                "negative": score.negative,
                "neutral": score.neutral,
                "positive": score.positive,
                "score": score.score,
                "confidence": score.confidence,
                "topic": score.topic,
                "topic_confidence": score.topic_confidence,
                "windows": score.windows,
                "truncated": score.truncated,
                "degraded": score.degraded,
                "uncertain": score.uncertain,
                "scored_ms": self._now_ms,
            }
            for row in (*self._created, *self._touched.values())
            if (score := row.score) is not None
        ]
        if values:
            self._connection.execute(insert(scores), values)

    def _write_copy_keys(self) -> None:
        for chunk in _chunks(list(self._touched)):
            self._connection.execute(delete(copy_keys).where(copy_keys.c.story_id.in_(chunk)))
        values = [
            {"key": key, "story_id": row.id, "minute": row.minute}
            for row in (*self._created, *self._touched.values())
            if not row.is_copy and not row.deleted
            for key in dict.fromkeys(row.copy_keys)
        ]
        if values:
            self._connection.execute(insert(copy_keys), values)

    def _write_buckets(self) -> None:
        changed = sorted((key, delta) for key, delta in self._deltas.items() if any(delta))
        if not changed:
            return
        statement = self._writer._insert(buckets)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[buckets.c.series, buckets.c.minute],
                set_={name: buckets.c[name] + statement.excluded[name] for name in COUNTERS},
            ),
            [
                {"series": series, "minute": minute, **dict(zip(COUNTERS, delta, strict=True))}
                for (series, minute), delta in changed
            ],
        )
        # A bucket that nothing is left of must not differ from one that never was.
        for (series, minute), delta in changed:
            if min(delta[:5]) < 0:
                self._connection.execute(
                    delete(buckets).where(
                        buckets.c.series == series,
                        buckets.c.minute == minute,
                        buckets.c.stories == 0,
                        buckets.c.copies == 0,
                    )
                )


def recompute_buckets(connection: Connection) -> dict[tuple[str, int], Counters]:
    """The buckets as stories and scores say they must be: the oracle of the increments."""
    totals: dict[tuple[str, int], list[int]] = {}
    query = (
        select(stories, scores.c.label, scores.c.topic, scores.c.negative, scores.c.score)
        .select_from(stories.join(scores, scores.c.story_id == stories.c.id))
        .execution_options(yield_per=5_000)
    )
    for found in connection.execute(query).mappings():
        for series, minute, counters in StoryRow.from_row(dict(found)).contributions():
            total = totals.setdefault((series, minute), [0] * len(COUNTERS))
            for place, value in enumerate(counters):
                total[place] += value
    return {key: tuple(total) for key, total in totals.items()}  # type: ignore[misc]  # the length is len(COUNTERS)


def stored_buckets(connection: Connection) -> dict[tuple[str, int], Counters]:
    """The buckets as they are."""
    columns = [buckets.c[name] for name in COUNTERS]
    rows = connection.execute(select(buckets.c.series, buckets.c.minute, *columns))
    return {(series, minute): tuple(counters) for series, minute, *counters in rows}


def _dead_values(letter: DeadLetter, now_ms: int) -> dict[str, Any]:
    position = letter.record.position
    return {
        "kafka_topic": position.topic,
        "kafka_partition": position.partition,
        "kafka_offset": position.offset,
        "code": letter.code,
        "detail": letter.detail.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()[:2_000],
        "raw_key": letter.record.key,
        "raw_value": letter.record.value,
        "received_ms": now_ms,
    }


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
