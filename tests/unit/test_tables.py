"""Rows of files: what is read, what is guessed, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment_monitor.errors import UsageError
from sentiment_monitor.tables import columns_of, read_cells, read_values


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
    for read in (read_values, read_cells):
        assert list(read(table)) == list(read(lines)) == rows
    assert columns_of(table) == columns_of(lines) == ("headline", "source")


def test_values_are_as_the_file_has_them_and_cells_are_text(tmp_path: Path) -> None:
    lines = _file(tmp_path, "a.jsonl", '{"id": 1, "tickers": ["A"], "body": null}\n')
    assert list(read_values(lines)) == [{"id": 1, "tickers": ["A"], "body": None}]
    assert list(read_cells(lines)) == [{"id": "1", "tickers": "['A']", "body": ""}]
    short = _file(tmp_path, "short.csv", "id,body\n1\n")
    assert list(read_values(short)) == [{"id": "1", "body": None}]
    assert list(read_cells(short)) == [{"id": "1", "body": ""}]


def test_cells_beyond_the_header_are_left_out_where_only_named_columns_count(tmp_path: Path) -> None:
    assert list(read_cells(_file(tmp_path, "a.csv", "a,b\n1,2,3\n"))) == [{"a": "1", "b": "2"}]


def test_a_header_without_rows_is_nothing_to_send_but_an_error_where_texts_are_wanted(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.csv", "text\n")
    assert list(read_values(path)) == []
    with pytest.raises(UsageError, match="no rows"):
        list(read_cells(path))


def test_names_without_a_known_ending_are_csv_where_texts_are_wanted(tmp_path: Path) -> None:
    assert list(read_cells(_file(tmp_path, "a.txt", "text\nx\n"))) == [{"text": "x"}]
    assert list(read_cells(_file(tmp_path, "a.json", '{"text": "x"}\n'))) == [{"text": "x"}]


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
def test_values_that_cannot_be_read_are_refused_with_their_line(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        list(read_values(_file(tmp_path, name, content)))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "title\nx\n", "no column text; its columns are: title"),
        ("a.csv", "title\n", "no column text"),
        ("a.csv", "", "no column text; its columns are: none"),
        ("a.csv", b"text\n\xff\xfe\n", "not UTF-8"),
        ("a.csv", 'text\n"' + "x" * 4_100_000 + '"\n', "a.csv:2: cannot be read: field larger"),
        ("a.jsonl", '{"text": "' + "x" * 4_100_000 + '"}\n', "a.jsonl:1: a cell is longer than 4,000,000"),
        ("a.jsonl", '{"text": "x"}\n{broken\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: expected an object"),
        ("a.jsonl", '{"title": "x"}\n', "no column text"),
    ],
)
def test_cells_that_cannot_be_read_are_refused_with_their_line(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        list(read_cells(_file(tmp_path, name, content), ["text"]))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for read in (read_values, read_cells):
        with pytest.raises(UsageError, match="no such file"):
            list(read(tmp_path / "a.csv"))
