"""Texts and messages that may cost more than their length: pieces put into structures of any size.

The pieces are not only the known troublemakers: one character of every kind that Unicode tells apart, and every word
that some stage of the hot loop gives a meaning. A quadratic search needs a run of something that it begins on again and
again, so the structures are runs and what can interrupt them.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count, takewhile
from random import Random
from typing import NamedTuple

# What a stage looks for, or begins to look for: markup, references, links, cashtags, notations of tickers, numbers,
# dates, prefixes of agencies, suffixes of sources, names of the watchlist, words of the lexicon.
WORDS = (
    *"&#;<>/\\$-:([)]{}|.,'\"@^=_+*?!%~`",
    "&#", "&#x", "&#1", "&#x41;", "&#768;", "&#790;", "&amp;", "&amp", "&amp;amp;", "&lt;", "&lt;b&gt;",
    "&CounterClock",
    "<a", "<a ", "<b>", "</", "<!--", "<a href=", "http://", "https://a", "www.", "WWW.", "pic.twitter.com/", "/www.",
    "$A", "$ABCDEF", "$A.B", "$m", "$k.", "US$", "(T)", "(T", "NYSE:", "NYSE: ", "(NYSE: T)", "T,", ": ", "[T].A)",
    "AT&T",
    " - ", " – ", " | ", "UPDATE 1 - ", "UPDATE ", "RPT-", "watch", " - A", "-a", " ' ", "a'", "n't", "A.", "1.",
    ".1", "1,",
    "2023", "0", "9", "1e", "e1", "+", "-1", "Mon, ", "(c)", "Z", "T08:00", "bank", "Bank ", "Bank of America",
    "apple",
    "APPLE", "not ", "profit warning ", "a b ", "Aa ", "ab", "\\ud83d", "\\u0000", "\\\\",
    "ß", "İ", "ŉ", "ΐ", "ﷺ", "㌖", "\u0344", "\u0958", "각", "가", "각", "ｶﾞ", "🇩🇪", "👩\u200d👩\u200d👦", "e\u0301",
    "a\u0300\u0316", "\u0300\u0316\u0334", "\u200d", "\u202e", "\ud83d", "\udc00", "\x00", "\x1b[2J", "\ufeff",
)  # fmt: skip


class Structure(NamedTuple):
    """How pieces become a text. ``make(a, b, size)`` gives about ``size`` bytes."""

    name: str
    make: Callable[[str, str, int], str]
    pieces: int  # how many of a and b it uses


class Family(NamedTuple):
    """Texts alike but for their length."""

    structure: Structure
    first: str
    second: str = ""

    @property
    def name(self) -> str:
        """For people: printable."""
        pieces = (self.first, self.second)[: self.structure.pieces]
        return f"{self.structure.name}: {' '.join(map(ascii, pieces))}"

    def text(self, size: int) -> str:
        """A text of about so many bytes of UTF-8."""
        return self.structure.make(self.first, self.second, size)

    def characters(self, count: int) -> str:
        """A text of about so many characters, and no more."""
        room = max(1, count - _LONGEST_END)
        text = self.text(room)
        if len(text) < room:
            text = self.text(room * room // len(text))
        return text[:count]


_LONGEST_END = 64  # characters that a structure has besides its runs


def weight(text: str) -> int:
    """Bytes of UTF-8; a lone surrogate has three."""
    return len(text.encode("utf-8", "surrogatepass"))


def _run(piece: str, size: int) -> str:
    return piece * max(1, size // weight(piece))


def _blocks(a: str, b: str, size: int) -> str:
    each = max(1, int((size / weight(a)) ** 0.5))
    return _run(a * each + b, size)


def _staircase(a: str, b: str, size: int) -> str:
    # Of n steps the height is n, so the length of all of them half its square.
    height = max(1, int((2 * size / weight(a)) ** 0.5))
    return "".join(a * step + b for step in range(1, height))


def _numbered(a: str, size: int) -> str:
    lengths = {"at": 0}

    def fits(word: str) -> bool:
        lengths["at"] += weight(word) + 1
        return lengths["at"] <= size

    return " ".join(takewhile(fits, (f"{a}{number}" for number in count())))


ALONE = (
    Structure("run", lambda a, _, size: _run(a, size), 1),
    Structure("words", lambda a, _, size: _run(f"{a} ", size), 1),
    Structure("numbered words", lambda a, _, size: _numbered(a, size), 1),
    Structure("run before a letter", lambda a, _, size: f"{_run(a, size)}x", 1),
    Structure("run behind a letter", lambda a, _, size: f"x{_run(a, size)}", 1),
    Structure("run in a sentence", lambda a, _, size: f"Kestrel Bank {_run(a, size)} fails to pay", 1),
)
TOGETHER = (
    Structure("taking turns", lambda a, b, size: _run(a + b, size), 2),
    Structure("run, then end", lambda a, b, size: _run(a, size) + b, 2),
    Structure("begin, then run", lambda a, b, size: b + _run(a, size), 2),
    Structure("two runs", lambda a, b, size: _run(a, size // 2) + _run(b, size // 2), 2),
    Structure("blocks", _blocks, 2),
    Structure("staircase", _staircase, 2),
)


@cache
def characters() -> tuple[str, ...]:
    """One character of every kind: category, combining class, direction, width in UTF-8, and what becomes of it."""
    kinds: dict[tuple[object, ...], str] = {}
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        if category == "Cn" and ord(character) & 0xFFFF != 0xFFFF:
            continue  # unassigned ones are alike
        encoded = len(character.encode("utf-8", "surrogatepass"))
        composed = unicodedata.normalize("NFKC", character)
        decomposed = unicodedata.normalize("NFKD", character)
        lower, folded = character.lower(), character.casefold()
        kinds.setdefault(
            (
                category,
                encoded,
                min(len(composed), 4),
                min(len(decomposed), 4),
                len(lower),
                len(folded),
                character.isspace(),
                character.isprintable(),
                min(unicodedata.combining(decomposed[0]), 2),
            ),
            character,
        )
    return tuple(kinds.values())


def alone() -> Iterator[Family]:
    """Every piece in every structure of one piece."""
    for piece in dict.fromkeys((*characters(), *WORDS)):
        for structure in ALONE:
            yield Family(structure, piece)


def together(draw: Random, most: int) -> Iterator[Family]:
    """Pairs of pieces in structures of two, at random; half of the pieces are words."""
    for _ in range(most):
        first, second = (draw.choice(WORDS if draw.random() < 0.6 else characters()) for _ in range(2))
        yield Family(draw.choice(TOGETHER), first, second)


KNOWN = tuple(
    Family(structure, *pieces)
    for structure, pieces in (
        (TOGETHER[3], ("0", "9")), (TOGETHER[3], ("\u0300", "\u0316")), (TOGETHER[0], ("\u0300", "\u0316")),
        (TOGETHER[3], ("(", ")")), (TOGETHER[1], ("<a ", ">")), (TOGETHER[1], ("&#", "1;")), (TOGETHER[1], (" ",
        "-")),
        (TOGETHER[1], ("a-", "!")), (TOGETHER[1], ("UPDATE ", "x")), (ALONE[0], ("&amp;",)), (ALONE[0], ("$A",)),
        (ALONE[0], ("ﷺ",)), (ALONE[0], ("İ",)), (ALONE[1], ("Bank of America",)), (ALONE[2], ("a",)), (ALONE[2],
        ("$",)),
        (ALONE[0], ("中",)), (ALONE[0], ("AT&T",)), (ALONE[0], ("(NYSE: T)",)),
    )
)  # fmt: skip
"""What has been slow, or looks as if it could be."""


# -- messages whose form is hostile, not their text -------------------------------------------------------------------


def _object(field: str, value: str) -> bytes:
    """A message with JSON as it is given, valid or not."""
    return f'{{"headline": "Kestrel Bank fails", "{field}": {value}}}'.encode("utf-8", "surrogatepass")


def _many(piece: str, size: int) -> str:
    return ",".join([piece] * max(1, size // (len(piece) + 1)))


def _counted(form: str, size: int) -> str:
    return ",".join(form.format(number) for number in range(max(1, size // (len(form) + 4))))


FORMS: dict[str, Callable[[str, int], str]] = {
    "list in list": lambda _, size: "[" * (size // 2) + "]" * (size // 2),
    "object in object": lambda _, size: '{"a":' * (size // 6) + "1" + "}" * (size // 6),
    "lists never closed": lambda _, size: "[" * size,
    "objects never closed": lambda _, size: '{"a":' * (size // 5),
    "list 500 deep, many times": lambda _, size: "[" + _many("[" * 500 + "]" * 500, size) + "]",
    "many keys": lambda _, size: "{" + _counted('"k{0}":1', size) + "}",
    "one key many times": lambda _, size: "{" + _many('"headline":"x"', size) + "}",
    "many empty objects": lambda _, size: f"[{_many('{}', size)}]",
    "many nulls": lambda _, size: f"[{_many('null', size)}]",
    "many objects": lambda _, size: "[" + _counted('{{"name":"N{0}","value":{0}}}', size) + "]",
    "many texts": lambda _, size: "[" + _counted('"K{0}"', size) + "]",
    "many equal texts": lambda _, size: f"[{_many(chr(34) + 'KSTR' + chr(34), size)}]",
    "many numbers": lambda _, size: f"[{_many('1', size)}]",
    "digits": lambda _, size: "9" * size,
    "digits after a point": lambda _, size: "0." + "9" * size,
    "zeros after a point": lambda _, size: "0." + "0" * size + "1",
    "digits of an exponent": lambda _, size: "1e" + "9" * size,
    "digits below zero": lambda _, size: "-" + "1" * size,
    "nines before an exponent": lambda _, size: "9" * size + "e-" + str(size),
    "many long numbers": lambda _, size: f"[{_many('9' * 4_000, size)}]",
    "many broken numbers": lambda _, size: f"[{_many('1e400', size)}]",
    "many NaN": lambda _, size: f"[{_many('NaN', size)}]",
    "escaped NUL": lambda _, size: '"' + "\\u0000" * (size // 6) + '"',
    "half emoji": lambda _, size: '"' + "\\ud83d" * (size // 6) + '"',
    "escaped quotes": lambda _, size: '"' + '\\"' * (size // 2) + '"',
    "escaped backslashes": lambda _, size: '"' + "\\\\" * (size // 2) + '"',
    "escaped letters": lambda _, size: '"' + "\\u0041" * (size // 6) + '"',
    "text never closed": lambda _, size: '"' + "a" * size,
    "blanks": lambda _, size: " " * size + "1",
    "commas": lambda _, size: '"' + "," * size + '"',
    "symbols with commas": lambda _, size: '"' + _counted("K{0}", size) + '"',
    "dollars": lambda _, size: '"' + "$" * size + '"',
    "JSON in text": lambda _, size: json.dumps(json.dumps({"headline": "x" * (size // 2)})),
}  # fmt: skip
"""JSON of about a size, by what it is made of."""


def message(form: str, field: str, size: int) -> bytes:
    """A record's value with such JSON as one of its fields."""
    return _object(field, FORMS[form](field, size))


