"""What people said of the live service's alerts, for a replay that is to respect it as the live service did."""

from __future__ import annotations

from collections.abc import Mapping

from sentiment_monitor.backtest.book import Book
from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.domain.people import Acknowledgement, Closing, People, Silence
from sentiment_monitor.store.people import Recorded

_Key = tuple[str, str, int | None]
"""An alert of one book in another: its rule and series, and when it began."""


class Respected:
    """Silences, acknowledgements and closings as they were recorded, each from the minute that first saw it on.

    An acknowledgement or a closing is of the alert of the same rule and series that began at the same minute; where a
    replay raises none, nobody has said anything of it.
    """

    def __init__(self, recorded: Recorded, alerts: Mapping[int, Alert]) -> None:
        self._silences = recorded.silences
        self._acknowledged: dict[_Key, list[Acknowledgement]] = {}
        self._closed: dict[_Key, Closing] = {}
        for acknowledgement in recorded.acknowledgements:
            if acknowledgement.alert_id in alerts:
                self._acknowledged.setdefault(_key(alerts[acknowledgement.alert_id]), []).append(acknowledgement)
        for closing in recorded.closings:
            if closing.alert_id in alerts:
                self._closed[_key(alerts[closing.alert_id])] = closing

    def __call__(self, minute: int, book: Book) -> People:
        """See ``replay.Said``."""
        if not self._acknowledged and not self._closed:
            return People(self._standing(minute))
        acknowledged: dict[int, Acknowledgement] = {}
        closed: dict[int, Closing] = {}
        for number, alert in book.followed().items():
            if not alert.open:
                continue
            newest = [words for words in self._acknowledged.get(_key(alert), ()) if words.minute <= minute][-1:]
            acknowledged.update((number, words) for words in newest if words.owner)
            closing = self._closed.get(_key(alert))
            if closing is not None and closing.minute <= minute:
                closed[number] = closing
        return People(self._standing(minute), acknowledged, closed)

    def _standing(self, minute: int) -> tuple[Silence, ...]:
        return tuple(silence for silence in self._silences if silence.ends_minute > minute)


def _key(alert: Alert) -> _Key:
    return alert.rule, alert.series, alert.pending_minute
