"""The hot loop on a memory source: order, isolation, back-pressure, stopping, and event time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from sentiment_monitor.domain.news import Action, EnrichedStory, Record, Score, Scorer, Story, Text
from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.errors import BrokerAway, DatabaseAway, FatalError, RecordError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.ingest.source import Fetched
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.store import dropped_fields
from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.schema import consumer_offsets, dead_letters, stories
from sentiment_monitor.store.stories.transaction import Batch, StoryWriter
from sentiment_monitor.stream.ceiling import DeadLetterCeiling
from sentiment_monitor.stream.pipeline import Limits, Pipeline
from writing import NOW, MemoryWriter

P0, P1 = ("news", 0), ("news", 1)
TIMEOUT = 30.0


def news(number: int, **fields: Any) -> bytes:
    return json.dumps({"headline": f"story number {number}", "id": str(number), **fields}).encode()


_ENRICHER = Enricher(clean)


def pipeline(source: MemorySource, writer: Any, classifier: Any = None, **options: Any) -> Pipeline:
    return Pipeline(
        source=source,
        decode=options.pop("decode", Decoder().decode),
        enrich=options.pop("enrich", _ENRICHER.enrich_all),
        classifier=classifier or StubClassifier(),
        writer=writer,
        now_ms=lambda: NOW,
        exit_when_idle=options.pop("exit_when_idle", 0.0),
        **options,
    )


@contextmanager
def running(one: Pipeline) -> Iterator[list[BaseException]]:
    """Runs a pipeline beside the block; what it raised is in the list afterwards."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            one.run()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield raised
    finally:
        one.abort()
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "the pipeline did not stop"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def writer() -> MemoryWriter:
    return MemoryWriter()


@pytest.fixture
def source(writer: MemoryWriter) -> MemorySource:
    return MemorySource(writer.positions, max_poll_records=50)


# -- the way through --------------------------------------------------------------------------------


def test_every_record_of_a_partition_is_stored_once_and_in_order(source: MemorySource, writer: MemoryWriter) -> None:
    source.append(P0, [news(n) for n in range(0, 600, 2)])
    source.append(P1, [news(n) for n in range(1, 600, 2)])
    one = pipeline(source, writer)
    one.run()
    assert sorted(map(int, writer.stored)) == list(range(600))
    for parity in (0, 1):
        own = [int(n) for n in writer.stored if int(n) % 2 == parity]
        assert own == sorted(own)
    assert writer.offsets == source.committed == {P0: 300, P1: 300}
    assert (one.progress.records, one.progress.written.created, one.read_out) == (600, 600, True)


def test_an_empty_source_ends_when_it_is_idle(source: MemorySource, writer: MemoryWriter) -> None:
    source.assign(P0)
    pipeline(source, writer, exit_when_idle=0.05).run()
    assert writer.batches == []


def test_a_record_that_cannot_be_read_becomes_a_dead_letter_in_its_place(
    source: MemorySource, writer: MemoryWriter
) -> None:
    source.append(P0, [news(0), b"\xff", b"", news(3), b"{}"])
    one = pipeline(source, writer)
    one.run()
    assert writer.stored == ["0", "3"]
    assert writer.dead == [("not_utf8", 1), ("empty", 2), ("no_headline", 4)]
    assert writer.offsets == {P0: 5}
    assert one.progress.written.dead == 3


def test_a_bug_that_one_record_triggers_is_a_dead_letter_too(source: MemorySource, writer: MemoryWriter) -> None:
    def enrich(stories: Sequence[Story], received_ms: int) -> list[EnrichedStory]:
        for story in stories:
            if story.story_id == "1":
                raise ZeroDivisionError("a bug")
            if story.story_id == "2":
                raise RecordError("odd", "detail")
        return _ENRICHER.enrich_all(stories, received_ms)

    source.append(P0, [news(n) for n in range(4)])
    pipeline(source, writer, enrich=enrich).run()
    assert (writer.stored, writer.dead) == (["0", "3"], [("prepare_failed", 1), ("odd", 2)])
    assert writer.batches[0].dead[0].detail == "ZeroDivisionError: a bug"


