"""How a notification leaves: the contract, its two failures, and the notifier that only writes the log."""

from __future__ import annotations

from typing import Protocol

import structlog

from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.domain.payload import decode
from sentiment_monitor.errors import RecordError, RetryLater


class DeliveryLater(RetryLater):
    """The receiver cannot take it now. ``retry_after_s``: how long it asked us to wait, None when it did not say."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotifyRejected(RecordError):
    """The receiver will never take it: the same bytes would be refused again."""


class Notifier(Protocol):
    """One way to deliver."""

    def send(self, notification: Notification, now_ms: int) -> None:
        """Deliver once; returns only when the receiver has taken it.

        Raises ``DeliveryLater`` when a later attempt may succeed and ``NotifyRejected`` when none will. May block for
        its own timeout, no longer. Delivering the same notification twice must be harmless: same key, same bytes.
        ``now_ms`` is the time of this attempt.
        """
        ...

    def close(self) -> None:
        """Give back connections; ``send`` may not be called afterwards."""
        ...


class LogNotifier:
    """Writes one structured event an alert: ``alert.fired`` or ``alert.resolved``. Cannot fail."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("sentiment_monitor.notify")

    def send(self, notification: Notification, now_ms: int) -> None:
        """Log every alert of the notification."""
        payload = decode(notification.body)
        for alert in payload.alerts:
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

    def close(self) -> None:
        """Nothing to give back."""
