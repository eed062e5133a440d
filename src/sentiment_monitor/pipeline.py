"""The hot loop: poll -> prepare -> score -> write, one thread each, bounded hand-offs between them.

The thread that polls Kafka never waits for the others: when the first hand-off is full it holds the source
(pauses the partitions) and keeps polling, so a slow batch never costs the group membership. Records of one
partition keep their order because every stage is one thread. What a stage cannot do with one record is found by
bisection and becomes a dead letter; what it cannot do at all stops the process.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from sentiment_monitor.domain import Action, DeadLetter, EnrichedStory, Record, Score, ScoredStory, Story, Text
from sentiment_monitor.errors import BrokerAway, DatabaseAway, FatalError, Fenced, RecordError
from sentiment_monitor.handoff import Closed, Handoff
from sentiment_monitor.ingest.source import Fetched, Partition, Source
from sentiment_monitor.store.batches import Batch, Written

_log = structlog.get_logger()

_POLL_MS = 100
_KAFKA_COMMIT_SECONDS = 1.0  # Kafka's committed offset serves lag tools only
_DRAINED_SECONDS = 5.0  # event clock: a partition that is read out this long no longer holds time back
_NOTHING_ASSIGNED_SECONDS = 60.0
_ISOLATE_ATTEMPTS = 3  # before a batch that the database refuses is taken apart


class Classifier(Protocol):
    """What the hot loop asks of a classifier."""

    @property
    def languages(self) -> Sequence[str]: ...

    def score(self, texts: Sequence[Text]) -> list[Score]: ...


class Writer(Protocol):
    """What the hot loop asks of the store."""

    def commit(self, batch: Batch, now_ms: int) -> Written: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in records. Memory is bounded by their sum times the largest message."""

    waiting: int = 2_000  # fetched, not yet prepared
    prepared: int = 1_000
    scored: int = 2_000
    score_batch: int = 256
    write_batch: int = 1_000


@dataclass(frozen=True, slots=True)
class DeadLetterCeiling:
    """When broken records are no longer an accident: see settings.DeadLetters."""

    max_ratio: float = 0.5
    window: int = 1_000
    max_consecutive: int = 200


@dataclass(slots=True)
class Progress:
    """Counts since the start, for people and metrics. Written by the writing thread only."""

    records: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    copies: int = 0
    duplicates: int = 0
    dead: int = 0
    fenced: int = 0
    batches: int = 0
    last_minute: int | None = None  # newest event-time minute stored
    busy_seconds: dict[str, float] = field(default_factory=lambda: {"prepare": 0.0, "score": 0.0, "write": 0.0})


@dataclass(slots=True)
class _Parcel:
    """A run of one partition's records on its way through the stages."""

    partition: Partition
    epoch: int
    start_offset: int
    next_offset: int
    fetched_at: float  # monotonic seconds
    records: Sequence[Record]
    items: list[EnrichedStory | ScoredStory | DeadLetter] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)


