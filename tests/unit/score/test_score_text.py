"""Clean text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