RAW: dict[str, Callable[[int], bytes]] = {
    "no UTF-8": lambda size: b"\xff" * size,
    "no UTF-8 in a text": lambda size: b'{"headline":"' + b"\xc3\x28" * (size // 2) + b'"}',
    "half a character at the end": lambda size: b'{"headline":"' + "é".encode() * (size // 2) + b'\xc3"}',
    "NUL": lambda size: b"\x00" * size,
    "byte-order marks": lambda size: b"\xef\xbb\xbf" * (size // 3),
    "blanks": lambda size: b" " * size,
    "lines": lambda size: b'{"headline":"x"}\n' * (size // 17),
    "list of stories": lambda size: b"[" + b",".join([b'{"headline":"x"}'] * (size // 17)) + b"]",
    "UTF-16": lambda size: ('{"headline":"' + "a" * (size // 2) + '"}').encode("utf-16"),
    "gzip's first bytes": lambda size: b"\x1f\x8b\x08\x00" + b"\x00" * size,
    "Confluent's first bytes": lambda size: b"\x00\x00\x00\x00\x01" + b"a" * size,
}
"""Record values that are no JSON object, or not quite."""


def story(text: str, size: int) -> bytes:
    """A message of at most ``size`` bytes with a text wherever a text may stand, most of it in the body."""
    escaped = any("\ud800" <= character <= "\udfff" for character in set(text))  # they have no UTF-8

    def encoded(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=escaped).encode()

    fields = {"headline": text[:10_000], "source": text[:100], "url": text[:3_000], "id": text[:500], "body": ""}
    room = size - len(encoded(fields))
    body = text if room > 0 else ""
    while body and (length := len(encoded(body)) - 2) > room:
        body = body[: min(len(body) * room // length, len(body) - 1)]
    return encoded({**fields, "body": body})
