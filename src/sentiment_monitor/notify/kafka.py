"""Delivery to a Kafka topic: the alert's JSON, acknowledged by every in-sync replica."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import FatalError, RetryLater
from sentiment_monitor.notify.contract import DeliveryLater, NotifierRefused, NotifyRejected

_REFUSED = (
    kafka_errors.AuthorizationError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
)
_REJECTED = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)


class KafkaNotifier:
    """Writes one record for a notification: its value is the payload, its key the group of alerts.

    Records of one group keep their order. The header ``idempotency-key`` is the same for every attempt: a record whose
    acknowledgement was lost is there twice. The connection is made for the first notification and then kept.
    """

    def __init__(
        self,
        connect: Callable[[float], KafkaProducer],
        topic: str,
        *,
        access: Callable[[], str],
        timeout_s: float = 30.0,
    ) -> None:
        """``connect`` makes a producer within so many seconds, or raises our errors; ``access``: what it logs in by."""
        self._connect = connect
        self._topic = topic
        self._access = access
        self._timeout_s = timeout_s
        self._lock = threading.Lock()  # of the two below
        self._closed = False
        self._producer: KafkaProducer | None = None

    def __repr__(self) -> str:
        return f"KafkaNotifier({self._topic})"

    def send(self, notification: Notification, now_ms: int) -> None:
        """See ``Notifier.send``. Connecting and the acknowledgement together have the timeout."""
        until = time.monotonic() + self._timeout_s
        try:
            producer = self._connected()
            sending = producer.send(
                self._topic,
                key=payload.decode(notification.body).groupKey.encode(),
                value=notification.body,
                headers=[
                    ("idempotency-key", notification.key.encode()),
                    ("receiver", notification.receiver.encode()),
                    ("content-type", b"application/json"),
                ],
                timestamp_ms=now_ms,
            )
            sending.get(timeout=max(0.0, until - time.monotonic()))
        except RetryLater as error:
            raise DeliveryLater(str(error)) from None
        except (FatalError, *_REFUSED) as error:
            self._forget()
            raise NotifierRefused(f"topic {self._topic}: {error}") from None
        except _REJECTED as error:
            raise NotifyRejected("too_large", f"topic {self._topic}: {error}") from None
        except kafka_errors.KafkaError as error:
            self._forget()  # what it still holds must not arrive after the next attempt
            raise DeliveryLater(f"topic {self._topic}: {type(error).__name__}: {error}") from None

    def access(self) -> str:
        """See ``Notifier.access``."""
        return self._access()

    def close(self) -> None:
        """Give back the connection; a delivery that is under way fails."""
        with self._lock:
            self._closed = True
        self._forget()

    def _connected(self) -> KafkaProducer:
        with self._lock:
            producer = self._producer
        if producer is not None:
            return producer
        producer = self._connect(self._timeout_s)
        with self._lock:
            if not self._closed:
                self._producer = producer
                return producer
        producer.close(timeout=0)
        raise DeliveryLater(f"topic {self._topic}: the notifier is closed")

    def _forget(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(kafka_errors.KafkaError):  # what was not sent yet is tried again
                producer.close(timeout=0)
