"""Alerts: their states and transitions, what they rest on, and the notifications that tell of them.

Frozen, no I/O, no clock. Minutes are event-time minutes since 1970-01-01 UTC, as everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from sentiment_monitor.domain.alert_states import OPEN_STATES, Kind, State, Why
from sentiment_monitor.domain.hearing import Mention, Withholding
from sentiment_monitor.domain.people import Saying

TOP_STORIES = 5  # that an alert shows


@dataclass(frozen=True, slots=True)
class Alert:
    """One series under one rule from its first spike on: what the next tick needs, and a row of ``alerts``.

    An alert that is over stays as it is, unless its series spikes again soon: then it is reopened. A later spike makes
    a new one.
    """

    rule: str
    series: str
    severity: str
    state: State | None = None  # None: nothing to say yet, and nothing to store
    title: str = ""
    pending_minute: int | None = None  # beyond since, for the current pending or firing
    fired_minute: int | None = None
    quiet_minute: int | None = None  # firing, but nothing holds it since
    silent_minute: int | None = None  # nothing can be said since: until then time has not passed
    resolved_minute: int | None = None  # resolved or dropped
    decided_minute: int | None = None  # newest minute decided, as far as this value tells
    closed_negatives: float | None = None  # somebody ended it at so many, and what raised it may not be over yet
    reopened_minute: int | None = None  # it was resolved, and fires again since
    reopenings: int = 0  # how often that was so
    stale: bool = False  # its newest negative story was too old for anybody to be told
    id: int | None = None  # in SQL; None: not stored yet

    @property
    def fingerprint(self) -> str:
        """The same for the same rule and series for ever."""
        return fingerprint(self.rule, self.series)

    @property
    def open(self) -> bool:
        """Whether it is pending or firing."""
        return self.state in OPEN_STATES

    @property
    def firing_minute(self) -> int | None:
        """Since when it fires, or fired, for the last time."""
        return self.fired_minute if self.reopened_minute is None else self.reopened_minute

    @property
    def recovering(self) -> bool:
        """Whether it fires, but nothing holds it any more: it resolves unless that changes."""
        return self.state is State.FIRING and self.quiet_minute is not None

    @property
    def shown_state(self) -> str:
        """Its state as people read it."""
        shown = "recovering" if self.recovering else str(self.state or "")
        return f"{shown} (stale)" if self.stale else shown

    @property
    def lingering(self) -> bool:
        """Whether somebody ended it, and until what raised it is over that must not raise it again."""
        return not self.open and self.closed_negatives is not None

    @property
    def followed(self) -> bool:
        """Whether each minute must look at it, however quiet its series is."""
        return self.open or self.lingering


class Transition(NamedTuple):
    """A change of state, or a repetition: a row in ``alert_events``."""

    kind: Kind
    minute: int
    why: Why


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One series under one rule at one minute."""

    series: str
    rule: str
    observed: float  # negative stories in the window, copies collapsed
    volume: float  # stories in the window
    sources: int | None  # distinct sources of those; None: not asked, nothing depended on it
    newest_minute: int  # of the negative stories; -1 when there is none
    expected: float  # negative stories that a usual window brings at this hour
    expected_share: float
    effect: float  # observed over expected
    p_value: float | None  # None: the detector has no such thing
    q_value: float | None  # adjusted for the series of the tick
    beyond: bool  # fires
    holds: bool  # keeps a firing alert alive: a lower bar than ``beyond``
    reason: str  # why it is beyond, or the first thing that keeps it from being so
    statistics: Mapping[str, float] = field(default_factory=dict)  # the detector's own numbers, by name
    grave: bool = False  # beyond, and so much that the alert is critical whatever its rule says

    @property
    def share(self) -> float:
        """Observed negative share, 0 without stories."""
        return self.observed / self.volume if self.volume > 0 else 0.0

    def span_minutes(self, window_minutes: int) -> int:
        """How long the span is that it is about: the rule's window, unless its detector looked at a longer one."""
        return int(self.statistics.get("span_minutes", window_minutes))


@dataclass(frozen=True, slots=True)
class TopStory:
    """One negative story of a window, without its copies. It has this shape from the store to receivers and page."""

    id: str
    headline: str
    source: str
    url: str
    published_at: str  # RFC 3339 UTC
    p_negative: float
    copies: int = 0  # collapsed into this one


@dataclass(frozen=True, slots=True)
class Evidence:
    """What lies behind one decision; kept with its event as JSON of these fields."""

    sentence: str = ""  # what was seen, in words
    top_stories: tuple[TopStory, ...] = ()  # most telling first, at most ``TOP_STORIES``
    sources: tuple[str, ...] = ()  # of all negative stories in the window, most frequent first
    copies: int = 0  # collapsed in the window, all negative stories together
    statistics: Mapping[str, float] = field(default_factory=dict)  # the detector's own numbers, by name
    window_minutes: int = 0  # of the rule; 0: not known


@dataclass(frozen=True, slots=True)
class Event:
    """One transition of an alert and what it was decided on: a row of ``alert_events``."""

    transition: Kind
    minute: int
    reason: str
    observed: float
    volume: float
    expected: float
    p_value: float | None
    q_value: float | None
    evidence: Evidence
    explanation: str  # the text that receivers were given
    id: int | None = None  # in SQL; None: not stored yet


@dataclass(frozen=True, slots=True)
class Telling:
    """Who is told of a rule's alerts, and how often."""

    receivers: tuple[str, ...]
    repeat_minutes: int = 24 * 60  # a firing alert is told again after this; 0: never


@dataclass(frozen=True, slots=True)
class Notification:
    """One delivery to one notifier of one receiver. Every attempt sends the same bytes under the same key."""

    key: str  # idempotency key: a receiver that has seen it drops the second copy
    receiver: str
    notifier: str
    title: str
    text: str
    body: bytes  # the encoded ``payload.Payload``
    mentions: tuple[tuple[Alert, Mention], ...] = ()  # the alerts it tells of; none: only the one of its event


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """What became of one notification: a row of ``notifications``."""

    receiver: str
    notifier: str
    key: str
    title: str
    state: str  # queued, sent or failed
    attempts: int
    created_ms: int
    sent_ms: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class AlertHistory:
    """One alert with all that happened to it, oldest first."""

    alert: Alert
    events: tuple[Event, ...]
    deliveries: tuple[DeliveryRecord, ...]
    said: tuple[Saying, ...] = ()  # by people
    withheld: tuple[Withholding, ...] = ()
    owner: str | None = None  # who has it; None: nobody


def fingerprint(rule: str, series: str) -> str:
    """Sixteen hexadecimal digits, the same for the same rule and series for ever."""
    return hashlib.blake2b(msgspec.json.encode((rule, series)), digest_size=8).hexdigest()
