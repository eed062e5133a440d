"""Companies in text: cashtags, and a watchlist found by Aho-Corasick in one pass, however long the list."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from unicodedata import normalize

import ahocorasick

from sentiment_monitor.errors import UsageError

# $BRK.B, also between Chinese characters, but not $5, US$ amounts, or $m and $bn for millions and billions.
_CASHTAG = re.compile(
    r"(?<![A-Za-z0-9_$])\$(?!(?:k|m|mn|mln|b|bn|bln|tn|trn)(?![A-Za-z0-9_.\-]))"
    r"([A-Za-z]{1,6}(?:[.\-][A-Za-z]{1,2})?)(?![A-Za-z0-9_$])"
)
MAX_CASHTAGS = 100  # of one text: every ticker is a series, and spam lists them all
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-:=^]{0,19}")


# A ticker in place: (T), [T], (NYSE: T), NYSE:T. Not "(C) 2023", which is a copyright.
_BEFORE = re.compile(
    r"(?:[(\[]|\b(?:NYSE|NASDAQ|AMEX|OTC|OTCQX|OTCMKTS|LSE|LON|AIM|TSX|TSXV|ASX|NZX|HKEX|HKG|SGX|TYO|TSE|KRX|NSE|BSE|JSE"
    r"|FRA|ETR|XETRA|EPA|AMS|BIT|BME|SWX|SIX|STO|CPH|HEL|OSL)(?: (?:American|Arca|GS|GM|CM))? ?: ?)$",
    re.IGNORECASE,
)
_OPENING = re.compile(r"[(\[]|: ?")  # what every notation has right before the ticker
_AFTER_BRACKET = re.compile(r"[.:][A-Za-z]{1,3}[)\]]|[)\]](?! ?(?:19|20)\d\d)|, ")
_SHORT = 2  # characters of a ticker that counts in notation only
_NOTATION = 24  # characters that the longest exchange takes


def cashtags(text: str) -> set[str]:
    """Tickers written as ``$AAPL``, in upper case; of very many the first ``MAX_CASHTAGS``."""
    if "$" not in text:
        return set()
    return set(islice(dict.fromkeys(ticker.upper() for ticker in _CASHTAG.findall(text)), MAX_CASHTAGS))


@dataclass(frozen=True, slots=True)
class _Alias:
    ticker: str
    text: str
    any_case: bool  # several words: "bank of america" cannot be anything else
    shouted: bool  # one word: "APPLE" may stand for "Apple" in a headline in capitals, "apple" may not
    bare: bool  # the ticker itself


class Watchlist:
    """Finds the watched companies that a text names.

    An alias matches at word boundaries only; of overlapping matches the longest counts ("Bank of America"
    is not also "America"). An alias of several words matches in any case. One word must be written as in the
    list, so that ``Gap`` and ``Target`` are companies and "gap" and "target" are not, or all in capitals
    when the whole text is.

    A ticker of one or two letters, and any ticker in a text that is all capitals, is found only where it is written
    as a ticker: ``(T)``, ``(NYSE: T)``, ``NASDAQ:GE``. Where people call a company by its ticker, the list repeats
    it as a name (``BP, BP``).
    """

    def __init__(self, companies: Iterable[tuple[str, Iterable[str]]]) -> None:
        by_folded: dict[str, list[_Alias]] = {}
        self._short: dict[str, list[str]] = {}  # as written -> tickers; in the automaton each "t" of a text would match
        self.spoken: dict[str, list[str]] = {}  # ticker -> every name it is known by
        for ticker, given in companies:
            names = list(given)
            if names:
                self.spoken[ticker] = names
            for place, name in enumerate(_straight(spelling) for spelling in (ticker, *names)):
                if place == 0 and len(name) <= _SHORT:
                    self._short.setdefault(name, []).append(ticker)
                    continue
                alias = _Alias(ticker, name, " " in name, place > 0 and len(name) > 3, place == 0)
                by_folded.setdefault(_fold(name), []).append(alias)
        self._automaton = ahocorasick.Automaton()
        for folded, aliases in by_folded.items():
            self._automaton.add_word(folded, (len(folded), aliases))
        self._named = bool(by_folded)
        if self._named:
            self._automaton.make_automaton()

    @property
    def names(self) -> dict[str, str]:
        """What people call each company, by ticker."""
        return {ticker: names[0] for ticker, names in self.spoken.items()}

    @classmethod
    def load(cls, path: Path) -> Watchlist:
        """Reads lines ``TICKER, Name, Other name``; blank lines and lines that start with # are skipped.

        Raises UsageError naming file and line.
        """
        companies = []
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for number, cells in enumerate(csv.reader(file, skipinitialspace=True), 1):
                    # NFKC, as clean text is.
                    names = [" ".join(normalize("NFKC", cell).split()) for cell in cells if cell.strip()]
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
        text = _straight(text)
        folded = _fold(text)
        matches = self._aliases(text, folded) if self._named else []
        if self._short and (":" in text or "(" in text or "[" in text):
            matches += self._short_tickers(text, folded)
        if not matches:
            return set()
        # Nothing counts that lies within a longer match.
        matches.sort(key=lambda match: (match[0], -match[1]))
        tickers = set()
        longest = (0, 0)
        for start, stop, ticker in matches:
            if stop > longest[1]:
                longest = (start, stop)
            if (start, stop) == longest:
                tickers.add(ticker)
        return tickers

    def _aliases(self, text: str, folded: str) -> list[tuple[int, int, str]]:
        shouting = text.isupper()
        matches = []
        for last, (length, aliases) in self._automaton.iter(folded):
            start, stop = last - length + 1, last + 1
            written = text[start:stop]
            for alias in aliases:
                if alias.bare:
                    fits = written == alias.text and (not shouting or _is_notation(text, start, stop))
                else:
                    fits = alias.any_case or written == alias.text or (shouting and alias.shouted)
                # Asked last: most of what the automaton finds is written in another case.
                if fits and _is_word(folded, start, stop):
                    matches.append((start, stop, alias.ticker))
        return matches

    def _short_tickers(self, text: str, folded: str) -> list[tuple[int, int, str]]:
        return [
            (start, stop, ticker)
            for opening in _OPENING.finditer(text)
            for start in [opening.end()]
            for stop in range(start + 1, min(start + _SHORT, len(text)) + 1)
            for ticker in self._short.get(text[start:stop], ())
            if _is_word(folded, start, stop) and _is_notation(text, start, stop)
        ]


def _straight(text: str) -> str:
    """Typographic apostrophes made plain: feeds write Macy's both ways."""
    return text.replace("’", "'")


def _fold(text: str) -> str:
    """Lower case of the same length, so that positions agree."""
    folded = text.lower()
    # İ is the one letter whose lower case is longer.
    return folded if len(folded) == len(text) else "".join(letter.lower()[0] for letter in text)


def _is_notation(text: str, start: int, stop: int) -> bool:
    before = _BEFORE.search(text[max(0, start - _NOTATION) : start])
    if before is None:
        return False
    return not before[0].startswith(("(", "[")) or _AFTER_BRACKET.match(text, stop) is not None


def _is_word(text: str, start: int, stop: int) -> bool:
    return not (
        (start > 0 and _joined(text[start - 1], text[start]))
        or (stop < len(text) and _joined(text[stop - 1], text[stop]))
    )


def _joined(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum() and not _wide(left) and not _wide(right)


def _wide(character: str) -> bool:
    """Chinese, Japanese and Korean are written without spaces, so their characters end no word."""
    return "\u3040" <= character <= "\ud7af"
