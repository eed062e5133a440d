"""The first connection: made in the background, however long no broker answers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from kafka import errors as kafka_errors

from sentiment_monitor.errors import BrokerAway
from sentiment_monitor.ingest.client import Consumer, client_arguments, connection_error
from sentiment_monitor.ingest.reach import Reach
from sentiment_monitor.times import pauses

_PAUSE_SECONDS = 1.0
_TAMED = {
    "bootstrap_timeout_ms": 10_000,  # of one attempt
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "allow_auto_create_topics": False,
    # A broker that is back is noticed within seconds; the client's own default is 30 s.
    "reconnect_backoff_max_ms": 3_000,
    # kafka-python may join before it knows the topic and is then given nothing until it looks again,
    # by default in five minutes. New topics and partitions are noticed as soon.
    "metadata_max_age_ms": 5_000,
    "metrics_enabled": False,
}


class Connecting:
    """Makes a consumer, again and again while no broker answers. Raises SettingsError.

    ``client_options`` say how to connect, ``options`` are the consumer's own; ``reach`` hears what the brokers do.
    """

    def __init__(self, client_options: Mapping[str, Any], reach: Reach, *, session_timeout_ms: int, **options: Any):
        request_ms = max(30_000, session_timeout_ms + 5_000)
        self._options: dict[str, Any] = {
            **_TAMED,
            "session_timeout_ms": session_timeout_ms,
            "request_timeout_ms": request_ms,
            "connections_max_idle_ms": max(540_000, request_ms + 60_000),
            **options,
            **client_arguments(client_options, reach),
        }
        self._changed = threading.Condition()
        self._consumer: Consumer | None = None
        self._failure: BaseException | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="kafka-connect", daemon=True).start()

    def consumer(self, timeout: float) -> Consumer | None:
        """The consumer, None when it is not there within so many seconds. Raises what no waiting mends."""
        with self._changed:
            self._changed.wait_for(lambda: self._consumer or self._failure, timeout)
            if self._failure is not None:
                raise self._failure
            return self._consumer

    def close(self) -> None:
        """Gives up, without waiting for an attempt under way; closes a consumer that nobody has taken."""
        with self._changed:
            self._closed.set()
            consumer = self._consumer
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=0)

    def _run(self) -> None:
        pause = pauses(first=_PAUSE_SECONDS)
        while not self._closed.is_set():
            try:
                self._hand_over(self._made())
            except BrokerAway:  # the connections have said so, once
                self._closed.wait(next(pause))
            except BaseException as error:  # noqa: BLE001  # raised to whoever waits
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            else:
                return

    def _made(self) -> Consumer:
        try:
            return Consumer(**self._options)
        except kafka_errors.KafkaError as error:
            raise connection_error(error, self._options) from error

    def _hand_over(self, consumer: Consumer) -> None:
        with self._changed:
            if not self._closed.is_set():
                self._consumer = consumer
                self._changed.notify_all()
                return
        consumer.close(autocommit=False, timeout_ms=0)
