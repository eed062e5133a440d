"""What people call a series, and which series somebody means who typed something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sentiment_monitor.domain.series import dimension_of, ticker_series, value_of
from sentiment_monitor.store import buckets
from sentiment_monitor.store.database import Connection

_COMPANIES = 50  # looked up for one question
_LIKE = 20


class SeriesNames:
    """``companies`` are the names of each ticker, the one to show first."""

    def __init__(self, companies: Mapping[str, Sequence[str]]) -> None:
        self._companies = companies

    def of(self, series: str) -> str:
        """The company of a ticker, else the value of the series."""
        value = value_of(series)
        if dimension_of(series) == "ticker" and value in self._companies:
            company = self._companies[value][0]
            return f"{company} ({value})" if company != value else value
        return {"topic": value.replace("_", " ")}.get(dimension_of(series), value) or "The whole feed"

    def meant_by(self, text: str, connection: Connection) -> list[str]:
        """Series that ``text`` may mean; companies that are called exactly so hide all others."""
        wanted = text.casefold()
        called = {ticker: [name.casefold() for name in (ticker, *names)] for ticker, names in self._companies.items()}
        if exact := _known(connection, (ticker for ticker, names in called.items() if wanted in names)):
            return exact
        near = (ticker for ticker, names in called.items() if any(wanted in name for name in names))
        alike = buckets.series_like(connection, value_of(text) or text, _LIKE)
        return list(dict.fromkeys([*_known(connection, near), *alike]))


def _known(connection: Connection, tickers: Iterable[str]) -> list[str]:
    named = [ticker_series(ticker) for ticker in tickers][:_COMPANIES]
    return [series for series in named if buckets.exists(connection, series)]