def test_a_deletion_is_not_scored(source: MemorySource, writer: MemoryWriter) -> None:
    class Listening(StubClassifier):
        read: Sequence[Text] = ()

        def score(self, texts: Sequence[Text]) -> list[Score]:
            self.read = [*self.read, *texts]
            return super().score(texts)

    classifier = Listening()
    source.append(P0, [news(0), news(1, action="deleted"), news(2)])
    pipeline(source, writer, classifier).run()
    assert [text.headline for text in classifier.read] == ["story number 0", "story number 2"]
    stored = [one for batch in writer.batches for one in batch.scored]
    assert [one.score is None for one in stored] == [False, True, False]
    assert stored[1].enriched.story.action is Action.DELETED


def test_a_language_the_classifier_was_not_trained_on_is_marked(source: MemorySource, writer: MemoryWriter) -> None:
    source.append(P0, [news(0, language="en"), news(1, language="zh"), news(2, headline="x")])
    pipeline(source, writer).run()
    scores = [one.score for batch in writer.batches for one in batch.scored]
    assert [score is not None and score.degraded for score in scores] == [False, True, False]


def test_stories_queued_while_the_classifier_changes_name_the_one_that_scored_them(
    source: MemorySource, writer: MemoryWriter
) -> None:
    """One batch is with the old classifier, those behind it meet the new one; none is stored before all are scored."""

    class Changing(StubClassifier):
        """Says that it is another from the second batch on."""

        def score(self, texts: Sequence[Text]) -> list[Score]:
            scores = [replace(score, by=self.by) for score in super().score(texts)]
            self.by = Scorer("new@2", "temperature 1.500")
            return scores

    classifier = Changing()
    old = classifier.by
    source.append(P0, [news(n) for n in range(100)])
    pipeline(source, writer, classifier, limits=Limits(score_batch=50)).run()
    givers = {
        int(item.enriched.story.story_id): item.score.by
        for batch in writer.batches
        for item in batch.scored
        if item.score
    }
    assert [givers[n] for n in range(100)] == [old] * 50 + [Scorer("new@2", "temperature 1.500")] * 50


# -- what goes wrong with one record ----------------------------------------------------------------


class Choking(StubClassifier):
    """Fails on every batch that holds a text with one of the words."""

    def __init__(self, *words: str, error: type[Exception] = RuntimeError) -> None:
        self.words, self.error = words, error

    def score(self, texts: Sequence[Text]) -> list[Score]:
        if any(word in text.headline.split() for text in texts for word in self.words):
            raise self.error("choked")
        return super().score(texts)


def test_a_text_that_cannot_be_scored_does_not_take_its_batch_along(source: MemorySource, writer: MemoryWriter) -> None:
    source.append(P0, [news(n) for n in range(40)])
    pipeline(source, writer, Choking("7", "39")).run()
    assert writer.dead == [("score_failed", 7), ("score_failed", 39)]
    assert writer.stored == [str(n) for n in range(40) if n not in (7, 39)]


def test_a_fatal_error_of_the_classifier_stops_the_process(source: MemorySource, writer: MemoryWriter) -> None:
    source.append(P0, [news(n) for n in range(4)])
    with pytest.raises(FatalError, match="choked"):
        pipeline(source, writer, Choking("2", error=FatalError)).run()
    assert writer.stored == []


@given(
    bad=st.sets(st.integers(0, 29)),
    unreadable=st.sets(st.integers(0, 29)),
    split=st.integers(0, 30),
    poll=st.sampled_from([3, 500]),
)
def test_a_value_the_database_refuses_is_found_and_the_offsets_advance_exactly(
    bad: set[int], unreadable: set[int], split: int, poll: int
) -> None:
    writer = MemoryWriter()

    def refuse(batch: Batch) -> None:
        if any(int(one.enriched.story.story_id) in bad for one in batch.scored):
            raise ValueError("no such value")

    writer.fail = refuse
    source = MemorySource(writer.positions, max_poll_records=poll)
    for partition, numbers in ((P0, range(split)), (P1, range(split, 30))):
        source.append(partition, [b"{}" if n in unreadable else news(n) for n in numbers])
    pipeline(source, writer, ceiling=DeadLetterCeiling(max_ratio=1)).run()
    assert sorted(map(int, writer.stored)) == [n for n in range(30) if n not in bad | unreadable]
    failed = sorted(offset for code, offset in writer.dead if code == "store_failed")
    assert failed == sorted(n - (split if n >= split else 0) for n in bad - unreadable)
    assert len(writer.dead) == len(bad | unreadable)
    assert writer.offsets == {P0: split, P1: 30 - split}


