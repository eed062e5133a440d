"""Delivery to the log: one structured event an alert."""

from __future__ import annotations

import structlog

from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Notification


class LogNotifier:
    """Writes ``alert.fired`` or ``alert.resolved`` with the alert's figures as fields. Cannot fail."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("sentiment_monitor.notify")

    def send(self, notification: Notification, now_ms: int) -> None:
        """Log every alert of the notification."""
        for alert in payload.decode(notification.body).alerts:
            detail = alert.sentiment
            fields = {
                "receiver": notification.receiver,
                "key": notification.key,
                "title": notification.title,
                "rule": detail.rule,
                "series": detail.series,
                "severity": alert.labels.get("severity", ""),
                "observed": detail.observed,
                "expected": detail.expected,
                "effect": detail.effect,
                "p_value": detail.p_value,
                "q_value": detail.q_value,
                "reason": detail.reason,
                "starts_at": alert.startsAt,
                "fingerprint": alert.fingerprint,
            }
            if alert.status == "resolved":
                self._log.info("alert.resolved", ends_at=alert.endsAt, **fields)
            else:
                self._log.warning("alert.fired", stories=[story.headline for story in detail.top_stories], **fields)

    def access(self) -> str:
        """Nobody is asked."""
        return ""

    def close(self) -> None:
        """Nothing to give back."""
