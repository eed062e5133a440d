"""One alert with its likes, and with all that is known of it, as JSON: what ``alerts show`` and ``explain`` answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.alerts import AlertHistory, TopStory
from sentiment_monitor.domain.dossier import Dossier, Step
from sentiment_monitor.domain.similar import SimilarAlert
from sentiment_monitor.times import iso
from sentiment_monitor.web.answers import HistoryAnswer, SayingAnswer, copied


@dataclass(frozen=True, slots=True)
class SimilarAnswer:
    """One earlier alert that is like this one: in what, and what became of it.

    ``cosine`` is that of the vectors, null where there are none; ``likeness`` adds what the two share.
    """

    id: int
    fingerprint: str
    rule: str
    series: str
    severity: str
    state: State
    title: str
    fired_at: str | None
    resolved_at: str | None
    likeness: float
    cosine: float | None
    alike: list[str]
    headline: str
    outcome: str
    people: list[SayingAnswer]

    @classmethod
    def of(cls, similar: SimilarAlert) -> SimilarAnswer:
        """One similar alert of the store; ValueError for one that was never stored."""
        alert, likeness = similar.alert, similar.likeness
        if alert.id is None or alert.state is None:
            raise ValueError(f"alert {alert.rule} on {alert.series} is not of the store")
        return cls(
            id=alert.id,
            fingerprint=alert.fingerprint,
            rule=alert.rule,
            series=alert.series,
            severity=alert.severity,
            state=alert.state,
            title=alert.title,
            fired_at=iso(alert.fired_minute),
            resolved_at=iso(alert.resolved_minute),
            likeness=round(likeness.amount, 3),
            cosine=None if likeness.cosine is None else round(likeness.cosine, 3),
            alike=list(likeness.reasons),
            headline=similar.headline,
            outcome=similar.outcome,
            people=[SayingAnswer.of(saying) for saying in similar.sayings],
        )


@dataclass(frozen=True, slots=True)
class AlertWithSimilarAnswer(HistoryAnswer):
    """One alert with its events, deliveries, and the earlier alerts that are most like it, likest first."""

    similar: list[SimilarAnswer]

    @classmethod
    def of_similar(cls, history: AlertHistory, similar: Sequence[SimilarAlert]) -> AlertWithSimilarAnswer:
        """One alert of the store with its likes."""
        answer = HistoryAnswer.of_history(history)
        return cls(**copied(HistoryAnswer, answer), similar=[SimilarAnswer.of(earlier) for earlier in similar])


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """One window of the alert's series: stories and negatives in it, and the negatives that were expected."""

    at: str
    minute: int
    minutes: int
    stories: int
    negative: int
    expected: float

    @classmethod
    def of(cls, step: Step) -> StepAnswer:
        """One step of a dossier."""
        return cls(iso(step.minute), step.minute, step.minutes, step.stories, step.negative, step.expected)


@dataclass(frozen=True, slots=True)
class DossierAnswer(AlertWithSimilarAnswer):
    """One alert explained: ``sentence`` says why, ``steps`` are what was seen and expected before, then and after."""

    sentence: str
    steps: list[StepAnswer]
    now: StepAnswer
    first_story: TopStory | None

    @classmethod
    def of_dossier(cls, dossier: Dossier) -> DossierAnswer:
        """All that is known of one alert."""
        answer = AlertWithSimilarAnswer.of_similar(dossier.history, dossier.similar)
        return cls(
            **copied(AlertWithSimilarAnswer, answer),
            sentence=dossier.cause.evidence.sentence if dossier.cause else "",
            steps=[StepAnswer.of(step) for step in dossier.steps],
            now=StepAnswer.of(dossier.now),
            first_story=dossier.first_story,
        )
