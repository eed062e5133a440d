"""Delivery: what is due in the outbox goes to its notifiers, at least once each."""

from __future__ import annotations

import math
import random
import time
import traceback
from collections.abc import Callable, Mapping, Sequence

import structlog

from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import RecordError, RetryLater
from sentiment_monitor.notify.contract import DeliveryLater, Notifier
from sentiment_monitor.notify.retry import next_attempt
from sentiment_monitor.store.outbox import Outbox, QueuedNotification
from sentiment_monitor.telemetry.metrics import TickLoop

_log = structlog.get_logger()


class Delivery:
    """Takes notifications out of the outbox and hands them to their notifiers. At least once each."""

    def __init__(
        self,
        outbox: Outbox,
        receivers: Mapping[str, Sequence[Notifier]],
        *,
        now_ms: Callable[[], int],
        give_up_ms: int,
        metrics: TickLoop | None = None,
    ) -> None:
        self._outbox = outbox
        self._receivers = receivers
        self._now_ms = now_ms
        self._give_up_ms = give_up_ms
        # Jitter keeps replicas from retrying in step; nothing secret depends on it.
        self._random = random.Random()  # noqa: S311
        self._until = math.inf  # monotonic seconds
        self._metrics = metrics or TickLoop()

    def hurry(self, seconds: float) -> None:
        """Begins nothing new from so many seconds on. What is not sent stays in the outbox."""
        self._until = time.monotonic() + seconds

    def deliver(self) -> int:
        """Tries what is due; returns how many were sent. Raises DatabaseAway."""
        sent = 0
        while told := self._deliver_round():  # what is sent makes room for what waited behind it
            sent += told
        return sent

    def _deliver_round(self) -> int:
        sent = 0
        for queued in self._outbox.due(self._now_ms()):
            if time.monotonic() >= self._until:
                break
            try:
                self._send(queued)
            except DeliveryLater as error:
                self._failed(queued, str(error), error.retry_after_s, final=False)
            except RecordError as error:
                self._failed(queued, str(error), None, final=True)
            else:
                self._outbox.record_sent(queued.id, self._now_ms())
                self._metrics.deliveries.labels("sent").inc()
                self._metrics.decided_to_sent.observe([(self._now_ms() - queued.created_ms) / 1000])
                sent += 1
        return sent

    def _send(self, queued: QueuedNotification) -> None:
        notifiers = self._receivers.get(queued.receiver, ())
        if queued.notifier >= len(notifiers):
            raise RecordError("no_such_notifier", f"receiver {queued.receiver} no longer has it in the settings")
        notification = Notification(
            key=queued.idempotency_key,
            receiver=queued.receiver,
            notifier=str(queued.notifier),
            title=queued.title,
            text=queued.body,
            body=queued.payload.encode(),
        )
        try:
            with self._metrics.delivery_seconds.labels(queued.receiver).time():
                notifiers[queued.notifier].send(notification, self._now_ms())
        except (RetryLater, RecordError):
            raise
        except Exception as error:  # a receiver's answer, whatever it is, must not end the service
            place = traceback.extract_tb(error.__traceback__)[-1]
            # Its message may hold the receiver's URL.
            raise DeliveryLater(
                f"unforeseen {type(error).__name__} at {place.filename}:{place.lineno} (please report it)"
            ) from error

    def _failed(self, queued: QueuedNotification, error: str, retry_after_s: float | None, *, final: bool) -> None:
        now = self._now_ms()
        following = (
            None
            if final
            else next_attempt(
                queued.attempts + 1,
                now,
                retry_after_s,
                first_ms=queued.created_ms,
                random=self._random,
                give_up_ms=self._give_up_ms,
            )
        )
        self._outbox.record_failure(queued.id, error, following)
        fields = {"receiver": queued.receiver, "attempt": queued.attempts + 1, "error": error}
        if following is None:
            self._metrics.deliveries.labels("failed").inc()
            _log.error("notification.failed", **fields)
        else:
            self._metrics.deliveries.labels("retried").inc()
            _log.warning("notification.retry", in_seconds=round((following - now) / 1000, 1), **fields)
