"""What a message says: its alerts as receivers read them, and one notification for each notifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentiment_monitor.dispatch.cases import Message, Part
from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.alerts import Alert, Evaluation, Evidence, Notification
from sentiment_monitor.domain.hearing import Cause
from sentiment_monitor.times import MINUTE_MS, clock, rfc3339


@dataclass(frozen=True, slots=True)
class Account:
    """What there is to say of one alert at one minute, whoever is told."""

    alert: Alert  # its value after the minute
    why: str  # of the transition or repetition
    minute: int
    evaluation: Evaluation
    evidence: Evidence
    window_minutes: int | None  # None: the rule is gone
    title: str
    text: str
    name: str = ""  # what people call the company; empty: as its series says


def compose(message: Message, accounts: Mapping[Alert, Account], external_url: str, minute: int) -> list[Notification]:
    """The notifications of one message, by what there is to say of each of its alerts.

    The same message makes the same keys and bytes again.
    """
    first = message.alert
    body = payload.encode(
        payload.group(
            message.receiver,
            [_alert(part, accounts[part.alert], external_url, message.most_a_day) for part in message.parts],
            external_url=external_url,
            group_by=tuple(name for name, _ in message.group),
        )
    )
    mentions = tuple((accounts[part.alert].alert, message.mention(part, minute)) for part in message.parts)
    return [
        Notification(
            key=payload.idempotency_key(
                first.fingerprint, _started_ms(first, minute), message.cause, minute, f"{message.receiver}/{notifier}"
            ),
            receiver=message.receiver,
            notifier=notifier,
            title=_title(message, accounts),
            text=_text(message, accounts),
            body=body,
            mentions=mentions,
        )
        for notifier in message.notifiers
    ]


def _title(message: Message, accounts: Mapping[Alert, Account]) -> str:
    title, others = accounts[message.alert].title, len(message.parts) - 1
    return title if not others else f"{title}, and {others} more {'alert' if others == 1 else 'alerts'}"


def _text(message: Message, accounts: Mapping[Alert, Account]) -> str:
    """All alerts one under the other, each but the first under its title."""
    sections = []
    for part in message.parts:
        account = accounts[part.alert]
        title = "" if part is message.parts[0] else f"{account.title}\n"
        sections.append(f"{title}{_lead(part)}{account.text}")
    return "\n\n".join((*sections, _used_up(message.most_a_day)) if message.most_a_day else sections)


def _used_up(most: int) -> str:
    return (
        f"With this message {most} {'alert has' if most == 1 else 'alerts have'} been told within 24 h, as many as "
        "this receiver asked for: until that is no longer so only critical alerts are told; the others are held back, "
        "and listed by monitor alerts list."
    )


def _lead(part: Part) -> str:
    """Why it comes now, where the alert's own words do not say it."""
    since = f"since {clock(part.alert.fired_minute)} UTC"
    match part.cause:
        case Cause.LATE:
            return f"It has been firing {since}; until now it was held back from you.\n"
        case Cause.WORSENED:
            return f"Graver than what you have been told: now {part.alert.severity}.\n"
        case Cause.ESCALATED:
            return f"It has been firing {since}, and nobody has acknowledged it.\n"
        case Cause.NAMED:
            return "Nothing new; listed because it belongs to the same group.\n"
        case _:
            return ""


def _started_ms(alert: Alert, minute: int) -> int:
    return (minute if alert.fired_minute is None else alert.fired_minute) * MINUTE_MS


def _alert(part: Part, account: Account, external_url: str, most_a_day: int) -> payload.PayloadAlert:
    alert, evaluation = account.alert, account.evaluation
    resolved = alert.state is State.RESOLVED
    ended = account.minute if alert.resolved_minute is None else alert.resolved_minute
    return payload.PayloadAlert(
        status="resolved" if resolved else "firing",
        labels=payload.labels(alert.rule, alert.series, alert.severity),
        annotations={"summary": account.title, "description": account.text},
        startsAt=rfc3339(_started_ms(alert, account.minute)),
        endsAt=rfc3339(ended * MINUTE_MS) if resolved else payload.NOT_ENDED,
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
            reason=f"{part.cause}: {account.why if resolved else evaluation.reason}",
            name=account.name,
            most_a_day_reached=most_a_day,
        ),
    )
