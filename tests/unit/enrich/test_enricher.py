"""What reading a story adds: clean text, language, tickers, event time, copy keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.demo.news import week
from sentiment_monitor.domain.news import (
    MAX_BODY_CHARACTERS,
    MAX_HEADLINE_CHARACTERS,
    Action,
    EnrichedStory,
    Position,
    Story,
)
from sentiment_monitor.enrich.companies import Company
from sentiment_monitor.enrich.copies import copy_keys
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.enrich.language import LanguageDetector
from sentiment_monitor.enrich.names import Watchlist
from sentiment_monitor.score.text import clean
from sentiment_monitor.times import MINUTE_MS

NOW = 1_678_468_860_000
STORY = Story("wire", "1", Action.CREATED, None, "Bank fails", "", "", NOW, (), None, Position("news", 0, 0))
ENRICHER = Enricher(clean, watchlist=Watchlist([Company("AAPL", ("Apple",)), Company("MSFT", ("Microsoft",))]))


def enrich(received_ms: int = NOW, **changes: object) -> EnrichedStory:
    return ENRICHER.enrich(replace(STORY, **changes), received_ms)  # type: ignore[arg-type]  # field values


def test_copies_names_and_scores_read_the_same_clean_text() -> None:
    found = enrich(headline="<b>Apple</b> &amp; ＄MSFT fall https://x.y/$TSLA")
    assert found.text == "Apple & $MSFT fall"
    assert found.tickers == ("AAPL", "MSFT")
    assert found.copy_keys == copy_keys("Apple & $MSFT fall")


def test_a_body_whose_letters_become_eighteen_is_read_no_further_than_another() -> None:
    read = enrich(body="\ufdfa" * MAX_BODY_CHARACTERS).body_text
    assert MAX_BODY_CHARACTERS - 1 <= len(read) <= MAX_BODY_CHARACTERS, "a blank at its end is none of it"


def test_a_headline_whose_letters_become_eighteen_is_no_longer_than_another() -> None:
    assert len(enrich(headline="\ufdfa" * MAX_HEADLINE_CHARACTERS).text) == MAX_HEADLINE_CHARACTERS


def test_the_publisher_behind_a_headline_is_neither_scored_nor_searched_for_companies() -> None:
    alone = enrich(headline="Norwick Savings Bank halts all withdrawals")
    enriched = enrich(headline="Norwick Savings Bank halts all withdrawals - Apple Daily Times", source="apple")
    assert (enriched.text, enriched.tickers, enriched.copy_keys) == (alone.text, (), alone.copy_keys)
    assert enriched.story.headline.endswith("Times")


WATCHED = Watchlist(
    [
        Company("KSTR", ("Kestrel Bank",)),
        Company("AMZN", ("Amazon", "Amazon.com")),
        Company("NYT", ("New York Times",)),
        Company("TRI", ("Reuters",)),
        Company("TST", ("Tradelane.com", "Inland-Herald")),
    ]
)


@pytest.mark.parametrize(
    ("headline", "source", "tickers"),
    [
        ("Regulator halts withdrawals at lender - Kestrel Bank", "kestrel bank", ("KSTR",)),  # its own news
        ("Regulator halts withdrawals at lender - Kestrel Bank", "wire", ("KSTR",)),
        ("Strike hits warehouses of retailer - Amazon.com", "wire", ("AMZN",)),  # a company called like a site
        ("Strike hits warehouses of retailer - Amazon", "amazon", ("AMZN",)),
        ("Strike hits warehouses - Amazon.com - Reuters", "wire", ("AMZN",)),
        ("Storm hits the coast - Tradelane.com", "tradelane.com", ()),  # a site that publishes
        ("Storm hits the coast - New York Times", "wire", ()),
        ("Storm hits the coast - New York Times", "new york times", ()),
        ("Publisher cuts 500 jobs - New York Times", "wire", ()),  # it cannot be told from the line above
        ("New York Times cuts 500 jobs - Reuters", "reuters", ("NYT",)),
        ("Storm hits the coast - Reuters", "reuters", ()),
        ("Storm hits the coast - Inland-Herald", "aggregator", ()),
        ("Storm hits the coast - Inland-Herald", "inland-herald", ()),
        ("Storm hits the coast - Kestrel Bank Weekly", "kestrel bank weekly", ()),
        ("Storm hits the coast - amazon.example.com", "wire", ()),
    ],
)
def test_a_company_behind_a_headline_is_found_unless_it_is_nothing_but_the_publisher(
    headline: str, source: str, tickers: tuple[str, ...]
) -> None:
    enricher = Enricher(clean, watchlist=WATCHED)
    (story,) = enricher.enrich_all([replace(STORY, headline=headline, source=source)], NOW)
    assert story.tickers == tickers


def test_every_wording_of_the_demo_has_the_exact_key_of_the_headline_that_it_repeats() -> None:
    messages = [sent.value for sent in week(NOW // MINUTE_MS, 0) if isinstance(sent.value, dict)]
    trouble = {str(value["id"]): value for value in messages if str(value["id"]).startswith("t")}
    keys = {
        number: enrich(headline=value["headline"], source=value["source"].lower()).copy_keys[0]
        for number, value in trouble.items()
    }
    assert len(trouble) > 30
    assert all(key == keys[number.partition("c")[0]] for number, key in keys.items())


def test_tickers_come_from_the_message_cashtags_and_names_sorted_and_once() -> None:
    found = enrich(headline="Apple, $aapl and $TSLA", body="Microsoft and $IBM too", tickers=("TSLA", "BAC"))
    assert found.tickers == ("AAPL", "BAC", "IBM", "MSFT", "TSLA")


def test_other_notations_of_a_watched_ticker_lead_to_it_and_other_tickers_stay_as_they_came() -> None:
    assert enrich(tickers=("AAPL.US", "XNAS:MSFT", "AAPL.L", "KSTR.US")).tickers == (
        "AAPL",
        "AAPL.L",
        "KSTR.US",
        "MSFT",
    )
    assert enrich(headline="$AAPL.N slides").tickers == ("AAPL",)


def test_a_headline_in_capitals_is_one_whatever_its_body_looks_like() -> None:
    assert enrich(headline="APPLE CUTS FORECAST", body="The company said on Monday").tickers == ("AAPL",)


def test_a_story_dated_ahead_counts_when_it_was_received_and_an_old_one_at_its_own_time() -> None:
    assert enrich(published_ms=NOW + 10 * MINUTE_MS).minute == NOW // MINUTE_MS + 10
    assert enrich(published_ms=NOW + 10 * MINUTE_MS + 1).minute == NOW // MINUTE_MS
    assert enrich(published_ms=253_402_300_799_000).minute == NOW // MINUTE_MS
    assert enrich(published_ms=0).minute == 0


def test_the_feeds_language_wins_over_detection() -> None:
    assert enrich(language="de").language == "de"
    assert enrich(headline="Die Bank stellt alle Auszahlungen an ihre Kunden ein").language == "de"


def test_a_headline_that_is_only_a_link_still_has_a_key_of_its_own() -> None:
    one, other = enrich(headline="https://a.b/1"), enrich(headline="https://a.b/2")
    assert (one.text, one.language) == ("", "und")
    assert one.copy_keys != other.copy_keys


def test_stories_read_together_are_what_each_is_alone_in_their_order() -> None:
    stories = [
        replace(STORY, headline="Apple, $IBM and the Kestrel Bank halt all withdrawals", published_ms=0),
        replace(STORY, headline="", action=Action.DELETED),
        replace(STORY, headline="银行暂停提款", body="Microsoft", tickers=("BAC",)),
        replace(STORY, headline="Bank fails", published_ms=NOW + 60 * MINUTE_MS, language="fr"),
    ]
    assert ENRICHER.enrich_all(stories, NOW) == [ENRICHER.enrich(story, NOW) for story in stories]
    assert ENRICHER.enrich_all([], NOW) == []


@given(st.text(max_size=80), st.text(max_size=80), st.integers(0, 253_402_300_799_000))
def test_any_text_can_be_read(headline: str, body: str, published_ms: int) -> None:
    headline, body = (text.encode("utf-8", "replace").decode() for text in (headline, body))
    found = enrich(headline=headline, body=body, published_ms=published_ms)
    assert found.tickers == tuple(sorted(set(found.tickers)))
    assert len(found.language) <= 8
    assert 0 <= found.minute <= NOW // MINUTE_MS + 10


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "und"),
        ("12.5 %", "und"),
        ("IBM", "und"),
        ("Kestrel Bank halts withdrawals after depositors panic", "en"),
        ("La banque suspend tous les retraits de ses clients", "fr"),
        ("银行暂停提款", "zh"),
        ("銀行は引き出しを停止した", "ja"),
        ("은행이 인출을 중단했다", "ko"),
        ("Банк приостановил выдачу вкладов", "ru"),
        ("Apple苹果公司宣布暂停所有在华业务并大规模裁员", "zh"),
        ("KESTREL BANK HALTS WITHDRAWALS AFTER DEPOSITORS PANIC", "en"),
        ("The Greek letter \u03b1 stands for the return that beats the market", "en"),
        ("\u03b1 \u03b2 IBM", "und"),
        ("two\nlines of ordinary English text about a failing bank", "en"),
    ],
)
def test_languages_are_told_by_script_or_by_words(text: str, language: str) -> None:
    assert LanguageDetector().detect(text) == language
