"""Companies in text: cashtags, and a watchlist found by Aho-Corasick in one pass, however long the list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import ahocorasick

from sentiment_monitor.enrich.companies import Company, read_companies
from sentiment_monitor.enrich.folding import fold, plain, straight
from sentiment_monitor.enrich.symbols import CLASS_SEPARATORS, canonical

NOT_TICKERS = Path(__file__).with_name("not_tickers.txt")

# $BRK.B, also between Chinese characters, but not $5, US$ amounts, or $m and $bn for millions and billions.
_CASHTAG = re.compile(
    r"(?<![A-Za-z0-9_$])\$(?!(?:k|m|mn|mln|b|bn|bln|tn|trn)(?![A-Za-z0-9_.\-]))"
    r"([A-Za-z]{1,6}(?:[.\-][A-Za-z]{1,2})?)(?![A-Za-z0-9_$])"
)
MAX_CASHTAGS = 100  # of one text: every ticker is a series, and spam lists them all

# A ticker in place: (T), [T], (NYSE: T), NYSE:T. Not "(C) 2023", which is a copyright.
_BEFORE = re.compile(
    r"(?:\b(?:NYSE|NASDAQ|AMEX|OTC|OTCQX|OTCMKTS|LSE|LON|AIM|TSX|TSXV|ASX|NZX|HKEX|HKG|SGX|TYO|TSE|KRX|NSE|BSE|JSE"
    r"|FRA|ETR|XETRA|EPA|AMS|BIT|BME|SWX|SIX|STO|CPH|HEL|OSL)(?: (?:American|Arca|GS|GM|CM))? ?: ?)$",
    re.IGNORECASE,
)
_OPENING = r"(?:[(\[]|: ?)"  # what every notation has right before the ticker
_AFTER_BRACKET = re.compile(r"[.:][A-Za-z]{1,3}[)\]]|[)\]](?! ?(?:19|20)\d\d)|, ")
_MARKET_IN_BRACKET = re.compile(r"[.:][A-Za-z]{1,3}[)\]]")
_SHORT = 2  # characters of a ticker that counts in notation only
_NOTATION = 24  # characters that the longest exchange takes

# "$3M in seed", "€ 3M", "raises 1.3M", "3M users" are amounts, "3M cuts jobs" is a company.
_LIKE_AN_AMOUNT = re.compile(r"\d+[A-Za-z]{1,3}")
_MONEY_BEFORE = re.compile(
    r"(?:[$€£¥₹₩₽₺₪฿+~<>]|\d[.,]|\b(?:USD|US|EUR|GBP|CHF|JPY|CNY|RMB|INR|Rs\.?|CAD|AUD|HKD|SGD|BRL|ZAR|SEK|NOK|DKK|PLN"
    r"|AED|SAR|KRW|TWD|raises?|raised|raising|secures?|nets?|lands?|bags?|nearly|almost|least|another|extra))[ -]?$",
    re.IGNORECASE,
)
_COUNTED_AFTER = re.compile(
    r"[ -](?:in (?:seed|funding|cash|debt|equity|grants?|damages|fines?|revenue|sales|savings)|seed|round|funding"
    r"|users?|people|subscribers?|followers?|downloads?|members?|households|homes|vehicles|cars|barrels?|bpd|tonnes|tons?"
    r"|ounces|oz|bushels|acres|miles|visitors|passengers|doses|dollars?|euros?|pounds?|yen|yuan|rupees?|francs?|USD|EUR"
    r"|GBP)\b",
    re.IGNORECASE,
)
_LONGEST_MONEY = 12
_AND = re.compile(r"(?<=\w)(?: ?& ?| and )(?=\w)", re.IGNORECASE)


def cashtags(text: str) -> set[str]:
    """Tickers written as ``$AAPL``, in upper case; of very many the first ``MAX_CASHTAGS``."""
    if "$" not in text:
        return set()
    return set(islice(dict.fromkeys(ticker.upper() for ticker in _CASHTAG.findall(text)), MAX_CASHTAGS))


@dataclass(frozen=True, slots=True)
class _Alias:
    ticker: str
    text: str
    bare: bool = False  # the ticker itself, or another symbol of the company
    word: bool = False  # also an ordinary word or another body's name
    any_case: bool = False  # several words: "bank of america" cannot be anything else
    shouted: bool = False  # one word: "APPLE" may stand for "Apple" in a headline in capitals, "apple" may not
    amount: bool = False  # 3M


class Watchlist:
    """Finds the watched companies that a text names, and those that symbols mean.

    An alias matches at word boundaries only; of overlapping matches the longest counts ("Bank of America"
    is not also "America"). An alias of several words matches in any case. One word must be written as in the
    list, so that ``Gap`` and ``Target`` are companies and "gap" and "target" are not, or all in capitals
    when the whole text is. Accents, hyphens, and ``&`` for "and" make no difference.

    A ticker of one or two letters, one that is a word or another body's name (``KEY``, ``CMA``), and any ticker in a
    text that is all capitals, is found only where it is written as a ticker: ``(T)``, ``(NYSE: T)``, ``NASDAQ:GE``.
    Where people call a company by its ticker, the list repeats it as a name (``BP, BP``).
    """

    def __init__(self, companies: Iterable[Company]) -> None:
        by_folded: dict[str, list[_Alias]] = {}
        short: set[str] = set()  # tickers; in the automaton each "t" of a text would match
        self.spoken: dict[str, list[str]] = {}  # ticker -> every name it is known by
        self.groups: dict[str, list[str]] = {}  # group -> tickers
        self._groups_of: dict[str, tuple[str, ...]] = {}
        self._by_symbol: dict[str, str] = {}  # canonical symbol -> ticker
        companies = list(companies)
        for company in companies:
            self._by_symbol.setdefault(canonical(company.ticker), company.ticker)
        for company in companies:
            ticker = company.ticker
            if company.names:
                self.spoken[ticker] = list(company.names)
            self._groups_of[ticker] = (*self._groups_of.get(ticker, ()), *company.groups)
            for group in company.groups:
                self.groups.setdefault(group, []).append(ticker)
            for symbol in company.symbols:
                self._by_symbol.setdefault(canonical(symbol), ticker)
            if len(ticker) <= _SHORT:
                short.add(ticker)
            for alias in _aliases(company):
                by_folded.setdefault(fold(plain(alias.text)), []).append(alias)
        self._automaton = ahocorasick.Automaton()
        for folded, aliases in by_folded.items():
            self._automaton.add_word(folded, (len(folded), aliases))
        longest_first = "|".join(map(re.escape, sorted(short, key=lambda ticker: (-len(ticker), ticker))))
        self._short = re.compile(f"{_OPENING}({longest_first})") if short else None
        self._named = bool(by_folded)
        if self._named:
            self._automaton.make_automaton()

    @property
    def names(self) -> dict[str, str]:
        """What people call each company, by ticker."""
        return {ticker: names[0] for ticker, names in self.spoken.items()}

    @classmethod
    def load(cls, path: Path) -> Watchlist:
        """Of a file. Raises UsageError naming file and line."""
        return cls(read_companies(path))

    def groups_of(self, ticker: str) -> tuple[str, ...]:
        """The groups that a ticker belongs to."""
        return self._groups_of.get(ticker, ())

    def meant_by(self, symbols: Iterable[str]) -> set[str]:
        """The watched company's ticker for each symbol that means one; any other symbol stays as it is."""
        if not self._by_symbol:
            return set(symbols)
        return {self._by_symbol.get(symbol) or self._by_symbol.get(canonical(symbol), symbol) for symbol in symbols}

    def find(self, text: str) -> set[str]:
        """Tickers of the companies that ``text`` names."""
        text = straight(text)
        spelt = plain(text)
        folded = fold(spelt)
        matches = self._matches(text, spelt, folded) if self._named else []
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

    def called(self, name: str) -> set[str]:
        """Tickers of the companies of which ``name`` is a name as a whole."""
        if not self._named:
            return set()
        text = straight(name)
        spelt = plain(text)
        return {ticker for *span, ticker in self._matches(text, spelt, fold(spelt)) if span == [0, len(text)]}

    def _matches(self, text: str, spelt: str, folded: str) -> list[tuple[int, int, str]]:
        shouting = text.isupper()
        matches = []
        for last, (length, aliases) in self._automaton.iter(folded):
            start, stop = last - length + 1, last + 1
            for alias in aliases:
                if alias.bare:
                    fits = text[start:stop] == alias.text and (
                        not (shouting or alias.word) or _is_notation(text, start, stop, alias.word)
                    )
                else:
                    fits = alias.any_case or spelt[start:stop] == alias.text or (shouting and alias.shouted)
                # Asked last: most of what the automaton finds is written in another case.
                if fits and _is_word(folded, start, stop) and not (alias.amount and _is_amount(text, start, stop)):
                    matches.append((start, stop, alias.ticker))
        return matches

    def _short_tickers(self, text: str, folded: str) -> list[tuple[int, int, str]]:
        return [
            (*match.span(1), match[1])
            for match in (self._short.finditer(text) if self._short else ())
            if _is_word(folded, *match.span(1)) and _is_notation(text, *match.span(1), match[1] in _not_tickers())
        ]


