"""Notations of shares: which are one, and which are not."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.enrich.symbols import canonical


@pytest.mark.parametrize(
    "notations",
    [
        "KSTR|kstr|$KSTR|KSTR.US|KSTR.N|KSTR.OQ|R:KSTR.N|RIC:KSTR.K|NYSE:KSTR|NASDAQ: KSTR|XNAS:KSTR|KSTR:US|KSTR US"
        "|KSTR US Equity|KSTR UW EQUITY|ＫＳＴＲ",
        "KSTR.B|KSTR-B|KSTR/B|KSTR B|KSTR.B.US|NYSE:KSTR.B|KSTR/B US Equity",
        "0700.HK|700.HK|00700.HK|HKEX:700|HKG:0700|HKEX:0700.HK|700 HK|700 HK Equity|R:0700.HK",
        "KSTR.L|LON:KSTR|LSE:KSTR|KSTR LN|KSTR.LSE|XLON:KSTR",
        "KSTR.TO|TSX:KSTR|KSTR CN Equity",
        "KSTR.DE|ETR:KSTR|KSTR GY Equity|KSTR.XETRA",
        "M&M.NS|NSE:M&M|M&M.BO|M&M IN",
        "7203.T|TYO:7203|7203 JP Equity",
        "US0378331005|ISIN:US0378331005|isin: us0378331005",
    ],
)
def test_notations_of_one_share_are_one(notations: str) -> None:
    assert len({canonical(notation) for notation in notations.split("|")}) == 1


def test_shares_of_different_markets_and_classes_are_different() -> None:
    shares = ["KSTR", "KSTR.L", "KSTR-L", "KSTR.TO", "KSTR.V", "KSTR.HK", "KSTR.A", "KSTR.B", "KSTR.T", "700", "700.HK",
              "700.T", "70.HK", "KSTRL", "^GSPC", ".DJI", "BTC-USD", "BTC/USD", "EUR=X", "N/A.L"]  # fmt: skip
    assert [pair for pair in combinations(shares, 2) if canonical(pair[0]) == canonical(pair[1])] == []


@given(st.text(st.sampled_from("AB09.:/-$ LNUS@^=é中"), max_size=12) | st.text(max_size=40))
def test_any_text_has_one_spelling(symbol: str) -> None:
    assert canonical(symbol) == canonical(symbol.strip())


def test_what_is_too_long_for_a_symbol_is_only_itself() -> None:
    assert canonical("KSTR" * 20 + ".US") == "KSTR" * 20 + ".US"
