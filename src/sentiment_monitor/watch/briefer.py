"""Gives each receiver its briefings: reads what moved, what is open and what closed. Only by the wall clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sentiment_monitor.dispatch.briefing import Move, News, begins, by_gravity, compose_briefing, due
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.store.alerts import Briefing, ended_between
from sentiment_monitor.store.buckets import changes
from sentiment_monitor.store.database import Connection
from sentiment_monitor.watch.turn import Situation

_DIMENSIONS = ("all", "group", "topic", "ticker", "source")
_LOOKED_AT = 200  # series of a dimension, those with the most negatives
_MOVES = 5  # that a briefing names


class Briefer:
    """Makes the briefings that are due.

    Links begin with ``external_url``; ``names`` says what people call a ticker.
    """

    def __init__(self, routes: Routes, external_url: str, names: Mapping[str, str]) -> None:
        self._names = names
        self._routes = routes
        self._external_url = external_url
        self._briefed = {name: wishes for name, wishes in routes.wishes.items() if wishes.briefings}

    def due(self, connection: Connection, minute: int, situation: Situation) -> list[Briefing]:
        """The briefings for ``minute``, one a receiver at most."""
        briefings = []
        for receiver, wishes in self._briefed.items():
            last = situation.book.briefed.get(receiver)
            at = due(minute, wishes, last)
            if at is None or receiver not in self._routes.notifiers:
                continue
            since = begins(at, last)
            news = News(
                self._theirs(receiver, [alert for alert in situation.alerts if alert.state is State.FIRING]),
                self._theirs(receiver, ended_between(connection, since, at)),
                self._moved(connection, receiver, since, at),
            )
            notifiers = self._routes.notifiers[receiver]
            notifications = compose_briefing(receiver, notifiers, since, at, news, self._external_url, self._names)
            briefings.append(Briefing(receiver, at, notifications))
        return briefings

    def _theirs(self, receiver: str, alerts: Sequence[Alert]) -> list[Alert]:
        """Alerts that lead to the receiver and that it wants to hear of; of old news nobody does."""
        wishes = self._routes.wishes_of(receiver)
        return sorted(
            (
                alert
                for alert in alerts
                if not alert.stale
                and wishes.include(alert)
                and any(way.receiver == receiver for way in self._routes.ways(alert))
            ),
            key=by_gravity,
        )

    def _moved(self, connection: Connection, receiver: str, since: int, at: int) -> list[Move]:
        wishes = self._routes.wishes_of(receiver)
        moves = [
            Move(change.series, change.negative, change.stories, change.negative_before)
            for dimension in _DIMENSIONS
            for change in changes(connection, dimension, since, at, _LOOKED_AT)
            if change.negative > change.negative_before and wishes.watch(change.series)
        ]
        moves.sort(key=lambda move: (move.negative_before - move.negative, move.series))
        return moves[:_MOVES]
