"""Files onto a topic: what is read, what is refused, and the rhythm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from sentiment_monitor.errors import UsageError
from sentiment_monitor.ingest.publish import Publisher, map_row, publish, read_rows


class _Publisher:
    def __init__(self) -> None:
        self.sent: list[tuple[Mapping[str, Any] | bytes, int | None]] = []
        self.flushed = 0

    def send(self, message: Mapping[str, Any] | bytes, *, timestamp_ms: int | None = None) -> None:
        self.sent.append((message, timestamp_ms))

    def flush(self) -> None:
        self.flushed += 1


def _file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_csv_and_json_lines_give_the_same_rows(tmp_path: Path) -> None:
    rows = [{"headline": "Bank fails", "source": "a"}, {"headline": 'A "quoted", line\nbreak', "source": ""}]
    table = _file(tmp_path, "a.csv", '\ufeffheadline,source\nBank fails,a\n"A ""quoted"", line\nbreak",\n')
    lines = _file(
        tmp_path,
        "a.jsonl",
        '{"headline": "Bank fails", "source": "a"}\n\n{"headline": "A \\"quoted\\", line\\nbreak", "source": ""}\n',
    )
    assert list(read_rows(table)) == list(read_rows(lines)) == rows


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "x", "expected a file ending in"),
        ("a.csv", "", "needs a header"),
        ("a.csv", "a,b\n1,2,3\n", "a.csv:2: more cells"),
        ("a.csv", 'a\n"unclosed', "cannot be read"),
        ("a.csv", "headline\nBörse".encode("latin-1"), "not UTF-8"),
        ("a.jsonl", '{"a": 1}\nnope\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: expected an object"),
        ("a.jsonl", "[" * 100_000, "a.jsonl:1: not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        list(read_rows(_file(tmp_path, name, content)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        list(read_rows(tmp_path / "a.csv"))


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
