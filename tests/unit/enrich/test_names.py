"""Which companies a text names: case, boundaries, overlaps, and tickers that are words or letters."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.enrich.names import MAX_CASHTAGS, Watchlist, cashtags
from sentiment_monitor.errors import UsageError

WATCHED = Watchlist(
    [
        ("AAPL", ["Apple", "Apple Inc"]),
        ("BAC", ["Bank of America", "BofA"]),
        ("USA", ["America"]),
        ("GPS", ["Gap"]),
        ("TGT", ["Target"]),
        ("M", ["Macy's"]),
        ("KSS", ["Kohl’s"]),
        ("T", ["AT&T"]),
        ("C", ["Citigroup", "Citi"]),
        ("F", ["Ford"]),
        ("CS", ["Credit Suisse"]),
        ("GE", ["General Electric"]),
        ("BP", ["BP"]),
        ("COST", ["Costco"]),
        ("GOOG", ["Alphabet", "Google"]),
        ("GOOGL", ["Alphabet", "Google"]),
        ("ISCTR", ["İş Bankası"]),
        ("0700.HK", ["腾讯", "Tencent"]),
    ]
)


@pytest.mark.parametrize(
    ("text", "tickers"),
    [
        ("", set()),
        ("Apple rises", {"AAPL"}),
        ('Apple\'s profit, Apple’s loss, (Apple) "Apple" Apple-led', {"AAPL"}),
        ("an apple a day; Applebee's; Pineapple; Apple2", set()),
        ("apple inc sues", {"AAPL"}),
        ("The gap widens on target", set()),
        ("Gap beats Target", {"GPS", "TGT"}),
        ("Bank of America cuts", {"BAC"}),
        ("bank of america cuts", {"BAC"}),
        ("Bank of America leaves America", {"BAC", "USA"}),
        ("America", {"USA"}),
        ("Google splits", {"GOOG", "GOOGL"}),
        ("Macy’s and Macy's", {"M"}),
        ("Macy’s", {"M"}),
        ("Kohl's", {"KSS"}),
        ("AT&T cuts", {"T"}),
        ("İş Bankası", {"ISCTR"}),
        ("Apple opens in İstanbul, says İş Bankası", {"AAPL", "ISCTR"}),
        ("苹果Apple和腾讯大涨", {"AAPL", "0700.HK"}),
        ("腾讯控股", {"0700.HK"}),
        ("0700.HK falls", {"0700.HK"}),
    ],
)
def test_names_are_found_as_words_and_in_their_own_case(text: str, tickers: set[str]) -> None:
    assert WATCHED.find(text) == tickers


@pytest.mark.parametrize(
    ("text", "tickers"),
    [
        ("APPLE CUTS FORECAST", {"AAPL"}),
        ("BANK OF AMERICA TARGET RAISED", {"BAC", "TGT"}),
        ("MIND THE GAP", set()),  # three letters say too little
        ("BP PROFIT", {"BP"}),
        ("COST OF LIVING RISES", set()),
        ("COST REPORTS (NASDAQ: COST)", {"COST"}),
        ("COST reports", {"COST"}),
    ],
)
def test_in_capitals_a_name_is_a_name_and_a_bare_ticker_a_word(text: str, tickers: set[str]) -> None:
    assert WATCHED.find(text) == tickers


@pytest.mark.parametrize(
    "text",
    [
        "Plan C fails", "Vitamin C: yes", "Mr. T and Ford's T model A", "an F grade", "F-16 crash", "C, T, F and GE",
        "CS students", "GE", "Grade: F", "(C) 2023 Newswire", "(C)2023 Newswire", "T.S. Eliot", "C++", "Part (C",
        "1 C) choose", "C:", "T. Rowe Price",
    ],
)  # fmt: skip
def test_a_ticker_of_one_or_two_letters_in_running_text_is_no_company(text: str) -> None:
    assert WATCHED.find(text) - {"F"} == set()
    assert "F" not in WATCHED.find(text) or "Ford" in text


@pytest.mark.parametrize(
    ("text", "tickers"),
    [
        ("(NYSE: T) falls", {"T"}),
        ("(NYSE:T)", {"T"}),
        ("NYSE: GE slides", {"GE"}),
        ("Nasdaq: GE", {"GE"}),
        ("NYSE American: GE", {"GE"}),
        ("Shares (C) fall", {"C"}),
        ("Shares [C] fall", {"C"}),
        ("Shares (C.N), (GE.N) fall", {"C", "GE"}),
        ("Shares (C, GE) fall", {"C"}),
    ],
)
def test_written_as_a_ticker_even_one_letter_counts(text: str, tickers: set[str]) -> None:
    assert WATCHED.find(text) == tickers


def test_a_short_ticker_repeated_as_a_name_is_found_bare() -> None:
    assert Watchlist([("BP", ["BP"])]).find("BP cuts") == {"BP"}
    assert Watchlist([("BP", [])]).find("BP cuts") == set()


def test_of_overlapping_names_the_longest_counts_and_neighbours_both() -> None:
    watched = Watchlist([("A1", ["New York"]), ("B1", ["York Community"]), ("C1", ["New York Community Bank"])])
    assert watched.find("new york community bank") == {"C1"}
    assert watched.find("new york community") == {"A1", "B1"}


def test_an_empty_watchlist_finds_nothing() -> None:
    assert Watchlist([]).find("Apple") == set()


def test_a_body_full_of_names_is_read_in_linear_time() -> None:
    started = time.process_time()
    assert WATCHED.find("Bank of America Apple " * 45_000) == {"BAC", "AAPL"}
    assert time.process_time() - started < 20  # it was hours when every pair was compared


_alphabet = st.text(st.sampled_from("aAbBİıŞ’' .&-$(中1"), max_size=30)


@given(_alphabet, st.lists(_alphabet.filter(str.strip), max_size=4), _alphabet)
def test_finding_never_fails_and_finds_a_name_that_stands_alone(before: str, names: list[str], after: str) -> None:
    watched = Watchlist([("X1", names)])
    assert watched.find(f"{before}{after}") <= {"X1"}
    for name in names:
        assert watched.find(name) == {"X1"}


# -- cashtags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tickers"),
    [
        ("$AAPL", {"AAPL"}),
        ("$aapl, ($msft) $BRK.B. $RDS-A!", {"AAPL", "MSFT", "BRK.B", "RDS-A"}),
        ("$5 $5.00 $5bn US$ US$AAPL A$C $", set()),
        ("revenue in $m, $mn, ($bn) or $b", set()),
        ("$M and $T", {"M", "T"}),
        ("$TOOLONGX $AAPL1 $AAPL$ $$AAPL", set()),
        ("苹果$AAPL大涨", {"AAPL"}),
        ("$AAPL.", {"AAPL"}),
        ("", set()),
    ],
)
def test_cashtags_are_tickers_and_amounts_are_not(text: str, tickers: set[str]) -> None:
    assert cashtags(text) == tickers


def test_a_text_that_lists_every_ticker_gives_only_the_first() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    every = [f"{a}{b}{c}" for a in letters for b in letters for c in letters[:3]]
    assert cashtags(" ".join(f"${ticker}" for ticker in every)) == set(every[:MAX_CASHTAGS])


# -- the file ---------------------------------------------------------------------------------------


def _load(folder: Path, content: str | bytes) -> Watchlist:
    path = folder / "watchlist.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Watchlist.load(path)


def test_the_file_is_read_with_comments_quotes_marks_and_decomposed_letters(tmp_path: Path) -> None:
    watched = _load(
        tmp_path,
        '\ufeff# companies\n\naapl, Apple,  Apple   Inc \nYUM,"Yum! Brands, Inc"\nACA, Cre\u0301dit Agricole\n',
    )
    assert watched.names == {"AAPL": "Apple", "YUM": "Yum! Brands, Inc", "ACA": "Crédit Agricole"}
    assert watched.find("APPLE INC and Crédit Agricole") == {"AAPL", "ACA"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "names no company"),
        ("# only\n", "names no company"),
        ("A B, Name\n", "watchlist.csv:1: 'A B' is not a ticker"),
        ("AAPL, Apple\nMSFT, x\n", "watchlist.csv:2: the name 'x' is too short"),
        ("AAPL, Börse".encode("latin-1"), "not readable as UTF-8"),
    ],
)
def test_a_watchlist_that_cannot_work_is_refused_with_its_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _load(tmp_path, content)


def test_a_watchlist_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Watchlist.load(tmp_path / "none.csv")
