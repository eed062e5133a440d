"""The JSON answers, typed: what the API answers with and the command line prints under ``--json``.

Field names and their order are those of docs/data-contract.md. Nothing of the web server is imported here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Alert, AlertHistory, Event, Evidence
from sentiment_monitor.domain.people import Deed, Saying, Silence, SilenceState
from sentiment_monitor.times import iso, rfc3339

if TYPE_CHECKING:
    from sentiment_monitor.actions.dead_letters import Replay
    from sentiment_monitor.actions.outcomes import Acted
    from sentiment_monitor.store.buckets import SeriesChange, TrendPoint
    from sentiment_monitor.store.dead_letters import KeptRecord, StoredDeadLetter
    from sentiment_monitor.store.reading import StoryFact


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """Why there is no answer."""

    detail: str


@dataclass(frozen=True, slots=True)
class TrendStepAnswer:
    """One step of a series: stories without copies by label, copies, mean score (null without stories)."""

    at: str
    minute: int
    stories: int
    negative: int
    neutral: int
    positive: int
    copies: int
    score: float | None


@dataclass(frozen=True, slots=True)
class TrendAnswer:
    """One series over time."""

    series: str
    step_minutes: int
    points: list[TrendStepAnswer]

    @classmethod
    def of(cls, series: str, points: Sequence[TrendPoint], step: int) -> TrendAnswer:
        """``points`` are those of the store, ``step`` their width in minutes."""
        steps = [
            TrendStepAnswer(
                iso(point.minute),
                point.minute,
                point.stories,
                point.negative,
                point.neutral,
                point.positive,
                point.copies,
                point.score,
            )
            for point in points
        ]
        return cls(series, step, steps)


@dataclass(frozen=True, slots=True)
class SeriesAnswer:
    """One series in a span, and in the span of equal length before; ``name`` is what people call it."""

    series: str
    name: str
    stories: int
    negative: int
    score: float
    stories_before: int
    negative_before: int

    @classmethod
    def of(cls, change: SeriesChange, name: str) -> SeriesAnswer:
        """One row of the store with its name."""
        return cls(
            series=change.series,
            name=name,
            stories=change.stories,
            negative=change.negative,
            score=change.score,
            stories_before=change.stories_before,
            negative_before=change.negative_before,
        )


@dataclass(frozen=True, slots=True)
class StoryAnswer:
    """One story as people read it."""

    at: str
    id: int
    headline: str
    source: str
    url: str
    published_ms: int
    minute: int
    label: Literal["negative", "neutral", "positive"]
    negative: float
    positive: float
    uncertain: bool
    topic: str | None
    tickers: tuple[str, ...]
    copies: int

    @classmethod
    def of(cls, fact: StoryFact) -> StoryAnswer:
        """One story of the store."""
        return cls(at=iso(fact.minute), **copied(cls, fact, but=("at",)))


@dataclass(frozen=True, slots=True)
class DeadLetterAnswer:
    """One record that was put aside, its value as text: its first bytes at least, ``value_bytes`` counts them all.

    ``part`` is the story's place within the record, from 0; null: the record as a whole.
    """

    id: int
    topic: str
    partition: int
    offset: int
    code: str
    detail: str
    raw_value: str | None
    value_bytes: int | None
    received_ms: int
    replayed_ms: int | None
    requested_ms: int | None
    attempts: int
    part: int | None

    @classmethod
    def of(cls, letter: StoredDeadLetter) -> DeadLetterAnswer:
        """One dead letter of the store."""
        raw = letter.raw_value
        text = None if raw is None else raw.decode("utf-8", "backslashreplace")
        return cls(raw_value=text, **copied(cls, letter, but=("raw_value",)))


@dataclass(frozen=True, slots=True)
class DeadLetterRecordAnswer:
    """One record that was put aside, whole: key and value in base64, since they may be any bytes."""

    id: int
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    code: str
    detail: str
    received_ms: int
    replayed_ms: int | None
    requested_ms: int | None
    attempts: int
    part: int | None
    key_base64: str | None
    value_base64: str | None

    @classmethod
    def of(cls, kept: KeptRecord) -> DeadLetterRecordAnswer:
        """One dead letter of the store with its record."""
        record = kept.record
        own: dict[str, Any] = {
            "timestamp_ms": record.timestamp_ms,
            "key_base64": _base64(record.key),
            "value_base64": _base64(record.value),
        }
        return cls(**own, **copied(cls, kept.letter, but=own))


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode("ascii")


@dataclass(frozen=True, slots=True)
class ReplayAnswer:
    """What became of one dead letter that was to be read again; ``detail`` is for people."""

    id: int
    outcome: Literal["requested", "replayed", "already_replayed", "unreadable", "no_message", "unknown"]
    detail: str

    @classmethod
    def of(cls, replay: Replay) -> ReplayAnswer:
        """The outcome of the action."""
        return cls(replay.id, replay.outcome.value, replay.detail)


@dataclass(frozen=True, slots=True)
class AlertAnswer:
    """One alert without its history."""

    id: int
    fingerprint: str
    rule: str
    series: str
    severity: str
    state: State
    title: str
    pending_at: str
    fired_at: str | None
    resolved_at: str | None
    reopened_at: str | None
    recovering_since: str | None
    owner: str | None
    stale: bool

    @classmethod
    def of(cls, alert: Alert, owner: str | None) -> AlertAnswer:
        """One alert of the store and who has it; ValueError for one that was never stored."""
        if alert.id is None or alert.state is None or alert.pending_minute is None:
            raise ValueError(f"alert {alert.rule} on {alert.series} is not of the store")
        return cls(
            id=alert.id,
            fingerprint=alert.fingerprint,
            rule=alert.rule,
            series=alert.series,
            severity=alert.severity,
            state=alert.state,
            title=alert.title,
            pending_at=iso(alert.pending_minute),
            fired_at=iso(alert.fired_minute),
            resolved_at=iso(alert.resolved_minute),
            reopened_at=iso(alert.reopened_minute),
            recovering_since=iso(alert.quiet_minute) if alert.recovering else None,
            owner=owner,
            stale=alert.stale,
        )


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """One transition of an alert, and what it was decided on."""

    id: int
    alert_id: int
    at: str
    minute: int
    transition: Kind
    reason: str
    observed: float
    volume: float
    expected: float
    p_value: float | None
    q_value: float | None
    evidence: Evidence
    explanation: str

    @classmethod
    def of(cls, event: Event, alert_id: int) -> EventAnswer:
        """One event of the store."""
        own: dict[str, Any] = {"id": event.id or 0, "alert_id": alert_id, "at": iso(event.minute)}
        return cls(**own, **copied(cls, event, but=own))


@dataclass(frozen=True, slots=True)
class NotificationAnswer:
    """What became of one notification."""

    receiver: str
    notifier: str
    state: str
    attempts: int
    idempotency_key: str
    last_error: str | None


@dataclass(frozen=True, slots=True)
class SayingAnswer:
    """One thing that somebody did or said about an alert; ``owner`` has it from then on (null: nobody)."""

    at: str
    actor: str
    deed: Deed
    owner: str | None
    text: str

    @classmethod
    def of(cls, saying: Saying) -> SayingAnswer:
        """One saying of the store."""
        return cls(rfc3339(saying.at_ms), saying.actor, saying.deed, saying.owner, saying.text)


@dataclass(frozen=True, slots=True)
class WithheldAnswer:
    """That a receiver was not told for a while."""

    receiver: str
    reason: str
    detail: str
    since: str
    until: str | None  # null: it still is


@dataclass(frozen=True, slots=True)
class HistoryAnswer(AlertAnswer):
    """One alert with its events and deliveries, and what people said about it, oldest first."""

    events: list[EventAnswer]
    notifications: list[NotificationAnswer]
    people: list[SayingAnswer]
    held_back: list[WithheldAnswer]

    @classmethod
    def of_history(cls, history: AlertHistory) -> HistoryAnswer:
        """One alert of the store with all that happened to it."""
        alert = AlertAnswer.of(history.alert, history.owner)
        return cls(
            **copied(AlertAnswer, alert),
            events=[EventAnswer.of(event, alert.id) for event in history.events],
            notifications=[
                NotificationAnswer(
                    receiver=record.receiver,
                    notifier=record.notifier,
                    state=record.state,
                    attempts=record.attempts,
                    idempotency_key=record.key,
                    last_error=record.last_error,
                )
                for record in history.deliveries
            ],
            people=[SayingAnswer.of(saying) for saying in history.said],
            held_back=[
                WithheldAnswer(
                    receiver=spell.receiver,
                    reason=spell.reason,
                    detail=spell.detail,
                    since=iso(spell.since_minute),
                    until=iso(spell.until_minute),
                )
                for spell in history.withheld
            ],
        )


@dataclass(frozen=True, slots=True)
class ChangeAnswer:
    """What became of one alert or silence that somebody wanted to change; ``detail`` is for people."""

    id: int
    outcome: Literal["done", "already", "over", "unknown"]
    detail: str

    @classmethod
    def of(cls, change: Acted) -> ChangeAnswer:
        """The outcome of the action."""
        return cls(change.id, change.outcome.value, change.detail)


@dataclass(frozen=True, slots=True)
class SilenceAnswer:
    """One silence; ``state`` is pending, active or expired. Without matchers it cannot be read, and mutes nothing."""

    id: int
    state: SilenceState
    matchers: list[str]
    starts_at: str
    ends_at: str
    author: str
    comment: str

    @classmethod
    def of(cls, silence: Silence, minute: int) -> SilenceAnswer:
        """One silence of the store, as it is at ``minute``."""
        return cls(
            id=silence.id,
            state=silence.state(minute),
            matchers=[str(matcher) for matcher in silence.matchers],
            starts_at=iso(silence.starts_minute),
            ends_at=iso(silence.ends_minute),
            author=silence.author,
            comment=silence.comment,
        )


def copied(answer: type, source: object, *, but: Collection[str] = ()) -> dict[str, Any]:
    """What an answer has under the names of what it is made of, ``but`` for these fields."""
    return {field.name: getattr(source, field.name) for field in fields(answer) if field.name not in but}
