"""Which topics are read, and what is said of one that does not exist or may not be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog
from kafka import ConsumerRebalanceListener
from kafka import errors as kafka_errors

from sentiment_monitor.errors import BrokerRefused, meant
from sentiment_monitor.ingest.client import Consumer, existing_topics, subscribe_to_fitting

_log = structlog.get_logger()

_LOOK_SECONDS = 2.0
_ASK_MS = 2_000


class Topics:
    """The topics of one consumer: by ``names``, or all that ``fits`` says yes to. None is ever created."""

    def __init__(self, names: Sequence[str], fits: Callable[[str], bool] | None = None) -> None:
        self._names = list(names)
        self._fits = fits
        self._missing: set[str] = set()  # and said so
        self._none_said = False
        self._looked = time.monotonic()
        self._joined = False

    def join(self, consumer: Consumer, listener: ConsumerRebalanceListener) -> bool:
        """Joins the group, as soon as one of the topics that are named exists; whether that is done.

        The embedded broker gives nothing to a member that has once joined for nothing.
        """
        if self._joined:
            return True
        if self._fits is not None:
            subscribe_to_fitting(consumer, self._fits, listener)
        else:
            consumer._cluster.set_topics(self._names)
            if not any(consumer._cluster.partitions_for_topic(name) for name in self._names):
                return False
            consumer.subscribe(self._names, listener=listener)
        self._joined = True
        return True

    def look(self, consumer: Consumer) -> None:
        """Every two seconds: says once of each topic that it does not exist. Raises BrokerRefused."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        # The client keeps this to itself, and waits.
        if refused := sorted(consumer._cluster.unauthorized_topics):
            raise BrokerRefused(f"Kafka refused us: no right to read topic {', '.join(refused)}")
        if self._fits is not None:
            self._look_for_any(consumer)
            return
        missing = {name for name in self._names if consumer._cluster.partitions_for_topic(name) is None}
        for name in sorted(self._missing - missing):
            _log.info("topic.found", topic=name)
        self._missing &= missing
        if new := missing - self._missing:
            self._say_missing(consumer, new)

    def _say_missing(self, consumer: Consumer, names: set[str]) -> None:
        try:
            existing = existing_topics(consumer, _ASK_MS)
        except kafka_errors.KafkaError:
            return  # the broker is away: that is said elsewhere, and the next look asks again
        for name in sorted(names - existing):
            hint = meant(name, existing) or "it is waited for, and read once somebody has made it"
            _log.warning("topic.missing", topic=name, hint=hint)
        self._missing |= names - existing

    def _look_for_any(self, consumer: Consumer) -> None:
        if consumer.subscription():
            self._none_said = False
        elif not self._none_said and consumer._cluster.topics():
            self._none_said = True
            _log.warning("topic.missing", hint="no topic fits kafka.topic_pattern yet; new ones are picked up")
