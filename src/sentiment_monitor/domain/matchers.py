"""Matchers: which alerts a silence or a route is about, written as Alertmanager writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

_WRITTEN = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|(.*?))\s*', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
MOST_CHARACTERS = 1_000


class Comparison(StrEnum):
    """How a matcher compares a label with its value. The expressions must fit the whole label."""

    EQUAL = "="
    DIFFERENT = "!="
    FITS = "=~"
    FITS_NOT = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label of an alert; a label that an alert does not have is empty.

    Raises ValueError for an expression that cannot be compiled.
    """

    label: str
    comparison: Comparison
    value: str

    def __post_init__(self) -> None:
        if self.comparison in (Comparison.FITS, Comparison.FITS_NOT):
            try:
                re.compile(self.value)
            except re.error as error:
                raise ValueError(f"{self}: not a regular expression: {error}") from None

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels is meant."""
        held = labels.get(self.label, "")
        match self.comparison:
            case Comparison.EQUAL:
                return held == self.value
            case Comparison.DIFFERENT:
                return held != self.value
            case Comparison.FITS:
                return re.fullmatch(self.value, held) is not None
            case Comparison.FITS_NOT:
                return re.fullmatch(self.value, held) is None

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
