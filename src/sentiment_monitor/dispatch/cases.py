"""One alert and one receiver at one minute: what is decided about, and what comes of it (a message, or a hold)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sentiment_monitor.dispatch.routes import Route, Routes, Wishes
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.domain.hearing import Cause, Heard, Ledger, Mention, graver
from sentiment_monitor.domain.people import People
from sentiment_monitor.times import DAY_MINUTES


class Hold(StrEnum):
    """Why a receiver is not told."""

    # There is nothing to tell it.
    NEVER_TOLD = "never_told"  # it is over, and this receiver has not heard that it began, or has heard of the end
    TAKEN_OFF = "taken_off"  # no route leads to this receiver any more
    NOT_WANTED = "not_wanted"  # the receiver wants other companies, topics or severities
    QUIET = "quiet"  # what has calmed down, or cannot be seen, is not told again
    NOT_DUE = "not_due"  # told lately enough
    # There is something to tell it, or soon will be, and something is in the way.
    STALE = "stale"  # it is about old news
    RECEIVER_GONE = "receiver_gone"  # the settings have no such receiver any more
    SILENCED = "silenced"  # by a silence of somebody's; told when that is over, if it still fires
    ACKNOWLEDGED = "acknowledged"  # somebody has it, and this receiver knows of it
    INHIBITED = "inhibited"  # something wider, or a rule of the settings, makes it needless
    COVERED = "covered"  # the receiver has heard as grave news of this series under another rule
    MUTED = "muted"  # not at this time; told when there may be messages again
    OVER_BUDGET = "over_budget"  # of the receiver's day: only critical alerts pass
    GROUP_WAITS = "group_waits"  # for others of its group, or since the last message about that
    DIGEST = "digest"  # gathered, and told with the next digest

    @property
    def idle(self) -> bool:
        """Whether there is nothing to tell."""
        return self in _IDLE


UNTIL_LATER = (Hold.MUTED, Hold.GROUP_WAITS, Hold.DIGEST)
"""What only time is in the way of: also the end of an alert is held back for these."""

_IDLE = (Hold.NEVER_TOLD, Hold.TAKEN_OFF, Hold.NOT_WANTED, Hold.QUIET, Hold.NOT_DUE)


@dataclass(frozen=True, slots=True)
class Part:
    """One alert in a message."""

    alert: Alert  # its value after this minute
    cause: Cause


@dataclass(frozen=True, slots=True)
class Message:
    """One receiver is to be told of the alerts of one group, what is news and gravest first."""

    receiver: str
    notifiers: tuple[str, ...]  # each is told, on its own
    parts: tuple[Part, ...]  # at least one
    group: tuple[tuple[str, str], ...] = ()  # labels, and the values on which the alerts agree
    most_a_day: int = 0  # the receiver's bound, in the message that uses up its day; 0: it does not

    @property
    def alert(self) -> Alert:
        """The alert that the message is about first of all."""
        return self.parts[0].alert

    @property
    def cause(self) -> Cause:
        """Why the receiver is told of it."""
        return self.parts[0].cause

    def mention(self, part: Part, minute: int) -> Mention:
        """One of the message's alerts as the book keeps it, at the minute of the message."""
        severity = part.alert.severity
        for other in self.parts:
            if other.alert.series == part.alert.series:
                severity = graver(severity, other.alert.severity)
        return Mention(self.receiver, minute, part.cause, severity)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """One receiver is not told of one alert."""

    alert: Alert
    receiver: str
    reason: Hold
    detail: str = ""  # whose silence, which other alert, until when


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Everything decided about one minute."""

    messages: tuple[Message, ...]
    held: tuple[HeldBack, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One alert and one receiver at one minute."""

    alert: Alert
    labels: Mapping[str, str]
    receiver: str
    way: Route  # the route that leads there, or led
    wishes: Wishes
    heard: Heard | None
    minute: int
    fired_now: bool = False
    taken_off: bool = False  # no route leads there any more
    next_in_line: bool = False  # a route leads there only because nobody acknowledged it
    held_before: bool = False
    by_hand: bool = False  # somebody has ended it in this minute

    @property
    def over(self) -> bool:
        """Whether the alert is resolved."""
        return self.alert.state is State.RESOLVED

    @property
    def due_minute(self) -> int | None:
        """When it is to be repeated; None: never, or nothing is to be repeated. After a clock that was ahead: now."""
        if self.heard is None or self.over:
            return None
        pause = self.way.pause(self.heard.repetitions)
        if pause is None:
            return None
        return self.minute if self.heard.minute > self.minute else self.heard.minute + pause

    @property
    def news_minute(self) -> int:
        """The minute of what is to be told: of the firing, the end, or the turn of a repetition."""
        if self.over:
            noted = self.alert.resolved_minute
        else:
            noted = self.alert.firing_minute if self.heard is None else self.due_minute
        return self.minute if noted is None else min(self.minute, noted)


@dataclass(frozen=True, slots=True)
class Ready:
    """A case with something to tell, and nothing in the way but perhaps its group."""

    case: Case
    cause: Cause


@dataclass(slots=True)
class Deliberation:
    """The minute as the stages see it, and what they have come to so far."""

    minute: int
    routes: Routes
    book: Ledger
    people: People
    known: dict[str, list[Alert]] = field(default_factory=dict)  # by receiver: firing, and heard of before or now
    begun: dict[str, int] = field(default_factory=dict)  # by receiver: first messages of this minute

    def heard(self, alert: Alert, receiver: str) -> Heard | None:
        """What the receiver has heard of the alert, unless it has heard that it is over."""
        heard = self.book.heard.get(alert.id, {}).get(receiver) if alert.id is not None else None
        return None if heard is not None and heard.ended else heard

    def spent(self, receiver: str) -> int:
        """First messages to the receiver within a day, those of this minute among them."""
        recent = sum(0 <= self.minute - minute < DAY_MINUTES for minute in self.book.spent.get(receiver, ()))
        return recent + self.begun.get(receiver, 0)
