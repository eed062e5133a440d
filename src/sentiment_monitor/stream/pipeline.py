"""The hot loop: poll -> prepare -> score -> write, one thread each, bounded hand-offs between them.

The thread that polls Kafka never waits for the others: when the first hand-off is full it holds the source
(pauses the partitions) and keeps polling, so a slow batch never costs the group membership. Records of one
partition keep their order because every stage is one thread. What a stage cannot do with one record becomes a dead
letter; what it cannot do at all it raises, and that stops the process.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Partition, Record, ScoredStory, Story
from sentiment_monitor.errors import BrokerAway
from sentiment_monitor.ingest.source import Fetched, Source
from sentiment_monitor.score.contract import Classifier
from sentiment_monitor.store.stories.transaction import Written
from sentiment_monitor.stream.ceiling import DeadLetterCeiling
from sentiment_monitor.stream.dropped import DroppedFields
from sentiment_monitor.stream.event_time import EventTime
from sentiment_monitor.stream.handoff import Closed, Handoff
from sentiment_monitor.stream.journal import Journal
from sentiment_monitor.stream.parcel import Parcel
from sentiment_monitor.stream.prepare import Preparing
from sentiment_monitor.stream.replay import Replaying
from sentiment_monitor.stream.scoring import Scoring
from sentiment_monitor.stream.write import WriteOutcome, Writer, Writing
from sentiment_monitor.telemetry.metrics import OUTCOMES, HotLoop

_log = structlog.get_logger()

_POLL_MS = 100
_KAFKA_COMMIT_SECONDS = 1.0  # Kafka's committed offset serves lag tools only
_NOTHING_ASSIGNED_SECONDS = 60.0
_STALLED_SECONDS = 60.0  # nothing stored for so long, though a record has waited for so long: something is wrong


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in records, in stories where a record holds several, in 64 KB where those are larger.

    Each may be exceeded by one record's stories, and ``waiting`` by one fetch.
    """

    waiting: int = 2_000  # fetched, not yet prepared
    prepared: int = 1_000
    scored: int = 2_000
    score_batch: int = 256
    write_batch: int = 1_000


@dataclass(slots=True)
class Progress:
    """Counts since the start. Written by the writing thread."""

    records: int = 0
    written: Written = field(default_factory=Written)
    fenced: int = 0
    batches: int = 0
    last_minute: int | None = None  # newest event-time minute stored


