"""What receivers have heard of alerts: the book by which it is decided what is news to whom.

Frozen, no I/O, no clock. Minutes are event-time minutes since 1970-01-01 UTC, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

SEVERITIES = ("info", "warning", "critical")


def rank(severity: str) -> int:
    """How grave a severity is; one that nobody knows is the least."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def graver(first: str, second: str) -> str:
    """The graver of two severities."""
    return first if rank(first) >= rank(second) else second


class Cause(StrEnum):
    """Why a receiver is told of an alert."""

    FIRED = "fired"
    JOINED = "joined"  # it fires already, and this receiver has not heard of it
    LATE = "late"  # it fires already; until now it was held back from this receiver
    WORSENED = "worsened"  # it is graver than what this receiver has heard
    ESCALATED = "escalated"  # nobody acknowledged it in time: the next receiver hears of it
    REPEATED = "repeated"
    RESOLVED = "resolved"
    NAMED = "named"  # nothing new of it: it stands beside the others of its group


class Mention(NamedTuple):
    """One alert in one message to one receiver, as it was stored."""

    receiver: str
    minute: int
    cause: Cause
    severity: str  # of the gravest alert in the message


@dataclass(frozen=True, slots=True)
class Heard:
    """What one receiver has heard of one alert."""

    first_minute: int
    minute: int  # of the newest message that named it
    severity: str  # the gravest that was told of it, or beside it
    repetitions: int = 0  # since the newest news
    ended: bool = False  # its end was told

    def with_mention(self, mention: Mention) -> Heard:
        """After one more message."""
        if self.ended and mention.cause is not Cause.RESOLVED:  # it fires anew
            return Heard(mention.minute, mention.minute, mention.severity)
        news = mention.cause not in (Cause.REPEATED, Cause.NAMED)
        return replace(
            self,
            minute=mention.minute,
            severity=graver(self.severity, mention.severity),
            repetitions=0 if news else self.repetitions + (mention.cause is Cause.REPEATED),
            ended=mention.cause is Cause.RESOLVED,
        )


def heard_of(mentions: Iterable[Mention], before: Mapping[str, Heard] | None = None) -> dict[str, Heard]:
    """By receiver: what it has heard of an alert by these mentions, oldest first, and ``before`` them."""
    heard = dict(before or {})
    for mention in mentions:
        known = heard.get(mention.receiver)
        beginning = Heard(mention.minute, mention.minute, mention.severity)
        heard[mention.receiver] = (known or beginning).with_mention(mention)
    return heard


class Held(NamedTuple):
    """Why a receiver that should hear of an alert has not heard."""

    reason: str
    detail: str  # whose silence, which other alert, until when


@dataclass(frozen=True, slots=True)
class Withholding:
    """That a receiver was not told of an alert for a while: a row of ``held_back``."""

    receiver: str
    reason: str
    detail: str
    since_minute: int
    until_minute: int | None  # exclusive; None: it still is


@dataclass(frozen=True, slots=True)
class Ledger:
    """What everybody has heard of the alerts that are open, or whose end not everybody has heard."""

    heard: Mapping[int, Mapping[str, Heard]] = field(default_factory=dict)  # by alert and receiver
    spent: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # minutes of first messages, by receiver
    held: Mapping[int, Mapping[str, Held]] = field(default_factory=dict)  # back, at the last tick; likewise
    briefed: Mapping[str, int] = field(default_factory=dict)  # the minute of the newest briefing, by receiver


NOTHING_HEARD = Ledger()
