"""Long text in windows: nothing is cut unseen, and how much each window counts is stated here.

A headline that fits is one window. Body text follows in windows of about equal length, each a whole number of words
where words are shorter than a window. A story's probabilities are the weighted mean of its windows' probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WINDOW_TOKENS = 128  # special tokens included; news headlines have 30 to 60, training texts at most 64
BODY_WEIGHT = 0.4  # of all body windows together, when there is a headline too
LEAD_DECAY = 0.85  # each later window of a part counts this much of the one before: news comes first


@dataclass(frozen=True, slots=True)
class Plan:
    """The windows of one story: token spans of headline and body, and weights that sum to 1."""

    headline: tuple[tuple[int, int], ...]  # start and stop in the headline's tokens
    body: tuple[tuple[int, int], ...]
    weights: tuple[float, ...]  # headline windows first
    truncated: bool  # the ceiling left text unread


def plan(
    headline: Sequence[int | None], body: Sequence[int | None], room: int, ceiling: int, *, unread: bool = False
) -> Plan:
    """Return the windows of one story.

    ``headline`` and ``body`` give each token's word (None outside any word), ``room`` the tokens a window holds,
    ``ceiling`` the most windows, ``unread`` that text was left out before. The headline is served first; what the
    ceiling leaves out is the end of the body. An empty story has one empty window.
    """
    head, text = split(headline, room), split(body, room)
    if not head and not text:
        head = ((0, 0),)
    truncated = unread or len(head) + len(text) > ceiling
    head = head[:ceiling]
    text = text[: ceiling - len(head)]
    share = BODY_WEIGHT if head and text else float(bool(text))
    weights = [(1 - share) * w for w in _decayed(head)] + [share * w for w in _decayed(text)]
    return Plan(head, text, tuple(weights), truncated)


def split(words: Sequence[int | None], room: int) -> tuple[tuple[int, int], ...]:
    """Return spans that cover every token once, none longer than ``room``, none ending inside a word if avoidable."""
    spans: list[tuple[int, int]] = []
    start = 0
    while start < len(words):
        left = len(words) - start
        pieces = -(-left // room)
        stop = start + -(-left // pieces)
        if pieces > 1:
            stop = _word_start(words, start, stop)
        spans.append((start, stop))
        start = stop
    return tuple(spans)


def _word_start(words: Sequence[int | None], start: int, stop: int) -> int:
    at = stop
    while at > start and words[at] is not None and words[at] == words[at - 1]:
        at -= 1
    return at if at > start else stop  # a single word longer than the window is cut inside


def _decayed(spans: Sequence[tuple[int, int]]) -> list[float]:
    raw = [max(1, stop - start) * LEAD_DECAY**number for number, (start, stop) in enumerate(spans)]
    return [weight / sum(raw) for weight in raw]