class Pipeline:
    """Runs until :meth:`stop`, an error, or (``exit_when_idle``) the source is read out.

    ``decode`` and ``enrich`` may raise RecordError; ``enrich`` answers in the order of its stories. ``now_ms`` is
    the wall clock. ``on_stored(minute)`` is called by the writing thread after each transaction with the event-time
    minute up to which (exclusive) every partition has been stored; None means that nothing is known yet.
    """

    def __init__(
        self,
        *,
        source: Source,
        decode: Callable[[Record], Story],
        enrich: Callable[[Sequence[Story], int], list[EnrichedStory]],
        classifier: Classifier,
        writer: Writer,
        now_ms: Callable[[], int],
        limits: Limits | None = None,
        ceiling: DeadLetterCeiling | None = None,
        on_stored: Callable[[int | None], None] = lambda minute: None,
        exit_when_idle: float | None = None,
    ) -> None:
        self._source = source
        self._decode = decode
        self._enrich = enrich
        self._classifier = classifier
        self._writer = writer
        self._now_ms = now_ms
        self._limits = limits or Limits()
        self._ceiling = _Ceiling(ceiling or DeadLetterCeiling())
        self._store_ceiling = _Ceiling(ceiling or DeadLetterCeiling())  # of records that only the database refuses
        self._on_stored = on_stored
        self._exit_when_idle = exit_when_idle
        self._waiting: Handoff[_Parcel] = Handoff("waiting", self._limits.waiting)
        self._prepared: Handoff[_Parcel] = Handoff("prepared", self._limits.prepared)
        self._scored: Handoff[_Parcel] = Handoff("scored", self._limits.scored)
        self._stopping = threading.Event()
        self._aborting = threading.Event()
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._to_commit: dict[Partition, int] = {}
        self._to_reposition: set[Partition] = set()
        self._minutes = _EventTime()
        self._in_flight: Counter[Partition] = Counter()  # parcels fetched and not yet done with
        self._writing: list[_Parcel] = []
        self.progress = Progress()
        self.read_out = False  # run() ended because nothing was left, not because it was told to

    # -- control ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Blocks until the end. Raises what stopped it, unless that was :meth:`stop`."""
        stages = [
            threading.Thread(target=self._guard, args=(stage, feed, following), name=name, daemon=True)
            for name, stage, feed, following in (
                ("prepare", self._prepare, self._waiting, self._prepared),
                ("score", self._score, self._prepared, self._scored),
                ("write", self._write, self._scored, None),
            )
        ]
        for thread in stages:
            thread.start()
        try:
            self._poll()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the stages must end first
            self._fail(error)
        finally:
            self._waiting.close(drop=self._aborting.is_set())
            for thread in stages:
                while thread.is_alive():
                    thread.join(0.2)
                    if self._aborting.is_set():
                        self._drop_all()
            self._commit_to_kafka()
            self._source.close()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stops fetching; what was fetched is stored before :meth:`run` returns. Safe in a signal handler."""
        self._stopping.set()

    def abort(self) -> None:
        """Stops at once; what is not stored will be read again. Safe in a signal handler."""
        self._stopping.set()
        self._aborting.set()

    @property
    def queues(self) -> Mapping[str, int]:
        """Records waiting before each stage."""
        return {"prepare": len(self._waiting), "score": len(self._prepared), "write": len(self._scored)}

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
        self.abort()
        self._drop_all()

    def _drop_all(self) -> None:
        for handoff in (self._waiting, self._prepared, self._scored):
            handoff.close(drop=True)

    def _guard(
        self,
        stage: Callable[[list[_Parcel]], None],
        feed: Handoff[_Parcel],
        following: Handoff[_Parcel] | None,
    ) -> None:
        most = {"waiting": 200, "prepared": self._limits.score_batch, "scored": self._limits.write_batch}[feed.name]
        name = threading.current_thread().name
        try:
            while not self._aborting.is_set():
                parcels = feed.take(most)
                started = time.monotonic()
                stage(parcels)
                self.progress.busy_seconds[name] += time.monotonic() - started
                if following is not None:
                    for parcel in parcels:
                        following.put(parcel)
        except Closed:
            if following is not None:
                following.close()
        except BaseException as error:  # noqa: BLE001  # a stage that dies takes the process with it
            self._fail(error)

    # -- poll -------------------------------------------------------------------------------------

    def _poll(self) -> None:
        last_record = last_commit = time.monotonic()
        assigned_once = False
        while not self._stopping.is_set():
            with self._lock:
                lost, self._to_reposition = self._to_reposition, set()
            for partition in lost:
                self._source.reposition(partition)
            fetched = self._source.poll(_POLL_MS, hold=self._waiting.full)
            now = time.monotonic()
            lag = self._source.lag()
            with self._lock:
                self._in_flight.update(one.partition for one in fetched)
                in_flight = +self._in_flight
            # Before the stages see the records: event time must not run ahead of what is on its way.
            self._minutes.seen({p: left if left is None else left + in_flight[p] for p, left in lag.items()}, now)
            for one in fetched:
                self._accept(one, now)
            assigned_once = assigned_once or bool(lag)
            if in_flight or not self._source.caught_up():
                last_record = now
            elif self._exit_when_idle is not None and now - last_record >= self._exit_when_idle:
                _log.info("source.idle", seconds=self._exit_when_idle)
                self.read_out = True
                return
            if self._exit_when_idle is not None and not assigned_once:
                if now - last_commit > _NOTHING_ASSIGNED_SECONDS:
                    raise BrokerAway("no partition was assigned within 60 s: does the topic exist, is a broker up?")
                continue
            if now - last_commit >= _KAFKA_COMMIT_SECONDS:
                last_commit = now
                self._commit_to_kafka()

    def _accept(self, fetched: Fetched, now: float) -> None:
        # Never waits, and is bounded all the same: ``hold`` stops the fetching before the next poll.
        self._waiting.put(
            _Parcel(fetched.partition, fetched.epoch, fetched.start_offset, fetched.next_offset, now, fetched.records),
            wait=False,
        )

    def _commit_to_kafka(self) -> None:
        with self._lock:
            offsets, self._to_commit = self._to_commit, {}
        if offsets:
            self._source.commit(offsets)

    # -- prepare ----------------------------------------------------------------------------------

    def _prepare(self, parcels: list[_Parcel]) -> None:
        for parcel in parcels:
            received_ms = self._now_ms()
            decoded = [self._decode_one(record) for record in parcel.records]
            readable = [(r, one) for r, one in zip(parcel.records, decoded, strict=True) if isinstance(one, Story)]
            enriched = iter(self._enrich_isolating(readable, received_ms))
            parcel.items = [next(enriched) if isinstance(one, Story) else one for one in decoded]

    def _decode_one(self, record: Record) -> Story | DeadLetter:
        try:
            return self._decode(record)
        except Exception as error:  # noqa: BLE001
            return _unprepared(record, error)

    def _enrich_isolating(
        self, stories: Sequence[tuple[Record, Story]], received_ms: int
    ) -> list[EnrichedStory | DeadLetter]:
        """Halves a failing batch until the culprit is alone."""
        if not stories:
            return []
        try:
            return list(self._enrich([story for _, story in stories], received_ms))
        except Exception as error:  # noqa: BLE001
            if len(stories) == 1:
                return [_unprepared(stories[0][0], error)]
            middle = len(stories) // 2
            return self._enrich_isolating(stories[:middle], received_ms) + self._enrich_isolating(
                stories[middle:], received_ms
            )

    # -- score ------------------------------------------------------------------------------------

    def _score(self, parcels: list[_Parcel]) -> None:
        places = [
            (parcel, index, item)
            for parcel in parcels
            for index, item in enumerate(parcel.items)
            if isinstance(item, EnrichedStory)
        ]
        living = [item for _, _, item in places if item.story.action is not Action.DELETED]
        scores = iter(self._score_isolating([Text(item.text, item.body_text) for item in living]))
        for parcel, index, item in places:
            if item.story.action is Action.DELETED:
                parcel.items[index] = ScoredStory(item, None)
                continue
            score = next(scores)
            if isinstance(score, str):
                parcel.items[index] = DeadLetter(parcel.records[index], "score_failed", score)
            else:
                trained_on = self._classifier.languages
                known = not trained_on or item.language == "und" or item.language in trained_on
                parcel.items[index] = ScoredStory(item, score if known else replace(score, degraded=True))

    def _score_isolating(self, texts: list[Text]) -> list[Score | str]:
        """A score for each text, or what went wrong with it. Halves a failing batch until the culprit is alone."""
        if not texts:
            return []
        try:
            return list(self._classifier.score(texts))
        except FatalError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever an engine raises about one text
            if len(texts) == 1:
                _log.exception("record.score_failed", headline=texts[0].headline[:80])
                return [f"{type(error).__name__}: {error}"]
            middle = len(texts) // 2
            return self._score_isolating(texts[:middle]) + self._score_isolating(texts[middle:])

    # -- write ------------------------------------------------------------------------------------

    def _write(self, parcels: list[_Parcel]) -> None:
        self._writing = parcels
        current = [parcel for parcel in parcels if self._source.epoch(parcel.partition) == parcel.epoch]
        started = time.monotonic()
        written = Written()
        by_partition: dict[Partition, list[_Parcel]] = {}
        for parcel in current:
            by_partition.setdefault(parcel.partition, []).append(parcel)
        self._ceiling.check([item for parcel in current for item in parcel.items])
        stored = list(by_partition)
        if current:
            try:
                _add(written, self._commit(_batch(by_partition.values())))
            except Fenced:
                # One of the partitions is no longer ours; the others still are.
                stored = [partition for partition, own in by_partition.items() if self._write_alone(own, written)]
        for partition in stored:
            own = by_partition[partition]
            self._minutes.stored(partition, [_minute(item) for parcel in own for item in parcel.items])
            with self._lock:
                self._to_commit[partition] = own[-1].next_offset
        with self._lock:
            self._in_flight.subtract(parcel.partition for parcel in parcels)
        if stored:
            self._report([parcel for partition in stored for parcel in by_partition[partition]], written, started)
            self._on_stored(self._minutes.complete_before())

    def _write_alone(self, parcels: list[_Parcel], written: Written) -> bool:
        try:
            _add(written, self._commit(_batch([parcels])))
        except Fenced as error:
            _log.warning("batch.fenced", reason=str(error), records=sum(map(len, parcels)))
            self.progress.fenced += 1
            with self._lock:
                self._to_reposition.add(parcels[0].partition)
            return False
        return True

    def _commit(self, batch: Batch) -> Written:
        """Stores a batch; waits for a database that is away; takes apart a batch that the database refuses."""
        pause, away_since, refused = 0.05, None, 0
        while True:
            try:
                result = self._writer.commit(batch, self._now_ms())
            except DatabaseAway as error:
                if away_since is None:
                    away_since = time.monotonic()
                    _log.warning("database.away", error=str(error))
                if self._aborting.wait(pause):
                    raise
                pause = min(pause * 2, 10.0)
            except (Fenced, FatalError):
                raise
            except Exception as error:  # noqa: BLE001  # whatever a driver raises about one value
                refused += 1
                _log.warning("batch.refused", error=f"{type(error).__name__}: {error}", attempt=refused)
                if refused >= _ISOLATE_ATTEMPTS:
                    return self._isolate(batch, error)
            else:
                if away_since is not None:
                    _log.info("database.back", seconds=round(time.monotonic() - away_since, 1))
                self._store_ceiling.check(batch.scored)
                return result

    def _isolate(self, batch: Batch, error: Exception) -> Written:
        total = Written()
        parts = _split(batch)
        if len(parts) > 1:
            for part in parts:
                _add(total, self._commit(part))
            return total
        if not batch.scored:  # even the dead letter is refused: block, never drop
            raise FatalError(f"the database refuses a dead letter: {error}") from error
        position = batch.scored[0].enriched.story.position
        record = next(one for parcel in self._writing for one in parcel.records if one.position == position)
        _log.error("record.store_failed", error=f"{type(error).__name__}: {error}", **_where(record))
        letter = DeadLetter(record, "store_failed", f"{type(error).__name__}: {error}")
        self._store_ceiling.check([letter])
        return self._commit(Batch(batch.offsets, dead=[letter]))

    def _report(self, parcels: list[_Parcel], written: Written, started: float) -> None:
        now = time.monotonic()
        records = sum(map(len, parcels))
        progress = self.progress
        progress.batches += 1
        progress.records += records
        for name in ("created", "updated", "deleted", "copies", "duplicates", "dead"):
            setattr(progress, name, getattr(progress, name) + getattr(written, name))
        progress.last_minute = self._minutes.newest
        _log.info(
            "batch.stored",
            records=records,
            created=written.created,
            copies=written.copies,
            changed=written.updated + written.deleted,
            duplicates=written.duplicates,
            dead=written.dead,
            write_ms=round((now - started) * 1000, 1),
            oldest_ms=round((now - min(parcel.fetched_at for parcel in parcels)) * 1000, 1),
            waiting=dict(self.queues),
        )


class _Ceiling:
    """Counts dead letters and raises when they are no longer an accident."""

    def __init__(self, ceiling: DeadLetterCeiling) -> None:
        self._ceiling = ceiling
        self._recent: deque[bool] = deque(maxlen=ceiling.window)
        self._dead = 0
        self._consecutive = 0

    def check(self, items: Sequence[object]) -> None:
        for item in items:
            dead = isinstance(item, DeadLetter)
            if len(self._recent) == self._recent.maxlen:
                self._dead -= self._recent[0]
            self._recent.append(dead)
            self._dead += dead
            self._consecutive = self._consecutive + 1 if dead else 0
            reason = f"{item.code}: {item.detail}" if isinstance(item, DeadLetter) else ""
            if self._consecutive >= self._ceiling.max_consecutive:
                raise FatalError(
                    f"{self._consecutive} records in a row could not be read or stored (last: {reason}). Nothing is "
                    "lost: they stay in Kafka. Is the mapping in the settings right for this feed? If they are to be "
                    "put aside all the same, raise dead_letters.max_consecutive."
                )
            if len(self._recent) == self._recent.maxlen and self._dead > self._ceiling.max_ratio * len(self._recent):
                raise FatalError(
                    f"{self._dead} of the last {len(self._recent)} records could not be read or stored (last: "
                    f"{reason}). Nothing is lost: they stay in Kafka. See `monitor dead-letters`, then mend the feed "
                    "or its mapping, or raise dead_letters.max_ratio."
                )


class _EventTime:
    """How far event time is complete, over partitions that run at different speeds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[Partition, int] = {}
        self._left: Mapping[Partition, int | None] = {}
        self._read_out_since: dict[Partition, float] = {}
        self._now = 0.0
        self.newest: int | None = None

    def seen(self, left: Mapping[Partition, int | None], now: float) -> None:
        """The poller's view: what is left to store of each assigned partition; None: not known yet."""
        with self._lock:
            self._left, self._now = dict(left), now
            for partition, several in left.items():
                if several == 0:
                    self._read_out_since.setdefault(partition, now)
                else:
                    self._read_out_since.pop(partition, None)

    def stored(self, partition: Partition, minutes: Sequence[int | None]) -> None:
        """The writer's view: event-time minutes that are now in SQL."""
        known = [minute for minute in minutes if minute is not None]
        if not known:
            return
        with self._lock:
            self._last[partition] = max(self._last.get(partition, 0), *known)
            self.newest = max(self.newest or 0, *known)
            self._read_out_since.pop(partition, None)

    def complete_before(self) -> int | None:
        """The minute before which every partition that still has something to say is stored."""
        with self._lock:
            holding = []
            for partition, left in self._left.items():
                since = self._read_out_since.get(partition)
                if since is not None and self._now - since > _DRAINED_SECONDS:
                    continue
                if partition not in self._last:
                    if left != 0:
                        return None
                    continue
                holding.append(self._last[partition])
            return min(holding, default=self.newest)


