"""Rows of CSV and JSON-lines files, with messages that say what is wrong with the file, and in which line."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from sentiment_monitor.errors import UsageError

MAX_CELL = 4_000_000  # characters; a longer cell is a broken quote, not a story
_LINES = frozenset({".jsonl", ".ndjson"})
_HEAD_BYTES = 4_096
# How files begin that are given another ending by mistake.
_BEGINNINGS = (
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ\0", "compressed by xz"),
    (b"ARROW1", "an Arrow file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook"),
    (b"%PDF-", "a PDF file"),
)
_OFFICE = ((b"xl/", "an Excel workbook"), (b"opendocument", "an OpenDocument file"))


def read_values(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``path`` in file order, each value as the file has it; a CSV row's missing cells are None.

    ``.csv`` needs a header line; ``.jsonl`` and ``.ndjson`` hold one JSON object a line. A file may hold no rows.
    Raises UsageError for another ending, a file that cannot be read, two columns of one name and a broken line, such as
    a CSV row with more cells than the header line.
    """
    ending = path.suffix.lower()
    if ending != ".csv" and ending not in _LINES:
        raise UsageError(f"{path}: expected a file ending in .csv, .jsonl or .ndjson")
    for _, row in _json_lines(path, ()) if ending in _LINES else _csv(path, ()):
        yield row


def read_cells(path: Path, required: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """Yield the rows of ``path`` in file order, each value as text; missing and null cells are ``""``.

    ``.jsonl``, ``.ndjson`` and ``.json`` are read as one JSON object a line, anything else as CSV with a header line.
    Raises UsageError as :func:`read_values` does, and for an empty file, a missing ``required`` column (naming those
    that exist) and an oversized cell.
    """
    as_lines = path.suffix.lower() in _LINES | {".json"}
    empty = True
    for number, row in _json_lines(path, required) if as_lines else _csv(path, required):
        # JSON can spell half an emoji, which nothing can encode.
        cells = {
            str(name): "" if value is None else str(value).encode("utf-8", "replace").decode()
            for name, value in row.items()
        }
        if any(len(cell) > MAX_CELL for cell in cells.values()):
            raise UsageError(f"{path}:{number}: a cell is longer than {MAX_CELL:,} characters")
        empty = False
        yield cells
    if empty:
        raise UsageError(f"{path}: holds no rows")


def columns_of(path: Path) -> tuple[str, ...]:
    """Return the column names of the first row."""
    return tuple(next(read_cells(path)))


def _csv(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and row. Refuses what CSV readers otherwise guess: quotes within cells, spare cells."""
    previous = csv.field_size_limit(MAX_CELL)
    try:
        with _opened(path) as file:
            reader = csv.reader(file, strict=True)
            begins = 1
            try:
                header = _header(path, next(reader, []), required)
                begins = reader.line_num + 1
                for cells in reader:
                    if any(cells[len(header) :]):
                        raise UsageError(
                            f"{path}:{reader.line_num}: more cells than the header has columns; "
                            "a text with commas needs quotes"
                        )
                    if cells:  # no blank line
                        padded = [*cells, *[None] * (len(header) - len(cells))]
                        yield reader.line_num, {name: cell for name, cell in zip(header, padded, strict=False) if name}
                    begins = reader.line_num + 1
            except csv.Error as error:
                raise _broken(path, begins, reader.line_num, error) from error
    finally:
        csv.field_size_limit(previous)


def _header(path: Path, names: Sequence[str], required: Sequence[str]) -> list[str]:
    header = [name.strip() for name in names]
    if not any(header):
        raise UsageError(f"{path}: empty, a CSV file needs a header line")
    if twice := [name for name, count in Counter(header).items() if name and count > 1]:
        raise UsageError(f"{path}: two columns are named {', '.join(twice)}; which one counts cannot be told")
    if len(header) == 1 and (mark := next((mark for mark in ";\t|" if mark in header[0]), None)):
        raise UsageError(f"{path}: its cells seem to be separated by {mark!r}; commas are read")
    _require(path, required, [name for name in header if name])
    return header


def _broken(path: Path, begins: int, fails: int, error: csv.Error) -> UsageError:
    """For a row that begins in one line and cannot be read in another: mostly a quote that swallowed what follows."""
    at_end = str(error).startswith("unexpected end")
    opened = None
    with _opened(path) as file:
        for number, line in enumerate(islice(file, begins - 1, fails if at_end else fails - 1), start=begins):
            for _ in range(line.count('"')):  # a quote within a cell is written twice, which opens and closes none
                opened = None if opened else number
    if opened is None:
        return UsageError(f"{path}:{fails}: cannot be read: {error}")
    return UsageError(
        f"{path}:{opened}: cannot be read: a quote opens here that is not closed by line {fails}: {error}"
    )


def _json_lines(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_constant=null_for_nan, object_pairs_hook=_unique)
            except (ValueError, RecursionError) as error:
                hint = "; each line must hold one JSON object" if number == 1 and line.strip() in ("[", "{") else ""
                raise UsageError(f"{path}:{number}: not JSON: {error}{hint}") from None
            if not isinstance(row, dict):
                raise UsageError(
                    f"{path}:{number}: expected an object, got {type(row).__name__}; "
                    "each line must hold one JSON object"
                )
            _require(path, required, row)
            yield number, row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice!r:.60} occurs twice in an object")
    return row


def null_for_nan(name: str) -> None:
    """For ``json.loads``: Python's own writers make NaN of a missing number, and JSON knows no such name."""
    if name != "NaN":
        raise ValueError(f"{name} is no JSON number")


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """The file as text. Raises UsageError, also for what goes wrong while it is read."""
    try:
        with path.open("rb") as binary:
            _refuse_other_formats(path, binary.read(_HEAD_BYTES))
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 ({error}); convert it first, e.g. iconv -f latin1 -t utf-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _refuse_other_formats(path: Path, head: bytes) -> None:
    """Raises UsageError for what is no text in UTF-8 by its first bytes, and says what it is."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (b"\0" in head[:4] and head[:4].count(b"\0") == 2):
        raise UsageError(f"{path}: UTF-16 text; convert it first, e.g. iconv -f utf-16 -t utf-8")
    form = next((name for beginning, name in _BEGINNINGS if head.startswith(beginning)), None)
    if head.startswith(b"PK\x03\x04"):
        form = next((name for part, name in _OFFICE if part in head), "a zip archive")
    if form is None and b"\0" in head:
        form = "no text: it holds NUL bytes"
    if form is None and head.lstrip(b"\xef\xbb\xbf \r\n\t")[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        form = "a web page or XML"
    if form:
        raise UsageError(f"{path}: {form}, whatever its name says; write its rows as CSV or as JSON lines, in UTF-8")


def _require(path: Path, required: Sequence[str], present: Collection[str]) -> None:
    missing = [name for name in required if name not in present]
    if missing:
        have = ", ".join(present) or "none"
        raise UsageError(f"{path}: no column {', '.join(missing)}; its columns are: {have}")
