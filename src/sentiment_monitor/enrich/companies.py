"""The companies of a watchlist, one a line: ticker, names, identifiers (ISIN:, FIGI:, RIC: and others), groups."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from unicodedata import normalize

from stdnum import cusip, figi, isin
from stdnum.gb import sedol

from sentiment_monitor.enrich.symbols import KINDS, canonical
from sentiment_monitor.errors import UsageError

MAX_GROUP_CHARACTERS = 64

_SYMBOL = re.compile(r"[\^.]?[A-Z0-9][A-Z0-9.\-:=^/&_]{0,30}")  # as in messages, see docs/data-contract.md
_IDENTIFIER = re.compile(rf"({'|'.join((*KINDS, 'GROUP'))}) ?: ?(.*)", re.IGNORECASE)
_IS_VALID: dict[str, Callable[[str], bool]] = {
    "ISIN": isin.is_valid,
    "FIGI": figi.is_valid,
    "CUSIP": cusip.is_valid,
    "SEDOL": sedol.is_valid,
}


# Title of a column -> what stands before its cells where there are no titles.
_TICKER_TITLES = {"ticker", "symbol", "code"}
_TITLES = {
    **dict.fromkeys(("name", "names", "company", "company name", "issuer", "alias", "aliases", "other names"), ""),
    **dict.fromkeys(("group", "groups", "sector", "industry", "country", "portfolio"), "GROUP:"),
    **{kind.casefold(): f"{kind}:" for kind in KINDS},
}


@dataclass(frozen=True, slots=True)
class Company:
    """A watched company."""

    ticker: str
    names: tuple[str, ...] = ()  # what people call it; the first is shown
    symbols: tuple[str, ...] = ()  # other symbols and identifiers that mean it, upper case
    groups: tuple[str, ...] = ()  # sectors, countries, portfolios; lower case

    @classmethod
    def of(cls, cells: Sequence[str]) -> Self:
        """The company of a line's cells. Raises UsageError for a ticker, name or identifier that cannot be one."""
        ticker, *rest = cells
        if not _SYMBOL.fullmatch(ticker.upper()):
            raise UsageError(f"{ticker!r} is not a ticker (write TICKER, Name, Other name)")
        names, symbols, groups = [], [], []
        for cell in rest:
            identifier = _IDENTIFIER.fullmatch(cell)
            if identifier is None:
                if len(cell) < 2:
                    raise UsageError(f"the name {cell!r} is too short to look for")
                names.append(cell)
            elif identifier[1].upper() == "GROUP":
                groups.append(_group(identifier[2]))
            else:
                symbols.append(_symbol(identifier[1].upper(), identifier[2].upper()))
        return cls(ticker.upper(), tuple(names), tuple(symbols), tuple(dict.fromkeys(groups)))


def read_companies(path: Path) -> list[Company]:
    """Reads lines ``TICKER, Name, Other name, ISIN:…, group:…``, without blank ones and those that begin with #.

    Where the first line has titles, they say what the cells are. Raises UsageError naming file and line.
    """
    companies: list[tuple[int, Company]] = []
    titles: list[str] | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file, skipinitialspace=True), 1):
                # NFKC, as clean text is.
                cells = [" ".join(normalize("NFKC", cell).split()) for cell in row]
                if not any(cells) or cells[0].startswith("#"):
                    continue
                with _naming_line(path, number):
                    if titles is None and (titles := _titles(cells)):
                        continue
                    companies.append((number, Company.of(_untitled(titles, cells))))
    except OSError as error:
        raise UsageError(f"watchlist {path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"watchlist {path}: not readable as UTF-8 text: {error}") from None
    if not companies:
        raise UsageError(f"watchlist {path}: names no company")
    _refuse_shared_symbols(path, companies)
    return [company for _, company in companies]


def _titles(cells: Sequence[str]) -> list[str]:
    """The titles of the columns, if the first line has titles. Raises UsageError for one that says nothing to us."""
    titles = [cell.casefold() for cell in cells]
    if _TICKER_TITLES.isdisjoint(titles) or not (len(titles) == 1 or _TITLES.keys() & titles):
        return []
    if unknown := [title for title in titles if title and title not in _TITLES.keys() | _TICKER_TITLES]:
        raise UsageError(f"the column {unknown[0]!r} is not known: ticker, {', '.join(_TITLES)}")
    return titles


def _untitled(titles: Sequence[str] | None, cells: Sequence[str]) -> list[str]:
    """A line as it is written without titles: the ticker first, identifiers behind their kind."""
    if not titles:
        return [cell for cell in cells if cell]
    first = next(place for place, title in enumerate(titles) if title in _TICKER_TITLES)
    rest = [
        f"{_TITLES.get(title, '')}{part.strip()}"
        for place, (title, cell) in enumerate(zip(titles, cells, strict=False))
        if place != first
        for part in cell.split(";")
        if part.strip()
    ]
    return ["".join(cells[first : first + 1]), *rest]


def _refuse_shared_symbols(path: Path, companies: Iterable[tuple[int, Company]]) -> None:
    owners = {canonical(company.ticker): company.ticker for _, company in companies}
    for number, company in companies:
        for symbol in company.symbols:
            owner = owners.setdefault(canonical(symbol), company.ticker)
            if owner != company.ticker:
                raise UsageError(f"{path}:{number}: {symbol} means {owner} already")


@contextmanager
def _naming_line(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{path}:{number}: {error}") from None


def _group(name: str) -> str:
    if not name or len(name) > MAX_GROUP_CHARACTERS:
        raise UsageError(f"group {name!r:.80} must have 1 to {MAX_GROUP_CHARACTERS} characters")
    return name.casefold()


def _symbol(kind: str, value: str) -> str:
    if not value or not _IS_VALID.get(kind, bool)(value):
        raise UsageError(f"{kind}:{value} is no {kind}: its length or its check digit is wrong")
    return value