def test_when_even_the_dead_letter_is_refused_the_process_stops(source: MemorySource, writer: MemoryWriter) -> None:
    def refuse(batch: Batch) -> None:
        raise ValueError("nothing goes")

    writer.fail = refuse
    source.append(P0, [news(0), news(1)])
    with pytest.raises(FatalError, match="refuses a dead letter"):
        pipeline(source, writer).run()
    assert writer.offsets == {P0: 0}


def test_a_database_that_refuses_every_story_stops_the_process_and_not_the_news(
    source: MemorySource, writer: MemoryWriter
) -> None:
    def refuse(batch: Batch) -> None:
        if batch.scored:
            raise ValueError("permission denied for table scores")

    writer.fail = refuse
    source.append(P0, [news(n) for n in range(200)])
    with pytest.raises(FatalError, match="permission denied"):
        pipeline(source, writer, ceiling=DeadLetterCeiling(max_consecutive=30)).run()
    assert len(writer.dead) < 30


# -- the ceiling ------------------------------------------------------------------------------------


def test_too_many_unreadable_records_in_a_row_stop_the_process_before_they_are_passed(
    source: MemorySource, writer: MemoryWriter
) -> None:
    source.append(P0, [news(0), *[b"{}"] * 20])
    with pytest.raises(FatalError, match="20 records in a row"):
        pipeline(source, writer, ceiling=DeadLetterCeiling(max_consecutive=20)).run()
    assert writer.dead == []
    assert writer.offsets == {P0: 0}


def test_the_stop_names_the_commonest_reasons_with_an_example_each(source: MemorySource, writer: MemoryWriter) -> None:
    source.append(P0, [*[b"{}"] * 7, *[b"\xff"] * 5, b"[7]", *[b"<rss>"] * 6, news(1, headline=["a"])])
    with pytest.raises(FatalError) as raised:
        pipeline(source, writer, ceiling=DeadLetterCeiling(max_consecutive=20)).run()
    told = str(raised.value)
    assert "7 no_headline, such as news/0@6: headline is missing or blank" in told
    assert "6 not_json, such as news/0@18: " in told
    assert "XML" in told
    assert "5 not_utf8, such as news/0@11" in told
    assert "not_object" not in told


def test_one_odd_optional_field_in_every_record_costs_no_story_and_is_counted(database: Database) -> None:
    odd: list[dict[str, Any]] = [
        {"tickers": ["KSTR", "A B"]},
        {"published_at": "soon"},
        {"url": []},
        {"body": {}},
        {"revision": "v2"},
    ]
    positions = PositionStore(database, "g")
    source = MemorySource(lambda starts: positions.ask(starts, NOW))
    source.append(P0, [news(n, **odd[n % len(odd)]) for n in range(300)], timestamp_ms=NOW)
    hot = pipeline(source, StoryWriter(database, positions, wording))
    hot.run()
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(stories)) == 300
        assert connection.scalar(select(func.count()).select_from(dead_letters)) == 0
        counts = dropped_fields.counts(connection, 0, 9)
    assert {(count.field, count.reason, count.stories) for count in counts} == {
        ("tickers", "not_a_ticker", 60),
        ("published_at", "bad_time", 60),
        ("url", "wrong_type", 60),
        ("body", "wrong_type", 60),
        ("revision", "bad_revision", 60),
    }
    assert hot.metrics.value("dropped_fields_total", field="url", reason="wrong_type") == 60


def test_one_good_record_ends_the_row(source: MemorySource, writer: MemoryWriter) -> None:
    source.append(P0, [*[b"{}"] * 19, news(0), *[b"{}"] * 19])
    pipeline(source, writer, ceiling=DeadLetterCeiling(max_consecutive=20)).run()
    assert len(writer.dead) == 38


@pytest.mark.parametrize(("every", "stops"), [(2, False), (3, True)])
def test_a_share_of_unreadable_records_beyond_the_ratio_stops_the_process(
    every: int, stops: bool, source: MemorySource, writer: MemoryWriter
) -> None:
    ceiling = DeadLetterCeiling(max_ratio=0.5, window=100, max_consecutive=50)
    source.append(P0, [news(n) if n % every == 0 else b"{}" for n in range(300)])
    one = pipeline(source, writer, ceiling=ceiling)
    if stops:
        with pytest.raises(FatalError, match="of the last 100 records"):
            one.run()
    else:
        one.run()
        assert len(writer.dead) == 150


def test_the_ratio_counts_only_once_its_window_is_full(source: MemorySource, writer: MemoryWriter) -> None:
    source.append(P0, [b"{}"] * 40)
    pipeline(source, writer, ceiling=DeadLetterCeiling(max_ratio=0.1, window=100)).run()
    assert len(writer.dead) == 40


