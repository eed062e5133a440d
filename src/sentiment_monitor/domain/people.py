"""What people say about alerts: who took one on, who ended one, and what is not to be told for a while.

Frozen, no I/O, no clock. Minutes are event-time minutes since 1970-01-01 UTC, as everywhere. Only the leader changes
alerts: these are rows of their own, which each tick reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sentiment_monitor.domain.matchers import Matcher, all_fit


class SilenceState(StrEnum):
    """Of a silence at some minute; the words are Alertmanager's."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that are not told between two minutes."""

    id: int
    matchers: tuple[Matcher, ...]  # at least one; all must fit
    starts_minute: int
    ends_minute: int  # exclusive; moved to the present when somebody expires it
    author: str
    comment: str

    def state(self, minute: int) -> SilenceState:
        """How it stands at this minute."""
        if minute >= self.ends_minute:
            return SilenceState.EXPIRED
        return SilenceState.PENDING if minute < self.starts_minute else SilenceState.ACTIVE

    def mutes(self, labels: Mapping[str, str], minute: int) -> bool:
        """Whether an alert with these labels is not told at this minute."""
        return self.starts_minute <= minute < self.ends_minute and all_fit(self.matchers, labels)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody has taken an alert on: it is neither repeated nor escalated, and its end is told."""

    alert_id: int
    minute: int
    owner: str
    note: str


class Verdict(StrEnum):
    """How somebody ended an alert."""

    RESOLVED = "resolved"  # it was right, and it is over
    DISMISSED = "dismissed"  # it was false; the reason says why


@dataclass(frozen=True, slots=True)
class Closing:
    """Somebody ended an alert before its own time; the same spike does not raise it again."""

    alert_id: int
    minute: int
    actor: str
    verdict: Verdict
    reason: str


class Deed(StrEnum):
    """What somebody did about an alert."""

    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"  # given up: nobody has it any more
    COMMENTED = "commented"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Saying:
    """One thing that somebody said about an alert, for its timeline."""

    at_ms: int  # by the clock of whoever wrote it down
    actor: str
    deed: Deed
    text: str  # note, comment or reason; may be empty
    owner: str | None = None  # who has it from now on, of an acknowledgement


@dataclass(frozen=True, slots=True)
class People:
    """Everything people have said that one minute must respect."""

    silences: tuple[Silence, ...] = ()  # not over yet
    acknowledged: Mapping[int, Acknowledgement] = field(default_factory=dict)  # by alert, of those that are open
    closed: Mapping[int, Closing] = field(default_factory=dict)  # by alert, of those that are still open


NOBODY_SAID = People()
