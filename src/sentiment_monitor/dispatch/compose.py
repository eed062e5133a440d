"""How a transition becomes notifications: the only meeting of detection's words and delivery's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sentiment_monitor.domain import payload
from sentiment_monitor.notify.contract import Notifier
from sentiment_monitor.store.alerts import Outgoing
from sentiment_monitor.times import MINUTE_MS
from sentiment_monitor.watch.tick import Told


def composer(
    receivers: Mapping[str, Sequence[Notifier]], external_url: str
) -> Callable[[str, Told], Sequence[Outgoing]]:
    """Return what the tick loop calls to make the notifications of a receiver, one for each of its notifiers."""

    def compose(receiver: str, told: Told) -> list[Outgoing]:
        evaluation, state, transition = told.evaluation, told.state, told.transition
        started_ms = (state.started_minute or transition.minute) * MINUTE_MS
        resolved = state.ended_minute is not None
        alert = payload.Alert(
            status="resolved" if resolved else "firing",
            labels=payload.labels(told.rule.name, evaluation.series, told.rule.severity),
            annotations={"summary": told.explanation.title, "description": told.explanation.text},
            startsAt=payload.rfc3339(started_ms),
            endsAt=payload.rfc3339(transition.minute * MINUTE_MS) if resolved else payload.NOT_ENDED,
            generatorURL=f"{external_url}/alert?fingerprint={told.alert_fingerprint}",
            fingerprint=told.alert_fingerprint,
            sentiment=payload.Sentiment(
                rule=told.rule.name,
                series=evaluation.series,
                window_minutes=told.rule.window_minutes,
                observed=evaluation.observed,
                expected=evaluation.expected,
                p_value=evaluation.p_value,
                q_value=evaluation.q_value,
                effect=evaluation.effect,
                volume=evaluation.volume,
                expected_share=evaluation.expected_share,
                top_stories=tuple(
                    payload.TopStory(
                        id=story.id,
                        headline=story.headline,
                        source=story.source,
                        url=story.url,
                        published_at=payload.rfc3339(story.published_ms),
                        p_negative=story.negative,
                        copies=story.copies,
                    )
                    for story in told.evidence.stories
                ),
                sources=told.evidence.sources,
                copies_collapsed=told.evidence.copies,
                reason=f"{transition.kind}: {evaluation.reason if not resolved else transition.why}",
            ),
        )
        body = payload.encode(payload.group(receiver, [alert], external_url=external_url)).decode()
        return [
            Outgoing(
                receiver=receiver,
                notifier=place,
                idempotency_key=payload.idempotency_key(
                    told.alert_fingerprint, started_ms, str(transition.kind), transition.minute, f"{receiver}/{place}"
                ),
                payload=body,
                title=told.explanation.title,
                body=told.explanation.text,
            )
            for place in range(len(receivers[receiver]))
        ]

    return compose
