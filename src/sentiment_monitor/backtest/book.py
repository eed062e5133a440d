"""The throw-away book of a backtest: the alerts it raises and whom it would have told, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sentiment_monitor.domain.alerts import Alert, Event, Notification
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.watch.turn import Situation


@dataclass(slots=True)
class Raised:
    """One alert with all that happened to it, oldest first."""

    alert: Alert
    events: list[Event] = field(default_factory=list)
    notifications: list[tuple[int, Notification]] = field(default_factory=list)  # with the minute of each


class Book:
    """What ``store.alerts`` keeps for the tick loop, as far as a backtest needs it."""

    def __init__(self) -> None:
        self.entries: dict[int, Raised] = {}
        self._followed: dict[int, Alert] = {}
        self._told: dict[int, dict[str, int]] = {}

    def situation(self) -> Situation:
        """The alerts that must be looked at, and who has been told of them."""
        return Situation(
            tuple(self._followed.values()), {number: self._told.get(number, {}) for number in self._followed}
        )

    def followed(self) -> Mapping[int, Alert]:
        """The alerts that must be looked at, by number."""
        return self._followed

    def fired_since(self, minute: int) -> Sequence[Alert]:
        """Alerts that fired and were not resolved before ``minute``."""
        return [
            entry.alert
            for entry in self.entries.values()
            if entry.alert.fired_minute is not None
            and (entry.alert.resolved_minute is None or entry.alert.resolved_minute >= minute)
        ]

    def fired(self) -> Sequence[Raised]:
        """Every alert that ever fired, in the order in which they began."""
        return [raised for raised in self.entries.values() if raised.alert.fired_minute is not None]

    def newest_events(self, alert_ids: Collection[int]) -> Mapping[int, Event]:
        """The newest event of each alert that has one."""
        return {number: self.entries[number].events[-1] for number in alert_ids if self.entries[number].events}

    def apply(self, minute: int, changes: Sequence[Change]) -> None:
        """Writes down one minute."""
        for change in changes:
            number = self._begun(change.alert) if change.alert.id is None else change.alert.id
            alert = replace(change.alert, id=number, decided_minute=minute)
            entry = self.entries.setdefault(number, Raised(alert))
            entry.alert = alert
            if change.event is not None:
                entry.events.append(change.event)
            for notification in change.notifications:
                entry.notifications.append((minute, notification))
                self._told.setdefault(number, {})[notification.receiver] = minute
            if alert.followed:
                self._followed[number] = alert
            else:
                self._followed.pop(number, None)

    def _begun(self, alert: Alert) -> int:
        """The number of a new alert. It is worse than what somebody ended of its series, or comes after it."""
        for number, older in list(self._followed.items()):
            if older.lingering and (older.rule, older.series) == (alert.rule, alert.series):
                self.entries[number].alert = replace(older, closed_negatives=None)
                del self._followed[number]
        return len(self.entries) + 1
