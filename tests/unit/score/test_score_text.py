"""Clean text."""

import re
import sys
import time
import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.domain.news import MAX_BODY_CHARACTERS
from sentiment_monitor.score import text as cleaning
from sentiment_monitor.score.text import clean


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("$AAPL  beats\n https://t.co/x1Y &amp; rises", "$AAPL beats & rises"),
        ("M&amp;amp;A talk", "M&A talk"),
        ("<p>Profit <b>up</b> 5%</p>", "Profit up 5%"),
        ("profit < 5 and loss > 3", "profit < 5 and loss > 3"),
        ("ＢＡＮＫ ﬁnes", "BANK fines"),
        ("a\x00b\u202egnirts\u200b", "abgnirts"),
        ("银行https://t.co/abc倒闭", "银行 倒闭"),
        ("shares 🚀 \ud800 up", "shares 🚀 up"),
        ("https://t.co/only", ""),
        ("", ""),
        ("a&#" + "9" * 5_000 + ";b", "ab"),
        ("a&#" + "0" * 5_000 + "65;b", "aAb"),
        ("a&#" + "0" * 5_000 + ";b", "ab"),
        ("a&#x" + "f" * 5_000 + ";b", "ab"),
        ("a&#0000000000", "a"),
        ("a&#99999999b", "ab"),
    ],
)
def test_clean_keeps_words_and_drops_machinery(raw: str, expected: str) -> None:
    assert clean(raw) == expected


@given(st.text(max_size=60))
def test_clean_text_has_no_stray_white_space_or_controls(raw: str) -> None:
    text = clean(raw)
    assert text == " ".join(text.split())
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in text)


@given(st.text(alphabet="ab <>/&;ampht:pscwt.\u200b\u00adﬁ１", max_size=40))
def test_cleaning_clean_text_changes_nothing(raw: str) -> None:
    assert clean(clean(clean(raw))) == clean(clean(raw))


@pytest.mark.parametrize(
    "hostile",
    [
        "a" + "\u0300" * 40_000 + "\u0316" * 40_000,
        "a" + "\u0300\u0316" * 40_000,
        "a" + ("\u0300" * 30 + "\u200d" + "\u0316" * 30 + "\u200d") * 1_500,  # the joiners go, the marks meet
        "ｶ" + "\u0316" * 40_000 + "\uff9e" * 40_000,
        "a" + "&#768;" * 20_000 + "&#790;" * 20_000,
    ],
    ids=["two runs", "taking turns", "joined", "half-width", "references"],
)
def test_a_tower_of_marks_costs_no_more_than_other_text(hostile: str) -> None:
    began = time.process_time()
    text = clean(hostile)
    assert time.process_time() - began < 2  # it took 12 s and more, and grew with the square
    assert len(text) < 100


@pytest.mark.parametrize("character", ["\u2a0c", "\u222d", "\u0385", "\u0f77", "a\u0300"])
def test_no_character_is_asked_again_and_again_whether_it_is_a_mark(
    character: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def combining(asked_for: str) -> int:
        asked.append(asked_for)
        return unicodedata.combining(asked_for)

    monkeypatch.setattr(cleaning, "unicodedata", SimpleNamespace(combining=combining, normalize=unicodedata.normalize))
    clean(character * 50_000)
    assert len(asked) <= 20


@pytest.mark.parametrize("character", ["\ufdfa", "\u2a0c"])
def test_letters_that_become_many_make_no_text_longer_than_a_body(character: str) -> None:
    assert clean(character) == unicodedata.normalize("NFKC", character)
    assert len(clean(character * 50_000)) <= MAX_BODY_CHARACTERS
    assert clean(" ".join("ab" * 40_000)) == " ".join("ab" * 40_000), "that grows not"


@given(st.text(st.sampled_from("a\u0300\u0316\u222d\u0385\u2014\uff9e "), min_size=31, max_size=120))
def test_of_marks_in_a_row_the_first_thirty_stay_wherever_they_stand(raw: str) -> None:
    kept, row = "", 0
    for character in raw:
        row = row + 1 if unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) else 0
        kept += character if row <= 30 else ""
    assert cleaning._STACK.sub(cleaning._fewer_marks, raw) == kept


def test_thirty_marks_on_a_letter_stay() -> None:
    tower = "a" + "\u0316" * 30
    assert clean(f"bank {tower} fails") == f"bank {tower} fails"
    assert clean("Ｔｅ̂́st ｶﾞ") == unicodedata.normalize("NFKC", "Tếst ｶﾞ")


def test_every_character_that_normalising_sorts_is_taken_for_a_mark() -> None:
    sorted_ones = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.combining(unicodedata.normalize("NFKD", character)[0])
    ]
    assert len(sorted_ones) > 900
    assert [c for c in sorted_ones if not re.fullmatch(cleaning._MARK, c)] == []
