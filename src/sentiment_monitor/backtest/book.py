"""The throw-away book of a backtest: the alerts it raises and whom it would have told, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sentiment_monitor.domain.alert_states import Kind, State, Why
from sentiment_monitor.domain.alerts import Alert, Event, Notification
from sentiment_monitor.domain.hearing import Heard, Held, Ledger, Mention, heard_of
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.times import DAY_MINUTES
from sentiment_monitor.watch.turn import Situation

_BY_HAND = (Why.CLOSED, Why.DISMISSED)


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
        self._ended: dict[int, Alert] = {}  # over by themselves, within a day: a spike may reopen them
        self._unheard: dict[int, Alert] = {}  # over, while somebody who knows of them has not heard it
        self._heard: dict[int, dict[str, Heard]] = {}
        self._held: dict[int, dict[str, Held]] = {}
        self._spent: dict[str, tuple[int, ...]] = {}

    def situation(self) -> Situation:
        """The alerts that must be looked at, and who has heard what of them."""
        numbers = dict.fromkeys((*self._followed, *self._unheard, *self._ended))
        return Situation(
            tuple(self._followed.values()),
            tuple(self._unheard.values()),
            tuple(self._ended.values()),
            Ledger(
                {number: self._heard[number] for number in numbers if number in self._heard},
                self._spent,
                {number: self._held[number] for number in numbers if number in self._held},
            ),
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
        """Every alert that ever fired of new stories, in the order in which they began: those that page."""
        return [
            raised
            for raised in self.entries.values()
            if raised.alert.fired_minute is not None and not raised.alert.stale
        ]

    def newest_events(self, alert_ids: Collection[int]) -> Mapping[int, Event]:
        """The newest event of each alert that has one."""
        return {number: self.entries[number].events[-1] for number in alert_ids if self.entries[number].events}

    def apply(self, minute: int, changes: Sequence[Change]) -> None:
        """Writes down one minute."""
        numbers: dict[Alert, int] = {}
        for change in changes:
            number = self._begun(change.alert) if change.alert.id is None else change.alert.id
            numbers[change.alert] = number
            alert = replace(change.alert, id=number, decided_minute=minute)
            entry = self.entries.setdefault(number, Raised(alert))
            entry.alert = alert
            if change.event is not None:
                entry.events.append(change.event)
            entry.notifications += ((minute, notification) for notification in change.notifications)
            for receiver, held in change.held.items():
                kept = self._held.setdefault(number, {})
                if held is None:
                    kept.pop(receiver, None)
                else:
                    kept[receiver] = held
            if alert.followed:
                self._followed[number] = alert
            else:
                self._followed.pop(number, None)
            self._note_ended(number, change.event)
        for number, alert in list(self._ended.items()):
            if alert.resolved_minute is None or alert.resolved_minute < minute - DAY_MINUTES:
                del self._ended[number]
        # A message goes to each notifier of its receiver: those are one mention.
        mentions = dict.fromkeys(pair for change in changes for sent in change.notifications for pair in sent.mentions)
        heard = {self._hear(numbers.get(alert, alert.id), mention) for alert, mention in mentions}
        for number in {*numbers.values(), *heard}:
            self._note_unheard(number)

    def _hear(self, number: int | None, mention: Mention) -> int:
        if number is None:
            raise ValueError("an alert was told of that was not written down")
        before = self._heard.get(number, {})
        if mention.receiver not in before:
            lately = (
                minute for minute in self._spent.get(mention.receiver, ()) if mention.minute - minute < DAY_MINUTES
            )
            self._spent[mention.receiver] = (*lately, mention.minute)
        self._heard[number] = heard_of([mention], before)
        return number

    def _note_ended(self, number: int, event: Event | None) -> None:
        alert = self.entries[number].alert
        if alert.open:
            self._ended.pop(number, None)
        elif (
            event is not None and event.transition is Kind.RESOLVED and event.reason not in _BY_HAND and not alert.stale
        ):
            self._ended[number] = alert

    def _note_unheard(self, number: int) -> None:
        alert = self.entries[number].alert
        deaf = not all(heard.ended for heard in self._heard.get(number, {}).values())
        if deaf and alert.state is State.RESOLVED and not alert.followed:
            self._unheard[number] = alert
        else:
            self._unheard.pop(number, None)

    def _begun(self, alert: Alert) -> int:
        """The number of a new alert. It is worse than what somebody ended of its series, or comes after it."""
        for number, older in list(self._followed.items()):
            if older.lingering and (older.rule, older.series) == (alert.rule, alert.series):
                self.entries[number].alert = replace(older, closed_negatives=None)
                del self._followed[number]
        return len(self.entries) + 1
