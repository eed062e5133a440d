"""Series: a dimension and a value, by which the trend is followed: ``all``, ``topic:earnings``, ``ticker:AAPL``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def series_of(source: str, topic: str | None, tickers: tuple[str, ...]) -> Iterator[str]:
    """The series one story counts in: ``all``, its topic, each ticker, its source."""
    yield "all"
    if topic:
        yield f"topic:{topic}"
    for ticker in tickers:
        yield ticker_series(ticker)
    yield f"source:{source}"


def ticker_series(ticker: str) -> str:
    """The series of one company."""
    return f"ticker:{ticker}"


def name_of(series: str, names: Mapping[str, str]) -> str:
    """What people call a company's series, by ``names`` of tickers; nothing for one without a name, and for others."""
    return names.get(value_of(series), "") if dimension_of(series) == "ticker" else ""


def dimension_of(series: str) -> str:
    """``ticker`` for ``ticker:AAPL``, ``all`` for ``all``."""
    return series.partition(":")[0]


def value_of(series: str) -> str:
    """``AAPL`` for ``ticker:AAPL``, nothing for ``all``."""
    return series.partition(":")[2]
