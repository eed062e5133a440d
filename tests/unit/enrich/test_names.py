"""Which companies a text names: case, boundaries, overlaps, and tickers that are words or letters."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.enrich.companies import Company
from sentiment_monitor.enrich.names import MAX_CASHTAGS, Watchlist, cashtags
from sentiment_monitor.errors import UsageError


def watching(*companies: tuple[str, list[str]]) -> Watchlist:
    """A watchlist of tickers and names."""
    return Watchlist(Company(ticker, tuple(names)) for ticker, names in companies)


WATCHED = watching(
    *[
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
        ("COST reports", set()),
        ("BOFA Is Not GOOG", {"GOOG"}),
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
    assert watching(("BP", ["BP"])).find("BP cuts") == {"BP"}
    assert watching(("BP", [])).find("BP cuts") == set()


def test_of_overlapping_names_the_longest_counts_and_neighbours_both() -> None:
    watched = watching(("A1", ["New York"]), ("B1", ["York Community"]), ("C1", ["New York Community Bank"]))
    assert watched.find("new york community bank") == {"C1"}
    assert watched.find("new york community") == {"A1", "B1"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Société Générale", "Societe Generale cuts jobs"),
        ("Societe Generale", "Société Générale cuts jobs"),
        ("Søndergård", "Søndergard and Sondergård agree"),
        ("Nestlé", "NESTLE AND NESTLÉ"),
        ("Coca-Cola", "Coca Cola rises"),
        ("Rolls Royce", "Rolls-Royce, Rolls‑Royce"),
        ("Halden & Sons", "Halden and Sons fails"),
        ("Halden and Sons", "Halden & Sons fails"),
        ("Halden & Sons", "HALDEN&SONS FAILS"),
        ("M&T", "M & T fails"),
        ("M&T", "M and T fails"),
        ("O’Neill", "O'Neill fails"),
    ],
)
def test_accents_hyphens_apostrophes_and_the_word_and_make_no_difference(name: str, text: str) -> None:
    assert watching(("X1", [name])).find(text) == {"X1"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("M&T", "find them and then leave; m and t"),
        ("Coca-Cola", "coca, cola"),
        ("-", "a b c"),
        ("&", "this and that"),
    ],
)
def test_folding_makes_no_company_of_other_words(name: str, text: str) -> None:
    assert watching(("X1", [name])).find(text) == set()


@pytest.mark.parametrize(
    "text",
    [
        "Startup lands $3M in seed", "€3M fund", "€ 3M", "US$3M", "USD 3M", "Rs 3M", "a loss of 1.3M", "1,3M",
        "3M users",
        "adds 3M-barrel storage", "3M people", "raises 3M in funding", "nearly 3M more", "+3M", "3m and 13M",
    ],
)  # fmt: skip
def test_money_and_counted_things_are_not_the_company_3m(text: str) -> None:
    assert watching(("MMM", ["3M"])).find(text) == set()


@pytest.mark.parametrize(
    "text", ["3M cuts jobs", "Lawsuit over 3M earplugs", "Shares of 3M fall", "3M's unit", "(3M)", "3M, Kestrel sued"]
)
def test_the_company_3m_is_found(text: str) -> None:
    assert watching(("MMM", ["3M"])).find(text) == {"MMM"}


@pytest.mark.parametrize("ticker", ["CMA", "FRC", "KEY", "USB", "DFS", "ALL", "ON", "IT"])
def test_a_ticker_that_is_a_word_or_another_body_counts_only_beside_its_market(ticker: str) -> None:
    watched = watching((ticker, ["Kestrel Bank"]))
    for text in ("{} says no", "The authority ({}) says no", "[{}]", "In short: {}", "{} POINTS TO NOTE"):
        assert watched.find(text.format(ticker)) == set()
    for text in ("Kestrel (NYSE: {})", "NASDAQ:{} slides", "({}.N) falls"):
        assert watched.find(text.format(ticker)) == {ticker}
    assert watching((ticker, [f"{ticker}"])).find(f"{ticker} falls") == {ticker}


def test_a_ticker_with_a_class_is_found_however_it_is_written() -> None:
    watched = watching(("KSTR-B", []), ("BARC.L", []))
    for text in ("Shares of KSTR.B", "Shares of KSTR/B", "Shares of KSTR-B"):
        assert watched.find(text) == {"KSTR-B"}
    assert watched.find("Shares of KSTR B and KSTR") == set()
    assert watched.find("Shares of BARC.L") == {"BARC.L"}
    assert watched.find("Shares of BARC-L") == set()


# -- what symbols mean ------------------------------------------------------------------------------

_LISTED = """
KSTR, Kestrel Bank, ISIN:US0378331005, FIGI:BBG000B9XRY4, RIC:KSTRk.F, group:bank, group: Crown Jewels
0700.HK, Halden
NWK, Norwick, SYMBOL: NWK.L, group:bank
HAL.B, Hallow
"""


@pytest.mark.parametrize(
    ("symbol", "ticker"),
    [
        ("KSTR", "KSTR"),
        ("KSTR.US", "KSTR"),
        ("R:KSTR.N", "KSTR"),
        ("RIC:KSTR.OQ", "KSTR"),
        ("KSTR US EQUITY", "KSTR"),
        ("NYSE:KSTR", "KSTR"),
        ("US0378331005", "KSTR"),
        ("ISIN:US0378331005", "KSTR"),
        ("BBG000B9XRY4", "KSTR"),
        ("KSTRK.F", "KSTR"),
        ("KSTR.L", "KSTR.L"),
        ("KSTR.TO", "KSTR.TO"),
        ("700.HK", "0700.HK"),
        ("00700.HK", "0700.HK"),
        ("HKEX:700", "0700.HK"),
        ("700 HK", "0700.HK"),
        ("700", "700"),
        ("700.T", "700.T"),
        ("NWK", "NWK"),
        ("LON:NWK", "NWK"),
        ("NWK LN", "NWK"),
        ("NWK.DE", "NWK.DE"),
        ("HAL-B", "HAL.B"),
        ("HAL/B", "HAL.B"),
        ("HAL.B.US", "HAL.B"),
        ("HAL", "HAL"),
        ("^GSPC", "^GSPC"),
        ("BTC-USD", "BTC-USD"),
    ],
)
def test_notations_of_a_share_lead_to_its_company_and_those_of_others_stay(
    tmp_path: Path, symbol: str, ticker: str
) -> None:
    assert _load(tmp_path, _LISTED).meant_by([symbol]) == {ticker}


def test_a_ticker_of_the_list_is_never_taken_for_another_symbol_of_a_company() -> None:
    watched = Watchlist([Company("A1", symbols=("NWK.N",)), Company("NWK")])
    assert watched.meant_by(["NWK", "NYSE:NWK"]) == {"NWK"}
    assert watching().meant_by(["NYSE:NWK"]) == {"NYSE:NWK"}


@pytest.mark.parametrize("ticker", ["^GSPC", ".DJI", "BTC/USD", "M&M.NS", "BRK/B", "EURUSD=X", "BTC_USD", "0700.HK"])
def test_whatever_a_message_may_call_a_ticker_a_watchlist_may_too(tmp_path: Path, ticker: str) -> None:
    watched = _load(tmp_path, f"{ticker.lower()}, Halden Index\n")
    assert watched.meant_by([ticker]) == {ticker}
    assert watched.find(f"Trading in {ticker} is halted") == {ticker}
    assert watched.find("Halden Index falls") == {ticker}


def test_identifiers_are_found_in_texts_too(tmp_path: Path) -> None:
    watched = _load(tmp_path, _LISTED)
    assert watched.find("Kestrel notes (ISIN: US0378331005) fall") == {"KSTR"}
    assert watched.find("us0378331005") == set()


def test_groups_are_kept_for_their_companies(tmp_path: Path) -> None:
    assert _load(tmp_path, _LISTED).groups == {"bank": ["KSTR", "NWK"], "crown jewels": ["KSTR"]}


def test_an_empty_watchlist_finds_nothing() -> None:
    assert Watchlist([]).find("Apple") == set()


def test_a_body_full_of_names_is_read_in_linear_time() -> None:
    started = time.process_time()
    assert WATCHED.find("Bank of America Apple " * 45_000) == {"BAC", "AAPL"}
    assert time.process_time() - started < 20  # it was hours when every pair was compared


_alphabet = st.text(st.sampled_from("aAbBİıŞ’' .&-$(中1"), max_size=30)


@given(_alphabet, st.lists(_alphabet.filter(str.strip), max_size=4), _alphabet)
def test_finding_never_fails_and_finds_a_name_that_stands_alone(before: str, names: list[str], after: str) -> None:
    watched = watching(("X1", names))
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
    "content",
    [
        "Ticker,Name,Aliases,ISIN,Sector\nKSTR,Kestrel Bank,Kestrel; Kestrel Group,US0378331005,Bank\n",
        "# new\n\nCompany,ISIN,Symbol,Country,Alias,alias\nKestrel Bank,US0378331005,kstr,bank,Kestrel,Kestrel Group",
        "KSTR,Kestrel Bank,Kestrel,Kestrel Group,ISIN:US0378331005,group:Bank\n",
    ],
)
def test_a_header_says_what_the_columns_are_and_is_no_company(tmp_path: Path, content: str) -> None:
    watched = _load(tmp_path, content)
    assert watched.spoken == {"KSTR": ["Kestrel Bank", "Kestrel", "Kestrel Group"]}
    assert (watched.meant_by(["US0378331005"]), watched.groups) == ({"KSTR"}, {"bank": ["KSTR"]})
    assert watched.find("Name and sector of Company X") == set()


def test_a_company_whose_ticker_is_a_title_is_still_one(tmp_path: Path) -> None:
    assert _load(tmp_path, "CODE, Halden\nKSTR, Name\n").names == {"CODE": "Halden", "KSTR": "Name"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Ticker,Name,Colour\nKSTR,Kestrel,red\n", "watchlist.csv:1: the column 'colour' is not known: ticker, name"),
        ("Name,Ticker\nKestrel Bank\n", "watchlist.csv:2: '' is not a ticker"),
        ("Ticker,Name\n", "names no company"),
        ("KSTR, Kestrel, ISIN:US0378331006\n", "watchlist.csv:1: ISIN:US0378331006 is no ISIN"),
        ("KSTR, Kestrel\nNWK, FIGI:BBG1\n", "watchlist.csv:2: FIGI:BBG1 is no FIGI"),
        ("KSTR, Kestrel, RIC:\n", "watchlist.csv:1: RIC: is no RIC"),
        ("KSTR, Kestrel, group:\n", "watchlist.csv:1: group '' must have"),
        ("KSTR, SYMBOL:NWK.N\n\nNWK, Norwick\n", "watchlist.csv:1: NWK.N means NWK already"),
        ("KSTR, SYMBOL:AB.L\nNWK, SYMBOL:LON:AB\n", "watchlist.csv:2: LON:AB means KSTR already"),
        ("", "names no company"),
        ("# only\n", "names no company"),
        ("A B, Name\n", "watchlist.csv:1: 'A B' is not a ticker"),
        ("/AB, Name\n", "watchlist.csv:1: '/AB' is not a ticker"),
        ("A" * 33 + ", Name\n", "is not a ticker"),
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


def test_a_ticker_has_the_groups_of_all_its_lines() -> None:
    watchlist = Watchlist([Company("A", groups=("banks",)), Company("A", groups=("texas",)), Company("B")])
    assert watchlist.groups_of("A") == ("banks", "texas")
    assert watchlist.groups_of("B") == watchlist.groups_of("C") == ()
