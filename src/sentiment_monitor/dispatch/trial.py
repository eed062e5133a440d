"""A notification that tells of nothing: somebody wants to see whether it arrives."""

from __future__ import annotations

from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Notification, TopStory, fingerprint
from sentiment_monitor.times import MINUTE_MS, rfc3339

RULE, SERIES = "monitor-test", "all"


def trial(receiver: str, notifier: str, now_ms: int, external_url: str) -> Notification:
    """A marked test alert for one notifier, with an invented story so that the look of one can be judged.

    It bears the label ``test="true"``, severity ``none``, and the receiver's real name.
    """
    url = external_url.rstrip("/")
    title = f"[TEST] sentiment-monitor reaches {receiver}"
    text = "This is a test. Nothing has happened, and nothing needs to be done."
    mark = fingerprint(RULE, SERIES)
    alert = payload.PayloadAlert(
        status="firing",
        labels=payload.labels(RULE, SERIES, "none") | {"test": "true"},
        annotations={"summary": title, "description": text},
        startsAt=rfc3339(now_ms),
        endsAt=payload.NOT_ENDED,
        generatorURL=url,
        fingerprint=mark,
        sentiment=payload.PayloadSentiment(
            rule=RULE,
            series=SERIES,
            window_minutes=60,
            observed=3.0,
            expected=0.5,
            p_value=None,
            q_value=None,
            effect=6.0,
            volume=4.0,
            expected_share=0.2,
            top_stories=(
                TopStory(
                    id="test",
                    headline="Invented headline of a test: Kestrel Bank is a company that does not exist",
                    source="sentiment-monitor",
                    url=url,
                    published_at=rfc3339(now_ms),
                    p_negative=0.9,
                ),
            ),
            sources=("sentiment-monitor",),
            copies_collapsed=0,
            reason="test: asked for by monitor notify test",
        ),
    )
    return Notification(
        key=payload.idempotency_key(mark, now_ms, "test", now_ms // MINUTE_MS, f"{receiver}/{notifier}"),
        receiver=receiver,
        notifier=notifier,
        title=title,
        text=text,
        body=payload.encode(payload.group(receiver, [alert], external_url=external_url)),
    )
