"""What a message says: the alert as receivers read it, and one notification for each notifier."""

from __future__ import annotations

from dataclasses import dataclass

from sentiment_monitor.dispatch.decide import Cause, Message
from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Alert, Evaluation, Evidence, Notification
from sentiment_monitor.times import MINUTE_MS, rfc3339


@dataclass(frozen=True, slots=True)
class Account:
    """What there is to say of one alert at one minute, whoever is told."""

    alert: Alert  # its value after the minute
    kind: Kind
    why: str  # of the transition or repetition
    minute: int
    evaluation: Evaluation
    evidence: Evidence
    window_minutes: int | None  # None: the rule is gone
    title: str
    text: str


def compose(message: Message, account: Account, external_url: str) -> list[Notification]:
    """The notifications of one message. The same message makes the same keys and bytes again."""
    alert = account.alert
    started_ms = (account.minute if alert.fired_minute is None else alert.fired_minute) * MINUTE_MS
    body = payload.encode(
        payload.group(message.receiver, [_alert(account, started_ms, external_url)], external_url=external_url)
    )
    return [
        Notification(
            key=payload.idempotency_key(
                alert.fingerprint, started_ms, account.kind, account.minute, f"{message.receiver}/{notifier}"
            ),
            receiver=message.receiver,
            notifier=notifier,
            title=account.title,
            text=account.text,
            body=body,
        )
        for notifier in message.notifiers
    ]


def reason_of(kind: Kind, why: str, evaluation: Evaluation) -> str:
    """Why an event happened, in one word: what was seen when it fired, else why the state changed."""
    return evaluation.reason if kind is Kind.FIRED else why


def kind_of(cause: Cause) -> Kind:
    """The kind of the event that a message tells of."""
    return {Cause.FIRED: Kind.FIRED, Cause.RESOLVED: Kind.RESOLVED}.get(cause, Kind.REPEATED)


def _alert(account: Account, started_ms: int, external_url: str) -> payload.PayloadAlert:
    alert, evaluation = account.alert, account.evaluation
    resolved = alert.state is State.RESOLVED
    return payload.PayloadAlert(
        status="resolved" if resolved else "firing",
        labels=payload.labels(alert.rule, alert.series, alert.severity),
        annotations={"summary": account.title, "description": account.text},
        startsAt=rfc3339(started_ms),
        endsAt=rfc3339(account.minute * MINUTE_MS) if resolved else payload.NOT_ENDED,
        generatorURL=f"{external_url}/alert?fingerprint={alert.fingerprint}",
        fingerprint=alert.fingerprint,
        sentiment=payload.PayloadSentiment(
            rule=alert.rule,
            series=alert.series,
            window_minutes=account.window_minutes,
            observed=evaluation.observed,
            expected=evaluation.expected,
            p_value=evaluation.p_value,
            q_value=evaluation.q_value,
            effect=evaluation.effect,
            volume=evaluation.volume,
            expected_share=evaluation.expected_share,
            top_stories=account.evidence.top_stories,
            sources=account.evidence.sources,
            copies_collapsed=account.evidence.copies,
            reason=f"{account.kind}: {account.why if resolved else evaluation.reason}",
        ),
    )
