"""Rows of CSV and JSON-lines files, with messages that say what is wrong with the file, and in which line."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sentiment_monitor.errors import UsageError

MAX_CELL = 4_000_000  # characters; a longer cell is a broken quote, not a story
_LINES = frozenset({".jsonl", ".ndjson"})


def read_values(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``path`` in file order, each value as the file has it; a CSV row's missing cells are None.

    ``.csv`` needs a header line; ``.jsonl`` and ``.ndjson`` hold one JSON object a line. A file may hold no rows.
    Raises UsageError for another ending, a file that cannot be read, and a broken line, such as a CSV row with more
    cells than the header line.
    """
    ending = path.suffix.lower()
    if ending != ".csv" and ending not in _LINES:
        raise UsageError(f"{path}: expected a file ending in .csv, .jsonl or .ndjson")
    for _, row in _json_lines(path, ()) if ending in _LINES else _csv(path, (), strict=True):
        yield row


def read_cells(path: Path, required: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """Yield the rows of ``path`` in file order, each value as text; missing and null cells are ``""``.

    ``.jsonl``, ``.ndjson`` and ``.json`` are read as one JSON object a line, anything else as CSV with a header line;
    cells beyond the header line are left out. Raises UsageError for a missing, empty or non-UTF-8 file, a missing
    ``required`` column (naming those that exist), a broken line or an oversized cell.
    """
    as_lines = path.suffix.lower() in _LINES | {".json"}
    empty = True
    for number, row in _json_lines(path, required) if as_lines else _csv(path, required, strict=False):
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


def _csv(path: Path, required: Sequence[str], *, strict: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and row; ``strict`` refuses what CSV readers otherwise guess: quotes within cells, spare cells."""
    previous = csv.field_size_limit(MAX_CELL)
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file, strict=strict)
            try:
                if strict and not reader.fieldnames:
                    raise UsageError(f"{path}: empty, a CSV file needs a header line")
                _require(path, required, reader.fieldnames or ())
                for row in reader:
                    if row.pop(None, None) is not None and strict:
                        raise UsageError(f"{path}:{reader.line_num}: more cells than the header has columns")
                    yield reader.line_num, row
            except csv.Error as error:
                raise UsageError(f"{path}:{reader.reader.line_num}: cannot be read: {error}") from error
    finally:
        csv.field_size_limit(previous)


def _json_lines(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_constant=null_for_nan)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}:{number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise UsageError(f"{path}:{number}: expected an object, got {type(row).__name__}")
            _require(path, required, row)
            yield number, row


def null_for_nan(name: str) -> None:
    """For ``json.loads``: Python's own writers make NaN of a missing number, and JSON knows no such name."""
    if name != "NaN":
        raise ValueError(f"{name} is no JSON number")


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """The file as text. Raises UsageError, also for what goes wrong while it is read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 ({error}); convert it first, e.g. iconv -f latin1 -t utf-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _require(path: Path, required: Sequence[str], present: Collection[str]) -> None:
    missing = [name for name in required if name not in present]
    if missing:
        have = ", ".join(present) or "none"
        raise UsageError(f"{path}: no column {', '.join(missing)}; its columns are: {have}")
