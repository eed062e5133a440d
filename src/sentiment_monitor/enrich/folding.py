"""Letters made alike: accents, apostrophes and hyphens, each by one character, so that positions stay."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_APOSTROPHE = "ʼ"  # besides the one that :func:`straight` knows
_HYPHENS = "-‐‑‒–—"
_WITHOUT_DECOMPOSITION = {"ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "ħ": "h", "Ħ": "H", "ı": "i"}
_RANGES = ((0xC0, 0x250), (0x370, 0x400), (0x1E00, 0x2000))  # Latin and Greek letters with marks
_FOLDED = re.compile("[\u00c0-\u024f\u0370-\u03ff\u1e00-\u2015\u02bc]")


def straight(text: str) -> str:
    """Typographic apostrophes made plain: feeds write Macy's both ways. As long as ``text``."""
    return text.replace("’", "'")


def plain(text: str) -> str:
    """Straight ``text`` without accents, hyphens as blanks; case stays. As long as ``text``."""
    text = text.replace("-", " ")
    # To look letters up in a table takes ten times as long; most text that is not ASCII has but quotation marks.
    return text if text.isascii() or not _FOLDED.search(text) else text.translate(_plain_letters())


def fold(text: str) -> str:
    """Lower case, as long as ``text``."""
    folded = text.lower()
    # İ is the one letter whose lower case is longer.
    return folded if len(folded) == len(text) else "".join(letter.lower()[0] for letter in text)


@cache
def _plain_letters() -> dict[int, str]:
    letters = {ord(letter): base for letter, base in _WITHOUT_DECOMPOSITION.items()}
    for first, end in _RANGES:
        for code in range(first, end):
            base = unicodedata.normalize("NFKD", chr(code))[0]
            if base != chr(code) and base.isalpha():
                letters[code] = base
    letters[ord(_APOSTROPHE)] = "'"
    return letters | dict.fromkeys(map(ord, _HYPHENS), " ")
