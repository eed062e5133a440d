"""Clean text: what people read of a feed's text, the same in training and in service."""

from __future__ import annotations

import html
import re
import unicodedata

from sentiment_monitor.domain.news import MAX_BODY_CHARACTERS

# Everything of class Cc that is no white space, soft hyphen, zero-width and bidirectional marks, lone surrogates, tags.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff0-\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
# A link ends at white space, quotes, angle brackets, or where Chinese or Japanese text goes on without a space.
_LINK = re.compile(r"(?:https?://|www\.|pic\.twitter\.com/)[^\s<>\"\u3000-\u9fff\uff00-\uffef]*", re.IGNORECASE)
# Only real HTML elements, so that "profit < 5 and loss > 3" survives.
_TAG = re.compile(
    r"</?(?:a|abbr|b|big|blockquote|br|center|cite|code|div|em|figure|font|h[1-6]|hr|i|img|li|ol|p|pre|q|s|small|span"
    r"|strong|sub|sup|table|tbody|td|th|thead|tr|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
# What may be a combining mark: no letter and no digit, but the half-width voice marks, which become some.
_MARK = r"(?:[^\x00-\xbf\u2000-\u20cf\w\s]|[\uff9e\uff9f])"
_PERHAPS_MARK = re.compile(_MARK)
_STACK = re.compile(_MARK + "{31,}")
_MOST_MARKS = 30  # Unicode's Stream-Safe Text Format (UAX 15, section 13): any real text has fewer
# References to no character: Python refuses to read more than some thousand digits, of which zeros may be the first.
_LEADING_ZEROS = re.compile(r"&#0{7,}(?=[0-9])")
_NO_CHARACTER = re.compile(r"&#[1-9][0-9]{7,};?")
_MAX_DECODINGS = 3  # feeds escape twice at most; a bound keeps a hostile "&amp;amp;amp;..." linear


def clean(text: str) -> str:
    """Return ``text`` without links, HTML and invisible characters, in NFKC, with white space folded to one space.

    Cashtags (``$AAPL``), hashtags, emoji, case and punctuation stay. Cleaning clean text changes nothing. Does not
    shorten, length limits are the caller's; but lengthens no text beyond ``MAX_BODY_CHARACTERS``. Works on any ``str``,
    also one with lone surrogates or NUL.
    """
    for _ in range(_MAX_DECODINGS):
        before = text
        text = _unescaped(text) if "&" in text else text
        if not text.isascii():
            # Normalising sorts the marks on a letter, which takes the square of their number. Of 31 in a row one has
            # such a place; to look at every place costs more than all the rest of this.
            if _PERHAPS_MARK.search(text[_MOST_MARKS :: _MOST_MARKS + 1]):
                text = _STACK.sub(_fewer_marks, text)
            # Some letters become eighteen.
            text = unicodedata.normalize("NFKC", text)[: max(len(text), MAX_BODY_CHARACTERS)]
        # Most text holds none of these, and to look for one character costs a tenth of a substitution.
        if not (text.isascii() and text.isprintable()):
            text = _INVISIBLE.sub("", text)
        if "<" in text:
            text = _TAG.sub(" ", text)
        if "/" in text or "www." in text.lower():
            text = _LINK.sub(" ", text)
        if text == before:
            break
    if text.isprintable() and "  " not in text and text[:1] != " " != text[-1:]:
        return text  # the plain space is the only white space that is printable
    return " ".join(text.split())


def _unescaped(text: str) -> str:
    if "&#" in text:
        text = _NO_CHARACTER.sub("\ufffd", _LEADING_ZEROS.sub("&#", text))
    return html.unescape(text)


def _fewer_marks(stack: re.Match[str]) -> str:
    """The characters of a stack, of the marks in a row only the first thirty."""
    # Most long runs of what is no letter hold no mark at all, and few characters, which are not asked again and again.
    marks = {character for character in set(stack[0]) if _is_mark(character)}
    if not marks:
        return stack[0]
    kept: list[str] = []
    row = 0
    for character in stack[0]:
        row = row + 1 if character in marks else 0
        if row <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _is_mark(character: str) -> bool:
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) != 0