def _aliases(company: Company) -> Iterator[_Alias]:
    """Everything by which texts may mean a company, but for tickers too short to be looked for everywhere."""
    ticker = company.ticker
    notations = (notation for symbol in (ticker, *company.symbols) for notation in _notations(symbol))
    for notation in dict.fromkeys(notations):
        if len(notation) > _SHORT:
            yield _Alias(ticker, notation, bare=True, word=notation in _not_tickers())
    for name in company.names:
        if not any(map(str.isalnum, name)):
            yield _Alias(ticker, straight(name), bare=True)
            continue
        for spelling in _spellings(plain(straight(name))):
            amount = _LIKE_AN_AMOUNT.fullmatch(name) is not None
            yield _Alias(ticker, spelling, any_case=" " in name, shouted=len(name) > 3, amount=amount)


def _notations(symbol: str) -> Iterator[str]:
    """``symbol``, and with a class of shares in all ways to write it."""
    yield symbol
    root, _, share_class = canonical(symbol).partition("/")
    if share_class:
        yield from (f"{root}{separator}{share_class}" for separator in CLASS_SEPARATORS)


def _spellings(name: str) -> Iterator[str]:
    """``name`` with & and with "and": Johnson & Johnson, Johnson&Johnson, Johnson and Johnson."""
    yield from dict.fromkeys((name, *(_AND.sub(conjunction, name) for conjunction in (" & ", "&", " and "))))


@cache
def _not_tickers() -> frozenset[str]:
    lines = NOT_TICKERS.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _is_notation(text: str, start: int, stop: int, word: bool) -> bool:
    """Whether a ticker is written as one. Of a ``word`` brackets say nothing: "the Markets Authority (CMA)"."""
    # A hostile text has an opening at every other place: most are answered by one character.
    if text[start - 1 : start] in ("(", "["):
        return (_MARKET_IN_BRACKET if word else _AFTER_BRACKET).match(text, stop) is not None
    if ":" not in text[max(0, start - 2) : start]:
        return False
    return _BEFORE.search(text[max(0, start - _NOTATION) : start]) is not None


def _is_amount(text: str, start: int, stop: int) -> bool:
    before = _MONEY_BEFORE.search(text[max(0, start - _LONGEST_MONEY) : start])
    return before is not None or _COUNTED_AFTER.match(text, stop) is not None


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
