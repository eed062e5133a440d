"""Rows onto a topic: how they are mapped, and the rhythm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from kafka import errors as kafka_errors
from kafka.future import Future

from sentiment_monitor.domain.news import DeadLetter, Record, Story
from sentiment_monitor.errors import BrokerAway, BrokerRefused, MonitorError, UsageError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.publish import Encoded, Published, Publisher, check_rows, map_row, publish

READ = Decoder().decode


class _Publisher:
    def __init__(self) -> None:
        self.sent: list[tuple[Encoded, int | None]] = []
        self.flushed = 0

    def send(self, message: Encoded, *, timestamp_ms: int | None = None) -> None:
        self.sent.append((message, timestamp_ms))

    def flush(self) -> None:
        self.flushed += 1


def test_mapped_columns_fill_fields_and_others_keep_their_names() -> None:
    row = {"title": "Bank fails", "summary": "s", "source": "a"}
    assert map_row(row, {"headline": "title", "body": "summary"}) == {
        "headline": "Bank fails", "body": "s", "source": "a",
    }  # fmt: skip
    assert map_row({"url": "u"}, {"id": "url"}) == {"id": "u", "url": "u"}


def test_mapping_a_column_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="no column 'titel'; columns are title, summary"):
        map_row({"title": "x", "summary": ""}, {"headline": "titel"})


def test_records_bear_their_storys_time_and_a_broken_time_is_sent_all_the_same() -> None:
    to = _Publisher()
    rows = [{"headline": "a", "published_at": "2023-03-10T17:21:00Z"}, {"headline": "b", "published_at": "soon"}, {}]
    assert publish(cast(Publisher, to), iter(rows), READ) == Published(3, restamped=0)
    assert [at for _, at in to.sent] == [1_678_468_860_000, None, None]
    assert to.flushed == 1


def test_a_row_is_encoded_once_and_read_and_sent_as_the_same_bytes() -> None:
    to, values = _Publisher(), []

    def read(record: Record) -> Sequence[Story | DeadLetter]:
        values.append(record.value)
        return READ(record)

    publish(cast(Publisher, to), iter([{"headline": "a", "id": 1, "source": "wire"}, {"headline": "b"}]), read)
    assert all(sent.value is value for (sent, _), value in zip(to.sent, values, strict=True))
    assert [sent.key for sent, _ in to.sent] == [b"wire|1", b"|b"]


def test_the_time_is_read_as_the_service_will_read_it() -> None:
    read = Decoder({"headline": "title", "published_at": "date"}, time_zone="America/New_York").decode
    to = _Publisher()
    publish(cast(Publisher, to), iter([{"title": "Bank fails", "date": "2023-03-10 12:21"}]), read)
    assert [at for _, at in to.sent] == [1_678_468_860_000]


def test_a_record_whose_story_is_yet_to_come_bears_the_present() -> None:
    """Apache Kafka refuses a record stamped an hour ahead, and the whole batch with it."""
    to = _Publisher()
    now = 1_678_468_860_000
    rows = [{"headline": "x", "published_at": now + minutes * 60_000} for minutes in (-1, 9, 11, 2 * 24 * 60)]
    assert publish(cast(Publisher, to), iter(rows), READ, now_ms=lambda: now) == Published(4, restamped=2)
    assert [at for _, at in to.sent] == [now - 60_000, now + 9 * 60_000, None, None]


def test_a_record_whose_story_is_older_than_the_topic_keeps_any_bears_the_present() -> None:
    """Kafka would delete it within minutes, and the service never see it."""
    to = _Publisher()
    now, day = 1_678_468_860_000, 86_400_000
    rows = [{"headline": "x", "published_at": now - days * day} for days in (6, 8)]
    assert publish(cast(Publisher, to), iter(rows), READ, keeps_ms=7 * day, now_ms=lambda: now) == Published(2, 1)
    assert [at for _, at in to.sent] == [now - 6 * day, None]


@pytest.mark.parametrize(
    ("rows", "mapping"),
    [
        ([{"title": "Bank fails", "summary": "s"}] * 3, {}),
        ([{"title": "Bank fails", "headline": ""}] * 200, {}),
        ([{"headline": "Bank fails"}], {"headline": "title"}),  # the settings read another field
        ([{"headline": "Bank fails"}], {"headline": "join(' ', [lead, title])"}),
    ],
)
def test_a_file_in_which_the_service_would_find_no_headline_is_refused(
    rows: list[dict[str, str]], mapping: dict[str, str]
) -> None:
    with pytest.raises(
        UsageError, match=f"none of its first {min(len(rows), 100)} rows has a headline .*; columns are"
    ):
        check_rows(iter(rows), Decoder(mapping).decode)


@pytest.mark.parametrize(
    ("rows", "mapping"),
    [
        ([], {}),
        ([{"headline": ""}, {"headline": "Bank fails", "published_at": "soon"}], {}),
        ([{"title": "Bank fails"}], {"headline": "title"}),
        ([{"id": "7", "action": "deleted"}], {}),
    ],
)
def test_a_file_in_which_some_row_is_a_story_is_sent(rows: list[dict[str, str]], mapping: dict[str, str]) -> None:
    check_rows(iter(rows), Decoder(mapping).decode)


def test_a_replay_keeps_the_rhythm_of_the_stories() -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    minute = 1_678_468_860
    rows = [{"headline": "x", "published_at": minute + seconds} for seconds in (0, 60, 30, 120)]
    moments = []
    publish(
        cast(Publisher, _Publisher()),
        iter(rows),
        READ,
        speed=60,
        progress=lambda count: moments.append(now[0] - 100),
        sleep=sleep,
        monotonic=lambda: now[0],
    )
    assert moments == pytest.approx([0, 1, 1, 2])


def test_a_row_that_cannot_be_sent_ends_with_what_was_sent_before_it() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield from ({"headline": str(n)} for n in range(3))
        raise UsageError("a.jsonl:4: not JSON")

    publisher = _Publisher()
    with pytest.raises(UsageError, match=r"a\.jsonl:4: not JSON; the 3 records before it were published"):
        publish(cast("Publisher", publisher), rows(), READ)
    assert len(publisher.sent) == 3
    assert publisher.flushed


def test_a_pause_of_centuries_is_not_asked_of_the_operating_system() -> None:
    slept: list[float] = []
    rows = iter([{"headline": "a", "published_at": "1971-01-01"}, {"headline": "b", "published_at": "9998-01-01"}])
    publish(cast("Publisher", _Publisher()), rows, READ, speed=0.001, sleep=slept.append, monotonic=lambda: 0.0)
    assert slept == [366 * 86_400.0]


class _Producer:
    """Kafka's client to a broker that fails whatever is sent."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def send(self, *_: Any, **__: Any) -> Future:
        return Future().failure(self._failure)

    def flush(self, timeout: float) -> None:
        pass

    def close(self, timeout: float) -> None:
        pass


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (kafka_errors.TopicAuthorizationFailedError("news"), BrokerRefused),
        (kafka_errors.KafkaTimeoutError("nobody"), BrokerAway),
    ],
)
def test_a_broker_that_refuses_us_is_not_away(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, raised: type[MonitorError]
) -> None:
    monkeypatch.setattr("sentiment_monitor.ingest.publish.KafkaProducer", lambda **_: _Producer(failure))
    publisher = Publisher({}, "news")
    with pytest.raises(raised):
        publisher.send({"id": 1})
