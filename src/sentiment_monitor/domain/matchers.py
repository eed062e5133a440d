"""Matchers: which alerts a silence or a route is about, written as Alertmanager writes them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import re2

_WRITTEN = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|(.*?))\s*', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
MOST_CHARACTERS = 1_000
_MOST_BYTES = 1 << 18  # of a compiled expression: one that counts to thousands costs tenths of a second a label


class Comparison(StrEnum):
    """How a matcher compares a label with its value. The expressions are RE2's, and must fit the whole label."""

    EQUAL = "="
    DIFFERENT = "!="
    FITS = "=~"
    FITS_NOT = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label of an alert; a label that an alert does not have is empty.

    An expression takes a time that grows with the label and no faster: no careless one holds a tick up. Raises
    ValueError for one that cannot be compiled so, such as one that looks back or ahead.
    """

    label: str
    comparison: Comparison
    value: str

    def __post_init__(self) -> None:
        if self.comparison in (Comparison.FITS, Comparison.FITS_NOT):
            try:
                _expression(self.value)
            except re2.error as error:
                said = error.args[0].decode() if isinstance(error.args[0], bytes) else error
                raise ValueError(f"{self}: not a regular expression that takes bounded time (RE2): {said}") from None

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels is meant."""
        held = labels.get(self.label, "")
        match self.comparison:
            case Comparison.EQUAL:
                return held == self.value
            case Comparison.DIFFERENT:
                return held != self.value
            case Comparison.FITS:
                return _expression(self.value).fullmatch(held) is not None
            case Comparison.FITS_NOT:
                return _expression(self.value).fullmatch(held) is None

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.label}{self.comparison}"{escaped}"'

    @classmethod
    def of(cls, written: str) -> Matcher:
        """Reads ``series="ticker:KSTR"``, ``severity!=critical``, ``value=~"KS.*"``. Raises ValueError."""
        if len(written) > MOST_CHARACTERS:
            raise ValueError(f"a matcher of more than {MOST_CHARACTERS} characters")
        fitting = _WRITTEN.fullmatch(written)
        if fitting is None:
            raise ValueError(f'{written!r} is no matcher; one is written label="value", with =, !=, =~ or !~')
        label, comparison, quoted, bare = fitting.groups()
        value = bare if quoted is None else _ESCAPED.sub(r"\1", quoted)
        return cls(label, Comparison(comparison), value)


def all_fit(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher fits; without any every alert is meant."""
    return all(matcher.fits(labels) for matcher in matchers)


@functools.lru_cache(maxsize=1_000)
def _expression(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MOST_BYTES
    options.never_capture = True  # what groups held is of no interest, and to note it is the slow part
    return re2.compile(text, options)
