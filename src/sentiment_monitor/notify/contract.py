"""How a notification leaves: the contract of every notifier, and its two failures."""

from __future__ import annotations

from typing import Protocol

from sentiment_monitor.domain.alerts import Notification
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

        Raises ``DeliveryLater`` when a later attempt may succeed and ``NotifyRejected`` when none will. Blocks for its
        own timeout at most, however the receiver behaves. Delivering the same notification twice must be harmless:
        same key, same bytes. One thread calls at a time. ``now_ms`` is the time of this attempt.
        """
        ...

    def close(self) -> None:
        """Give back connections and processes, at once: a delivery that is under way in another thread fails."""
        ...
