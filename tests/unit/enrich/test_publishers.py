"""What stands behind the last dash of a headline: its publisher, or news."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.enrich.publishers import without_publisher

NEWS = "Regulator halts withdrawals at Norwick Savings Bank"


@pytest.mark.parametrize(
    ("end", "source"),
    [
        (" - Inland-Herald", "inland-herald"),
        (" - The Inland Herald", "inland_herald"),
        (" | Tradelane", "tradelane.com"),
        (" - Börsenblick", "borsenblick"),
        (" - Channel 8", "channel8"),
        (" - Reuters", "aggregator"),
        (" - Reuters - Yahoo Finance", "aggregator"),
        (" | The Wall Street Journal", "aggregator"),
        (" — Barron’s", "aggregator"),
        (" – marketwatch.com", "aggregator"),
        (" - 新华社", "aggregator"),
        (" - Ostrava Evening Courier", "aggregator"),
        (" - Ostrava Post-Dispatch", "aggregator"),
        (" - 24/7 Wall St.", "aggregator"),
    ],
)
@pytest.mark.parametrize("news", [NEWS, "Fails"])
def test_the_name_of_the_publisher_is_taken_off(news: str, end: str, source: str) -> None:
    assert without_publisher(f"{news}{end}", source) == news


@pytest.mark.parametrize(
    ("headline", "source"),
    [
        (NEWS, "norwick savings bank"),
        ("Fed raises rates sharply - stocks tumble", "wire"),
        ("Fed raises rates sharply - Stocks Tumble", "wire"),
        ("MORNING DIGEST - Ostrava - Sept 16", "wire"),
        ("MORNING DIGEST - 24 Times", "wire"),
        ("Kedron Rovers - TeamSheet", "kedron"),
        ("Kedron Rovers - PlayerNotes", "wire"),
        ("Deposits flee - Norwick", "norwick-herald"),
        ("Strike looms - Kestrel Mail", "wire"),
        ("Reuters", "reuters"),
        (" - Reuters", "reuters"),
        ("!!! - Reuters", "reuters"),
        ("Q3 - $1.5bn", "wire"),
        ("Profit up -", "wire"),
        ("", "wire"),
        ("Merger off - and what " + "the analysts of the houses say of it Times", "wire"),
    ],
)
def test_what_is_news_stays(headline: str, source: str) -> None:
    assert without_publisher(headline, source) == headline


_piece = st.sampled_from(["Norwick", "fails", " - ", " | ", "Reuters", "The", " ", "Times", "!", "wire", "16", "中"])


@given(st.lists(_piece, max_size=12).map("".join), st.sampled_from(["wire", "", "norwick"]))
def test_a_headline_is_shortened_at_its_end_only_and_never_to_nothing(headline: str, source: str) -> None:
    headline = " ".join(headline.split())
    kept = without_publisher(headline, source)
    assert headline.startswith(kept)
    assert kept == headline or any(character.isalnum() for character in kept)


def test_a_headline_of_nothing_but_publishers_costs_little() -> None:
    headline = "Norwick fails" + " - Reuters" * 20_000
    began = time.process_time()
    assert without_publisher(headline, "wire") == "Norwick fails" + " - Reuters" * (20_000 - 3)
    assert time.process_time() - began < 0.1
