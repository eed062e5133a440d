"""Rows onto a topic: how they are mapped, and the rhythm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from sentiment_monitor.errors import UsageError
from sentiment_monitor.ingest.publish import Publisher, map_row, publish


class _Publisher:
    def __init__(self) -> None:
        self.sent: list[tuple[Mapping[str, Any] | bytes, int | None]] = []
        self.flushed = 0

    def send(self, message: Mapping[str, Any] | bytes, *, timestamp_ms: int | None = None) -> None:
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
    assert publish(cast(Publisher, to), iter(rows)) == 3
    assert [at for _, at in to.sent] == [1_678_468_860_000, None, None]
    assert to.flushed == 1


def test_a_replay_keeps_the_rhythm_of_the_stories() -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    rows = [{"headline": "x", "published_at": at} for at in (1_000, 1_060, 1_030, 1_120)]
    moments = []
    publish(
        cast(Publisher, _Publisher()),
        iter(rows),
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
        publish(cast("Publisher", publisher), rows())
    assert len(publisher.sent) == 3
    assert publisher.flushed


def test_a_pause_of_centuries_is_not_asked_of_the_operating_system() -> None:
    slept: list[float] = []
    rows = iter([{"headline": "a", "published_at": "1971-01-01"}, {"headline": "b", "published_at": "9998-01-01"}])
    publish(cast("Publisher", _Publisher()), rows, speed=0.001, sleep=slept.append, monotonic=lambda: 0.0)
    assert slept == [366 * 86_400.0]
