"""What became of one thing that somebody wanted to change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ActionOutcome(StrEnum):
    """Of one action on one alert or silence."""

    DONE = "done"
    ALREADY = "already"  # it was so before, and nothing was written
    OVER = "over"  # the alert is, so nothing can be done about it
    UNKNOWN = "unknown"  # there is no such thing


@dataclass(frozen=True, slots=True)
class Acted:
    """One of them, by its number; ``detail`` is for people."""

    id: int
    outcome: ActionOutcome
    detail: str
