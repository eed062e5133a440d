"""How a notification leaves: the contract of every notifier, and its three failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import FatalError, RecordError, RetryLater

Secret = str | Callable[[], str]
"""A secret's value, or what reads the file in which it lies as it is now."""


class DeliveryLater(RetryLater):
    """The receiver cannot take it now. ``retry_after_s``: how long it asked us to wait, None when it did not say."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotifyRejected(RecordError):
    """The receiver will never take it: the same bytes would be refused again."""


class NotifierRefused(FatalError):
    """The receiver does not let us in: a password, a token, a right. Nothing will be taken until that is mended.

    Fatal to this notifier alone: its deliveries stop, and what is queued for it waits.
    """


class Notifier(Protocol):
    """One way to deliver."""

    def send(self, notification: Notification, now_ms: int) -> None:
        """Deliver once; returns only when the receiver has taken it.

        Raises ``DeliveryLater`` when a later attempt may succeed, ``NotifyRejected`` when none will, and
        ``NotifierRefused`` when none of anything will until the settings or the receiver's own are mended. Blocks for
        its own timeout at most, however the receiver behaves. Delivering the same notification twice must be harmless:
        same key, same bytes. One thread calls at a time. ``now_ms`` is the time of this attempt.
        """
        ...

    def access(self) -> str:
        """All by which the receiver knows us, secrets among it, as one text: another one is worth another attempt."""
        ...

    def close(self) -> None:
        """Give back connections and processes, at once: a delivery that is under way in another thread fails."""
        ...


def value_of(secret: Secret) -> str:
    """What a secret says now."""
    return secret() if callable(secret) else secret