class Pipeline:
    """Runs until :meth:`stop`, an error, or (``exit_when_idle``) the source is read out.

    ``decode`` answers with a record's stories, of which there may be none, and with a dead letter for each that cannot
    be read. It and ``enrich`` may raise RecordError; ``enrich`` answers in the order of its stories. ``now_ms`` is
    the wall clock. ``on_stored(minute)`` is called by the writing thread after each transaction with the event-time
    minute up to which (exclusive) every partition has been stored; None means that nothing is known yet. ``replaying``
    reads dead letters again beside the stages, in a thread of its own.
    """

    def __init__(
        self,
        *,
        source: Source,
        decode: Callable[[Record], Sequence[Story | DeadLetter]],
        enrich: Callable[[Sequence[Story], int], list[EnrichedStory]],
        classifier: Classifier,
        writer: Writer,
        now_ms: Callable[[], int],
        limits: Limits | None = None,
        ceiling: DeadLetterCeiling | None = None,
        on_stored: Callable[[int | None], None] = lambda minute: None,
        exit_when_idle: float | None = None,
        metrics: HotLoop | None = None,
        journal: Journal | None = None,
        replaying: Replaying | None = None,
    ) -> None:
        self._source = source
        self._replaying = replaying
        self._limits = limits or Limits()
        self._on_stored = on_stored
        self._exit_when_idle = exit_when_idle
        self._waiting: Handoff[Parcel] = Handoff("waiting", self._limits.waiting)
        self._prepared: Handoff[Parcel] = Handoff("prepared", self._limits.prepared)
        self._scored: Handoff[Parcel] = Handoff("scored", self._limits.scored)
        self._stopping = threading.Event()
        self._aborting = threading.Event()
        self.metrics = metrics or HotLoop()
        for stage, queue in (("prepare", self._waiting), ("score", self._prepared), ("write", self._scored)):
            self.metrics.stage_waiting_records.labels(stage).set_function(queue.__len__)
        self.metrics.oldest_waiting.set_function(self._oldest_waiting)
        self.metrics.broker_up.set_function(lambda: source.away is None)
        self._fetched_at: deque[float] = deque()  # monotonic seconds, of each fetch that is not done with, in order
        self._stored_at = time.monotonic()
        self._now_ms = now_ms
        self._journal = journal or Journal()
        self._turns = self.metrics.turns
        self._preparing = Preparing(decode, enrich, now_ms, self._aborting, self._journal, self._turns["prepare"])
        self._scoring = Scoring(classifier, self._turns["score"])
        self._writing = Writing(writer, now_ms, ceiling or DeadLetterCeiling(), self._aborting, self._turns["write"])
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._to_commit: dict[Partition, int] = {}
        self._to_reposition: set[Partition] = set()
        self._event_time = EventTime()
        self._dropped = DroppedFields(self.metrics)
        self._in_flight: Counter[Partition] = Counter()  # fetches that are not yet done with
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
        stages.append(threading.Thread(target=self._replay, name="replay", daemon=True))
        for thread in stages:
            thread.start()
        try:
            self._poll()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the stages must end first
            self._fail(error)
        finally:
            self._turns["poll"].rest()
            if self._replaying is not None:
                self._replaying.stop()
            self._waiting.close(drop=self._aborting.is_set())
            for thread in stages:
                while thread.is_alive():
                    thread.join(0.2)
                    if self._aborting.is_set():
                        self._drop_all()
            self._journal.close()
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

    @property
    def broker_away(self) -> str | None:
        """Why no broker can be reached; None while one can."""
        return self._source.away

    @property
    def trouble(self) -> str | None:
        """What is wrong when records wait and nothing gets stored; None while it does."""
        waited, idle = self._oldest_waiting(), time.monotonic() - self._stored_at
        if min(waited, idle) < _STALLED_SECONDS:
            return None
        waiting = ", ".join(f"{count} to {stage}" for stage, count in self.queues.items() if count)
        return f"nothing was stored for {idle:.0f} s; a record has waited for {waited:.0f} s ({waiting or 'in work'})"

    def _oldest_waiting(self) -> float:
        try:
            return time.monotonic() - self._fetched_at[0]
        except IndexError:
            return 0.0

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
        stage: Callable[[list[Parcel]], tuple[list[Parcel], list[Parcel]]],
        feed: Handoff[Parcel],
        following: Handoff[Parcel] | None,
    ) -> None:
        most = {"waiting": 200, "prepared": self._limits.score_batch, "scored": self._limits.write_batch}[feed.name]
        name = threading.current_thread().name
        try:
            while not self._aborting.is_set():
                left = feed.take(most)
                while left and not self._aborting.is_set():
                    with self.metrics.turn(name):
                        done, left = stage(left)
                    if following is not None:
                        for parcel in done:
                            following.put(parcel)
        except Closed:
            if following is not None:
                following.close()
        except BaseException as error:  # noqa: BLE001  # a stage that dies takes the process with it
            self._fail(error)

    def _replay(self) -> None:
        try:
            if self._replaying is not None:
                self._replaying.run()
        except BaseException as error:  # noqa: BLE001  # as in a stage
            self._fail(error)

    # -- poll -------------------------------------------------------------------------------------

    def _poll(self) -> None:
        began = last_record = last_commit = time.monotonic()
        assigned_once = False
        while not self._stopping.is_set():
            self._turns["poll"].moved()
            with self._lock:
                lost, self._to_reposition = self._to_reposition, set()
            for partition in lost:
                self._source.reposition(partition)
            fetched = self._source.poll(_POLL_MS, hold=self._waiting.full)
            now = time.monotonic()
            lag = self._source.lag()
            self.metrics.partitions.set(lag)
            with self._lock:
                self._in_flight.update(run.partition for run in fetched)
                in_flight = +self._in_flight
                to_read_again = bool(self._to_reposition)
            # Before the stages see the records: event time must not run ahead of what is on its way.
            self._event_time.seen({p: left if left is None else left + in_flight[p] for p, left in lag.items()}, now)
            for run in fetched:
                self._accept(run, now)
            assigned_once = assigned_once or bool(lag)
            replaying = self._replaying is not None and not self._replaying.idle
            if in_flight or to_read_again or replaying or not self._source.caught_up():
                last_record = now
            elif self._exit_when_idle is not None and now - last_record >= self._exit_when_idle:
                _log.info("source.idle", seconds=self._exit_when_idle)
                self.read_out = True
                return
            if not assigned_once:
                if now - last_commit > _NOTHING_ASSIGNED_SECONDS:
                    if self._exit_when_idle is not None:
                        raise BrokerAway("no partition was assigned within 60 s: does the topic exist, is a broker up?")
                    _log.warning(
                        "partitions.none_yet",
                        seconds=round(now - began),
                        hint="does the topic exist, is a broker up, or has the group more members than partitions?",
                    )
                    last_commit = now
                continue
            if now - last_commit >= _KAFKA_COMMIT_SECONDS:
                last_commit = now
                self._commit_to_kafka()

    def _accept(self, fetched: Fetched, now: float) -> None:
        self._fetched_at.append(now)
        # Never waits, and is bounded all the same: ``hold`` stops the fetching before the next poll.
        self._waiting.put(
            Parcel(fetched.partition, fetched.epoch, fetched.start_offset, fetched.next_offset, now, fetched.records),
            wait=False,
        )

    def _commit_to_kafka(self) -> None:
        with self._lock:
            offsets, self._to_commit = self._to_commit, {}
        if offsets:
            self._source.commit(offsets)

    def _ours(self, parcels: list[Parcel]) -> list[Parcel]:
        """Those whose partition has not been taken away, nor placed anew, since they were fetched."""
        return [parcel for parcel in parcels if self._source.epoch(parcel.partition) == parcel.epoch]

    # -- the stages: each answers with what it has done, and with what is left ----------------------

    def _prepare(self, parcels: list[Parcel]) -> tuple[list[Parcel], list[Parcel]]:
        """As many as hand on some thousand stories: how many a record holds nobody knows before."""
        done, stories = [], 0
        for index, parcel in enumerate(parcels):
            portion, rest = self._preparing.portion(parcel)
            done.append(portion)
            stories += len(portion)
            if rest is not None or stories >= self._limits.prepared:
                return done, [*([] if rest is None else [rest]), *parcels[index + 1 :]]
        return done, []

    def _score(self, parcels: list[Parcel]) -> tuple[list[Parcel], list[Parcel]]:
        self._scoring.score(self._ours(parcels))  # what the writing thread will drop is not worth the time
        return parcels, []

    def _write(self, parcels: list[Parcel]) -> tuple[list[Parcel], list[Parcel]]:
        started = time.monotonic()
        outcome = self._writing.write(self._ours(parcels))
        for partition, stored in outcome.stored.items():
            self._event_time.stored(partition, [minute for parcel in stored for minute in parcel.minutes])
        with self._lock:
            self._to_commit |= {partition: stored[-1].next_offset for partition, stored in outcome.stored.items()}
            self._to_reposition |= outcome.fenced
            self._in_flight.subtract(parcel.partition for parcel in parcels if parcel.ends_fetch)
        for parcel in parcels:  # every stage keeps the order, so these are the oldest
            if parcel.ends_fetch:
                self._fetched_at.popleft()
        self.progress.fenced += len(outcome.fenced)
        self.metrics.fenced.inc(len(outcome.fenced))
        if outcome.stored:
            self._report(outcome, started)
            self._turns["write"].rest()  # what follows accounts for itself
            self._on_stored(self._event_time.complete_before())
        return parcels, []

    def _report(self, outcome: WriteOutcome, started: float) -> None:
        self._stored_at = now = time.monotonic()
        parcels = [parcel for run in outcome.stored.values() for parcel in run]
        written = outcome.written
        records = sum(len(parcel.records) for parcel in parcels)
        progress = self.progress
        progress.batches += 1
        progress.records += records
        progress.written += written
        progress.last_minute = self._event_time.newest
        self._measure(parcels, records, written, now)
        self._dropped.seen([item for parcel in parcels for item in parcel.items if isinstance(item, ScoredStory)], now)
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

    def _measure(self, parcels: list[Parcel], records: int, written: Written, now: float) -> None:
        metrics = self.metrics
        metrics.batches.inc()
        metrics.records.inc(records)
        metrics.dead_letters.inc(written.dead)
        for outcome in OUTCOMES:
            metrics.stories.labels(outcome).inc(getattr(written, outcome))
        if self.progress.last_minute is not None:
            metrics.newest_story.set(self.progress.last_minute * 60)
        stored_ms = self._now_ms()
        metrics.last_write.set(stored_ms / 1000)
        for parcel in parcels:
            published = parcel.published_ms
            metrics.published_to_stored.observe((stored_ms - instant) / 1000 for instant in published)
            metrics.received_to_stored.observe([now - parcel.fetched_at] * len(published))
