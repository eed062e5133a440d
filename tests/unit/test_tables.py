"""Rows of files: what is read, what is guessed, and what is refused with its line."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
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


def test_spare_cells_without_content_are_a_spreadsheets_and_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    for read in (read_values, read_cells):
        assert list(read(_file(tmp_path, "a.csv", "a, b ,,\n1,2,,\n3,4,5,6,\n\n"))) == [
            {"a": "1", "b": "2"},
            {"a": "3", "b": "4"},
        ]


BROKEN = 'headline,body\nBank fails,"quoted, twice ""so"""\n"Mill closes,\nstays open\n' + "Works burn,x\n" * 5


@pytest.mark.parametrize("read", [read_values, read_cells])
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "headline,label,label\nx,1,2\n", "a.csv: two columns are named label"),
        ("a.csv", "headline, headline\nx,1\n", "two columns are named headline"),
        ("a.jsonl", '{"headline": "x", "headline": "y"}\n', "a.jsonl:1: not JSON: 'headline' occurs twice"),
        ("a.csv", "headline,label\nBank fails, depositors wait,1\n", "a.csv:2: more cells.*needs quotes"),
        ("a.csv", BROKEN, "a.csv:3: cannot be read: a quote opens here that is not closed by line 9"),
        (
            "a.csv",
            BROKEN + '"Mine floods",x\n',
            "a.csv:3: cannot be read: a quote opens here that is not closed by line 10",
        ),
        ("a.csv", 'headline\n"Bank" fails\n', "a.csv:2: cannot be read: ',' expected after"),
        ("a.csv", "headline;label\nBank fails;1\n", "separated by ';'"),
        ("a.csv", "headline\tlabel\nBank fails\t1\n", r"separated by '\\t'"),
        ("a.csv", "headline\nBank fails\n".encode("utf-16"), "UTF-16 text; convert it first"),
        ("a.csv", "headline\nBank fails\n".encode("utf-16-le"), "UTF-16 text"),
        ("a.csv", "headline\nBank fails\n".encode("utf-16-be"), "UTF-16 text"),
        ("a.jsonl", '{"headline": "x"}\n'.encode("utf-16"), "UTF-16 text"),
        ("a.csv", b"PAR1\x15\x04", "a.csv: a Parquet file, whatever its name says; write its rows as CSV"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "compressed by gzip"),
        ("a.csv", b"PK\x03\x04 [Content_Types].xml xl/workbook.xml", "an Excel workbook"),
        ("a.csv", b"PK\x03\x04 news.csv", "a zip archive"),
        ("a.csv", b"headline\nBank\0fails\n", "no text: it holds NUL bytes"),
        ("a.csv", "\ufeff\n<!DOCTYPE html><title>403</title>", "a web page or XML"),
        ("a.jsonl", '[\n{"headline": "x"}\n]', "a.jsonl:1: not JSON: .*one JSON object"),
        ("a.jsonl", '[{"headline": "x"}]', "a.jsonl:1: expected an object, got list; each line"),
    ],
)
def test_nothing_is_guessed_of_a_file_that_is_not_what_its_name_says(
    tmp_path: Path, read: Callable[[Path], Iterator[object]], name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        list(read(_file(tmp_path, name, content)))


def test_a_quote_that_opens_in_a_late_cell_of_a_long_row_is_named_by_its_own_line(tmp_path: Path) -> None:
    rows = 'a,b,c\n"one\ntwo","three\nfour",5\n"six\nseven","eight\n' + "9,10,11\n" * 3
    with pytest.raises(UsageError, match=r"a\.csv:6: cannot be read: a quote opens here that is not closed by line 9"):
        list(read_values(_file(tmp_path, "a.csv", rows)))


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
        ("a.csv", "", "needs a header"),
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
