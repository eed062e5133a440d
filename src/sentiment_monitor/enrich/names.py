"""Companies in text: cashtags, and a watchlist found by Aho-Corasick in one pass, however long the list."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import ahocorasick

from sentiment_monitor.errors import UsageError

# $BRK.B but not $5 or US$ amounts.
_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,6}(?:[.\-][A-Za-z]{1,2})?)(?![\w$])")
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-:=^]{0,19}")


def cashtags(text: str) -> set[str]:
    """Tickers written as ``$AAPL``, in upper case."""
    return {found.upper() for found in _CASHTAG.findall(text)}


@dataclass(frozen=True, slots=True)
class _Alias:
    ticker: str
    text: str
    any_case: bool  # several words: "bank of america" cannot be anything else
    shouted: bool  # one word: "APPLE" may stand for "Apple" in a headline in capitals, "apple" may not


class Watchlist:
    """Finds the watched companies that a text names.

    An alias matches at word boundaries only; of overlapping matches the longest counts ("Bank of America"
    is not also "America"). An alias of several words matches in any case. One word must be written as in the
    list, so that ``Gap`` and ``Target`` are companies and "gap" and "target" are not, or all in capitals
    when the whole text is.
    """

    def __init__(self, companies: Iterable[tuple[str, Iterable[str]]]) -> None:
        by_folded: dict[str, list[_Alias]] = {}
        self.names: dict[str, str] = {}  # ticker -> what people call the company
        for ticker, given in companies:
            names = list(given)
            if names:
                self.names[ticker] = names[0]
            for name in (ticker, *names):
                alias = _Alias(ticker, name, " " in name, len(name) > 3)
                by_folded.setdefault(_fold(name), []).append(alias)
        self._automaton = ahocorasick.Automaton()
        for folded, aliases in by_folded.items():
            self._automaton.add_word(folded, (len(folded), aliases))
        self._empty = not by_folded
        if not self._empty:
            self._automaton.make_automaton()

    @classmethod
    def load(cls, path: Path) -> Watchlist:
        """Reads lines ``TICKER, Name, Other name``; blank lines and lines that start with # are skipped.

        Raises UsageError naming file and line.
        """
        companies = []
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for number, cells in enumerate(csv.reader(file, skipinitialspace=True), 1):
                    names = [" ".join(cell.split()) for cell in cells if cell.strip()]
                    if not names or names[0].startswith("#"):
                        continue
                    if not _SYMBOL.fullmatch(names[0].upper()):
                        raise UsageError(
                            f"{path}:{number}: {names[0]!r} is not a ticker (write TICKER, Name, Other name)"
                        )
                    if short := next((name for name in names[1:] if len(name) < 2), None):
                        raise UsageError(f"{path}:{number}: the name {short!r} is too short to look for")
                    companies.append((names[0].upper(), names[1:]))
        except OSError as error:
            raise UsageError(f"watchlist {path}: cannot be read: {error.strerror or error}") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"watchlist {path}: not readable as UTF-8 text: {error}") from None
        if not companies:
            raise UsageError(f"watchlist {path}: names no company")
        return cls(companies)

    def find(self, text: str) -> set[str]:
        """Tickers of the companies that ``text`` names."""
        if self._empty or not text:
            return set()
        folded = _fold(text)
        if len(folded) != len(text):  # a letter whose lower case is longer (İ): positions would not agree
            text = folded
        shouting = text.isupper()
        matches: list[tuple[int, int, str]] = []
        for end, (length, aliases) in self._automaton.iter(folded):
            start = end - length + 1
            if not _is_word(folded, start, end + 1):
                continue
            written = text[start : end + 1]
            for alias in aliases:
                if alias.any_case or written == alias.text or (shouting and alias.shouted):
                    matches.append((start, end + 1, alias.ticker))
        # Longest first, and nothing that lies within what a longer one has taken.
        matches.sort(key=lambda match: (match[0] - match[1], match[0]))
        taken: list[tuple[int, int]] = []
        found = set()
        for start, stop, ticker in matches:
            if any(a <= start and stop <= b and (a, b) != (start, stop) for a, b in taken):
                continue
            taken.append((start, stop))
            found.add(ticker)
        return found


def _fold(text: str) -> str:
    return text.lower().replace("’", "'")


def _is_word(text: str, start: int, stop: int) -> bool:
    def joined(left: str, right: str) -> bool:
        return left.isalnum() and right.isalnum() and not _wide(left) and not _wide(right)

    return not (start > 0 and joined(text[start - 1], text[start])) and not (
        stop < len(text) and joined(text[stop - 1], text[stop])
    )


def _wide(character: str) -> bool:
    """Chinese, Japanese and Korean are written without spaces, so their characters end no word."""
    return "\u3040" <= character <= "\ud7af"