def _batch(groups: Iterable[list[_Parcel]]) -> Batch:
    parcels = list(groups)
    return Batch(
        offsets={own[0].partition: (own[0].start_offset, own[-1].next_offset) for own in parcels},
        scored=[item for own in parcels for parcel in own for item in parcel.items if isinstance(item, ScoredStory)],
        dead=[item for own in parcels for parcel in own for item in parcel.items if isinstance(item, DeadLetter)],
    )


def _split(batch: Batch) -> list[Batch]:
    """The batch in two, each advancing the offsets over what it holds; one record cannot be split."""
    items: list[ScoredStory | DeadLetter] = sorted((*batch.scored, *batch.dead), key=_position_of)
    if len(items) < 2:
        return [batch]
    parts: list[Batch] = []
    first, second = items[: len(items) // 2], items[len(items) // 2 :]
    reached: dict[Partition, int] = {}
    for part, last in ((first, False), (second, True)):
        offsets = {}
        for partition, (start, following) in batch.offsets.items():
            begin = reached.get(partition, start)
            mine = [_position_of(item)[2] for item in part if _position_of(item)[:2] == partition]
            end = following if last else (max(mine) + 1 if mine else begin)
            if end != begin:
                offsets[partition] = (begin, end)
            reached[partition] = end
        parts.append(
            Batch(
                offsets,
                [item for item in part if isinstance(item, ScoredStory)],
                [item for item in part if isinstance(item, DeadLetter)],
            )
        )
    return parts


def _position_of(item: ScoredStory | DeadLetter) -> tuple[str, int, int]:
    position = item.record.position if isinstance(item, DeadLetter) else item.enriched.story.position
    return (position.topic, position.partition, position.offset)


def _minute(item: object) -> int | None:
    return item.enriched.minute if isinstance(item, ScoredStory) else None


def _add(total: Written, more: Written) -> None:
    for name in Written.__dataclass_fields__:
        setattr(total, name, getattr(total, name) + getattr(more, name))


def _unprepared(record: Record, error: Exception) -> DeadLetter:
    if isinstance(error, RecordError):
        return DeadLetter(record, error.code, error.detail)
    # A bug that one record triggers must not stop the others; the dead letter keeps the record.
    _log.error("record.prepare_failed", exc_info=error, **_where(record))
    return DeadLetter(record, "prepare_failed", f"{type(error).__name__}: {error}")


def _where(record: Record) -> dict[str, object]:
    position = record.position
    return {"topic": position.topic, "partition": position.partition, "offset": position.offset}