# -- an outage, a rebalance -------------------------------------------------------------------------


def test_a_database_that_is_away_is_waited_for_and_nothing_is_lost(source: MemorySource, writer: MemoryWriter) -> None:
    away = [6]

    def fail(batch: Batch) -> None:
        if away[0]:
            away[0] -= 1
            raise DatabaseAway("restarting")

    writer.fail = fail
    source.append(P0, [news(n) for n in range(10)])
    pipeline(source, writer).run()
    assert writer.stored == [str(n) for n in range(10)]
    assert writer.dead == []


def test_records_that_wait_while_nothing_is_stored_are_said_until_it_goes_on(
    source: MemorySource, writer: MemoryWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiment_monitor.stream.pipeline._STALLED_SECONDS", 0.1)
    away = threading.Event()
    away.set()

    def fail(batch: Batch) -> None:
        if away.is_set():
            raise DatabaseAway("restarting")

    writer.fail = fail
    source.append(P0, [news(n) for n in range(10)])
    one = pipeline(source, writer, exit_when_idle=None)
    assert one.trouble is None
    with running(one):
        wait_for(lambda: one.trouble is not None)
        assert "nothing was stored for 0 s; a record has waited for 0 s" in str(one.trouble)
        assert one.metrics.value("oldest_waiting_seconds") or 0 > 0.1
        assert one.metrics.value("last_write_timestamp_seconds") is None
        away.clear()
        wait_for(lambda: len(writer.stored) == 10 and one.metrics.value("oldest_waiting_seconds") == 0)
        assert one.metrics.value("last_write_timestamp_seconds") == NOW / 1000
        time.sleep(0.12)
        assert one.trouble is None  # nothing comes, and nothing waits


def test_a_database_that_is_away_for_long_is_no_standstill(source: MemorySource, writer: MemoryWriter) -> None:
    began = time.monotonic()

    def fail(batch: Batch) -> None:
        if time.monotonic() - began < 0.6:
            raise DatabaseAway("restarting")

    writer.fail = fail
    source.append(P0, [news(0)])
    one = pipeline(source, writer, exit_when_idle=None)
    overdue: list[str | None] = []
    with running(one):
        while not writer.stored:
            overdue += [turns.overdue(0.09) for turns in one.metrics.turns.values()]
            time.sleep(0.01)
    assert set(overdue) == {None}


@pytest.mark.parametrize("idle", [0.0, 0.3])
def test_a_fenced_partition_is_read_again_and_the_other_is_stored(
    source: MemorySource, writer: MemoryWriter, idle: float
) -> None:
    source.append(P0, [news(n) for n in range(5)])
    source.append(P1, [news(n) for n in range(10, 15)])
    taken = threading.Event()

    def move(batch: Batch) -> None:
        if not taken.is_set():  # another process stored the first three records of P0
            taken.set()
            writer.offsets[P0] = 3

    writer.fail = move
    one = pipeline(source, writer, exit_when_idle=idle)
    one.run()
    assert one.progress.fenced == 1
    assert sorted(writer.stored) == ["10", "11", "12", "13", "14", "3", "4"]
    assert writer.offsets == {P0: 5, P1: 5}


def test_records_of_a_partition_that_was_taken_away_are_not_written(source: MemorySource, writer: MemoryWriter) -> None:
    at_classifier, go_on = threading.Event(), threading.Event()

    class Slow(StubClassifier):
        def score(self, texts: Sequence[Text]) -> list[Score]:
            at_classifier.set()
            assert go_on.wait(TIMEOUT)
            return super().score(texts)

    source.append(P0, [news(n) for n in range(5)])
    source.append(P1, [news(n) for n in range(10, 15)])
    one = pipeline(source, writer, Slow(), exit_when_idle=None)
    with running(one):
        assert at_classifier.wait(TIMEOUT)
        source.revoke(P0)
        go_on.set()
        wait_for(lambda: len(writer.stored) == 5)
        assert sorted(writer.stored) == ["10", "11", "12", "13", "14"]
        assert writer.offsets == {P0: 0, P1: 5}
        source.assign(P0)  # given back: an older epoch's parcels would still be stale
        wait_for(lambda: len(writer.stored) == 10)
    assert writer.offsets == {P0: 5, P1: 5}


def test_records_of_a_partition_that_was_taken_away_are_not_scored(writer: MemoryWriter) -> None:
    scored: list[str] = []

    class Noting(Blocking):
        def score(self, texts: Sequence[Text]) -> list[Score]:
            scored.extend(text.headline for text in texts)
            return super().score(texts)

    source = MemorySource(writer.positions, max_poll_records=5)
    source.append(P0, [news(n) for n in range(10)])
    classifier = Noting()
    one = pipeline(source, writer, classifier, limits=Limits(score_batch=5), exit_when_idle=None)
    with running(one):
        assert classifier.entered.wait(TIMEOUT)
        wait_for(lambda: len(one._prepared) == 5)
        source.revoke(P0)
        source.append(P1, [news(n) for n in range(10, 15)])
        classifier.go_on.set()
        wait_for(lambda: len(writer.stored) == 5)
    assert sorted(writer.stored) == ["10", "11", "12", "13", "14"]
    assert len(scored) == 10  # the first five of P0 were at the classifier when it was taken away


# -- back-pressure and stopping ---------------------------------------------------------------------


class Counting(MemorySource):
    polls = held = closed = 0

    def poll(self, timeout_ms: int, *, hold: bool) -> list[Fetched]:
        self.polls += 1
        self.held += hold
        return super().poll(1, hold=hold)

    def close(self) -> None:
        self.closed += 1
        super().close()


class Blocking(StubClassifier):
    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.entered = threading.Event()

    def score(self, texts: Sequence[Text]) -> list[Score]:
        self.entered.set()
        assert self.go_on.wait(TIMEOUT)
        return super().score(texts)


def test_a_classifier_that_blocks_stops_the_fetching_but_not_the_polling(writer: MemoryWriter) -> None:
    source = Counting(writer.positions, max_poll_records=10)
    source.append(P0, [news(n) for n in range(500)])
    classifier = Blocking()
    limits = Limits(waiting=40, prepared=20, scored=20, score_batch=10, write_batch=10)
    one = pipeline(source, writer, classifier, limits=limits)
    with running(one) as raised:
        assert classifier.entered.wait(TIMEOUT)
        wait_for(lambda: len(one._prepared) >= 20 and one._waiting.full)
        polls, fetched = source.polls, source._next[P0]
        wait_for(lambda: source.polls > polls + 20)
        assert source.held > 0
        # The bound, one batch more before each stage, and what the stages have in hand.
        assert fetched <= source._next[P0] <= 40 + 20 + 10 + 200 + 10
        assert sum(one.queues.values()) <= 40 + 20 + 10
        classifier.go_on.set()
        wait_for(lambda: len(writer.stored) == 500)
    assert raised == []


def test_stop_stores_everything_fetched_and_fetches_no_more(writer: MemoryWriter) -> None:
    source = Counting(writer.positions, max_poll_records=10)
    source.append(P0, [news(n) for n in range(5_000)])
    classifier = Blocking()
    one = pipeline(source, writer, classifier, exit_when_idle=None)
    with running(one) as raised:
        assert classifier.entered.wait(TIMEOUT)
        one.stop()
        wait_for(lambda: one._waiting._closed)
        fetched = source._next[P0]
        classifier.go_on.set()
        wait_for(lambda: source.closed == 1)
    assert raised == []
    assert writer.stored == [str(n) for n in range(fetched)]
    assert source.committed == writer.offsets == {P0: fetched}
    assert not one.read_out


def test_abort_drops_what_is_not_stored(writer: MemoryWriter) -> None:
    source = Counting(writer.positions, max_poll_records=10)
    source.append(P0, [news(n) for n in range(1_000)])
    classifier = Blocking()
    one = pipeline(source, writer, classifier, exit_when_idle=None)
    with running(one) as raised:
        assert classifier.entered.wait(TIMEOUT)
        wait_for(lambda: source._next[P0] == 1_000)
        one.abort()
        classifier.go_on.set()
        wait_for(lambda: source.closed == 1)
    assert raised == []
    # At most what the stages had in hand; the offset says exactly what is stored.
    assert len(writer.stored) == writer.offsets[P0] < source._next[P0]


def test_abort_ends_the_wait_for_a_database_that_is_away(source: MemorySource, writer: MemoryWriter) -> None:
    tried = threading.Event()

    def fail(batch: Batch) -> None:
        tried.set()
        raise DatabaseAway("gone")

    writer.fail = fail
    source.append(P0, [news(0)])
    one = pipeline(source, writer)
    with running(one) as raised:
        assert tried.wait(TIMEOUT)
    assert [type(error) for error in raised] == [DatabaseAway]


@pytest.mark.parametrize("where", ["poll", "on_stored", "classifier", "decode", "enrich"])
def test_an_error_anywhere_ends_the_run_and_is_raised(where: str, writer: MemoryWriter) -> None:
    class Broken(Counting):
        def poll(self, timeout_ms: int, *, hold: bool) -> list[Fetched]:
            if where == "poll" and self.polls > 2:
                raise FatalError("broken")
            return super().poll(timeout_ms, hold=hold)

    def stop(*_: object) -> Any:
        raise (KeyboardInterrupt if where == "decode" else FatalError)("broken")

    options: dict[str, Any] = {where: stop} if where in ("on_stored", "decode", "enrich") else {}
    source = Broken(writer.positions)
    source.append(P0, [news(n) for n in range(10)])
    classifier = Choking("3", error=FatalError) if where == "classifier" else None
    with pytest.raises((FatalError, KeyboardInterrupt), match=r"broken|choked"):
        pipeline(source, writer, classifier, exit_when_idle=None, **options).run()
    assert source.closed == 1


def test_no_partition_at_all_ends_an_idle_run_with_the_reason(
    source: MemorySource, writer: MemoryWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiment_monitor.stream.pipeline._NOTHING_ASSIGNED_SECONDS", 0.1)
    with pytest.raises(BrokerAway, match="does the topic exist"):
        pipeline(source, writer).run()


# -- event time -------------------------------------------------------------------------------------


def test_records_still_on_their_way_hold_time_back_however_long_they_take(
    source: MemorySource, writer: MemoryWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1 is read to its end at once, but the classifier is slow: its stories are older than what P0 stores."""
    monkeypatch.setattr("sentiment_monitor.stream.event_time._DRAINED_SECONDS", 0.02)
    monkeypatch.setattr("sentiment_monitor.stream.pipeline._POLL_MS", 5)

    class Slow(StubClassifier):
        def score(self, texts: Sequence[Text]) -> list[Score]:
            time.sleep(0.2)
            return super().score(texts)

    source.append(P0, [news(n, published_at=60 * (n + 100)) for n in range(30)])
    source.append(P1, [news(n, published_at=60 * (n - 90)) for n in range(100, 130)])
    told: list[int | None] = []
    stored_then: list[int] = []

    def on_stored(minute: int | None) -> None:
        told.append(minute)
        stored_then.append(sum(int(n) >= 100 for n in writer.stored))

    limits = Limits(score_batch=30, write_batch=1)
    pipeline(source, writer, Slow(), limits=limits, on_stored=on_stored, exit_when_idle=0.2).run()
    for minute, count in zip(told, stored_then, strict=True):
        assert minute is None or minute <= 10 + count, (told, stored_then)


# -- with the real store ----------------------------------------------------------------------------


def test_on_a_real_database_rows_buckets_and_offsets_agree_also_with_values_it_refuses(database: Database) -> None:
    positions = PositionStore(database, "g")
    writer = StoryWriter(database, positions, wording)
    source = MemorySource(lambda starts: positions.ask(starts, NOW), max_poll_records=20)

    def decode(record: Record) -> list[Story]:
        (story,) = Decoder().decode(record)
        assert isinstance(story, Story)
        # What no decoder should let through: SQLite and PostgreSQL refuse such an integer.
        return [story if story.story_id != "13" else replace(story, revision=2**70)]

    source.append(P0, [news(n, published_at=60 * n, source="a") for n in range(40)])
    source.append(P1, [b"broken", *(news(n, published_at=60 * n, source="b") for n in range(40)), b"{}"])
    one = pipeline(source, writer, decode=decode)
    one.run()
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(stories)) == 78
        codes = connection.execute(select(dead_letters.c.code, dead_letters.c.kafka_offset)).all()
        offsets = connection.execute(select(consumer_offsets.c.partition, consumer_offsets.c.next_offset)).all()
        assert stored_buckets(connection) == recompute_buckets(connection)
    assert sorted(map(tuple, codes)) == [
        ("no_headline", 41),
        ("not_json", 0),
        ("store_failed", 13),
        ("store_failed", 14),
    ]
    assert sorted(map(tuple, offsets)) == [(0, 40), (1, 42)]
    written = one.progress.written
    assert (written.created, written.copies, written.dead) == (78, 39, 4)
