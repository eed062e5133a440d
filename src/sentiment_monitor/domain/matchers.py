"""Matchers: which alerts a silence or a route is about, written as Alertmanager writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

_WRITTEN = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|(.*?))\s*', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
MOST_CHARACTERS = 1_000
MOST_CHOICES = 3  # quantifiers and groups of alternatives, in each of an expression's own alternatives
MOST_CHOICES_IN_ALL = 12

# An escape or a class, which chooses nothing; what opens a group, with its extension; the rest is what it says.
_TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<opens>\((?:\?(?:[aiLmsux-]*:|P<\w+>|[=!]|<[=!]|>)?)?)|(?P<closes>\))"
    r"|(?P<bar>\|)|(?P<repeats>(?:[*+?]|\{\d*,?\d*\})[?+]?)",
    re.DOTALL,
)


class Comparison(StrEnum):
    """How a matcher compares a label with its value. The expressions must fit the whole label."""

    EQUAL = "="
    DIFFERENT = "!="
    FITS = "=~"
    FITS_NOT = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label of an alert; a label that an alert does not have is empty.

    Raises ValueError for an expression that cannot be compiled, or that could take more than a moment: each tick
    compares every alert, and must not wait for what somebody wrote.
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
            if problem := _explodes(self.value):
                raise ValueError(f"{self}: {problem}: it could take hours to compare; write it more simply")

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


def _explodes(expression: str) -> str | None:
    """Why an expression that compiles could take a time that grows with a high power; None when it could not.

    Repetitions inside a repetition, and alternatives inside one, are what makes a text be tried in exponentially many
    ways; each further quantifier or group of alternatives is a factor of the text's length.
    """
    open_groups = [False]  # by depth: whether something in it chooses
    closed = False  # the group that has just been closed, if one has been: whether something in it chose
    choices = [0]  # by the expression's own alternatives
    end = 0
    for token in _TOKEN.finditer(expression):
        after_group = closed and token.start() == end
        closed, end = False, token.end()
        if token["opens"]:
            open_groups.append(False)
        elif token["closes"] and len(open_groups) > 1:
            closed = open_groups.pop()
            choices[-1] += closed
            open_groups[-1] |= closed
        elif token["bar"] and len(open_groups) > 1:
            open_groups[-1] = True
        elif token["bar"]:
            choices.append(0)
        elif token["repeats"]:
            if after_group and not token["repeats"].startswith("?"):
                return "it repeats what repeats or has alternatives"
            choices[-1] += 1
            open_groups[-1] = True
    if max(choices) > MOST_CHOICES or sum(choices) > MOST_CHOICES_IN_ALL:
        return f"more than {MOST_CHOICES} quantifiers and groups of alternatives"
    return None


def all_fit(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher fits; without any every alert is meant."""
    return all(matcher.fits(labels) for matcher in matchers)
