"""Beside the stages: gives alerts that fired the vectors by which similar ones are recognised later.

Alerts are raised where no classifier need be; whoever reads news has one. So the process that scores looks for alerts
without a vector and reads their most telling headlines once more: five short texts an alert, and nothing for the
thousands of stories that no alert rests on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
import structlog

from sentiment_monitor.domain.news import Text
from sentiment_monitor.errors import RetryLater
from sentiment_monitor.score.contract import Classifier, Vectors
from sentiment_monitor.store import similar
from sentiment_monitor.store.database import Database

_log = structlog.get_logger()

_LOOK_SECONDS = 10.0
_PORTION = 20  # alerts: a hundred headlines at a time, so that scoring hardly waits


@dataclass(slots=True)
class AlertVectors:
    """Reads the headlines of alerts for ``classifier``. ``groups`` are those that the watchlist has a ticker in.

    Several processes may do the same work: the first to store it wins, and both results are alike.
    """

    database: Database
    classifier: Classifier
    groups: Callable[[str], Collection[str]]
    now_ms: Callable[[], int]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """Looks for such alerts from now on. ``failed`` is called when that ends by itself."""
        self._thread = threading.Thread(target=self._run, args=(failed,), name="alert-vectors", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends that, after the portion in hand."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def read_waiting(self) -> None:
        """Reads what waits, or leaves it for the next time where the database is away."""
        try:
            self.read_new()
        except RetryLater as error:
            _log.info("alert_vectors.postponed", error=str(error))

    def read_new(self) -> int:
        """Reads all that fired and have no vector yet; returns how many. Raises RetryLater."""
        count = 0
        name = self.classifier.id
        while True:
            with self.database.read() as connection:
                unread = similar.without_vectors(connection, name, self.groups, _PORTION)
            if not unread:
                return count
            texts = [Text(headline) for alert in unread for headline in alert.headlines]
            vectors = self.classifier.vectors(texts)
            with self.database.write() as connection:
                first = 0
                for alert in unread:
                    own = vectors[first : first + len(alert.headlines)]
                    first += len(alert.headlines)
                    similar.keep_vector(connection, name, alert.alert_id, middle(own), alert.traits, self.now_ms())
            count += len(unread)

    def _run(self, failed: Callable[[BaseException], None]) -> None:
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                self.read_waiting()
        except BaseException as error:  # noqa: BLE001  # the process ends with it
            failed(error)


def middle(vectors: Vectors) -> Vectors:
    """The direction in the middle of some vectors [n, width]: one of length 1; empty without any."""
    total = vectors.sum(axis=0)
    length = float(np.linalg.norm(total))
    if length == 0:
        return np.empty(0, np.float32)
    direction: Vectors = (total / length).astype(np.float32)
    return direction
