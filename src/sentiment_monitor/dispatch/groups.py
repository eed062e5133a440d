"""Groups: what one receiver is to be told of alerts with the same labels is one message, in a rhythm of its own.

The rhythm is Alertmanager's: the first message waits ``group_wait`` for others to join, later ones come at least
``group_interval`` apart. It rests on the alerts and on the book alone, so that a restart changes nothing. What has
become graver, and what nobody acknowledged in time or somebody has ended, does not wait.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentiment_monitor.dispatch.cases import Case, Deliberation, HeldBack, Hold, Message, Part, Ready
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.domain.hearing import Cause, rank
from sentiment_monitor.times import clock

_URGENT = (Cause.WORSENED, Cause.ESCALATED)
_DIGEST = (("digest", ""),)  # no label has such a value: whatever is gathered for a receiver is one group

Group = tuple[str, tuple[tuple[str, str], ...]]
"""A receiver, and the labels on which the alerts agree."""


def gather(turn: Deliberation, ready: Iterable[Ready], alerts: Iterable[Alert]) -> tuple[list[Message], list[HeldBack]]:
    """Messages whose time has come, and what waits; ``alerts`` are all of the minute, as they are afterwards."""
    groups: dict[Group, list[Ready]] = {}
    for item in ready:
        groups.setdefault((item.case.receiver, _group_of(item.case)), []).append(item)
    # What is news stands in its own group's message, and what a digest gathers stands in that.
    news = {(item.case.receiver, item.case.alert) for group in groups.values() for item in group}
    firing = [alert for alert in alerts if alert.state is State.FIRING]
    messages: list[Message] = []
    waiting: list[HeldBack] = []
    for group, items in groups.items():
        companions = _companions(turn, group, (alert for alert in firing if (group[0], alert) not in news))
        if obstacle := _waits(turn, group, items, companions):
            waiting += [HeldBack(item.case.alert, item.case.receiver, *obstacle) for item in items]
        else:
            messages.append(_message(turn, group, items, companions))
    return messages, waiting


def boundary(minute: int, digest_minutes: int) -> int:
    """The newest full hour (or whatever the digest's length is) at a minute."""
    return minute - minute % digest_minutes


def _group_of(case: Case) -> tuple[tuple[str, str], ...]:
    return _DIGEST if case.wishes.gathers(case.alert) else case.way.group_of(case.labels)


def _waits(turn: Deliberation, group: Group, items: list[Ready], companions: list[Alert]) -> tuple[Hold, str] | None:
    """Why the group's message is not due, and until when; None when it is."""
    first = min(items, key=lambda item: item.case.news_minute).case
    if group[1] == _DIGEST:
        length = first.wishes.digest_minutes
        if boundary(turn.minute, length) >= first.news_minute:
            return None
        return Hold.DIGEST, f"until {clock(boundary(turn.minute, length) + length)}"
    if any(item.cause in _URGENT or item.case.by_hand for item in items):
        return None
    heard = [item.case.heard for item in items] + [turn.heard(alert, group[0]) for alert in companions]
    last = max((known.minute for known in heard if known is not None), default=None)
    if last is None or last > turn.minute:  # by a clock that was ahead
        due = first.news_minute + max(item.case.way.group_wait_minutes for item in items)
    else:
        due = last + max(item.case.way.group_interval_minutes for item in items)
    return None if turn.minute >= due else (Hold.GROUP_WAITS, f"until {clock(due)}")


def _companions(turn: Deliberation, group: Group, alerts: Iterable[Alert]) -> list[Alert]:
    """Alerts of the group that fire, that the receiver has heard of, and of which there is nothing new."""
    receiver, labels = group
    if labels == _DIGEST:
        return []
    wishes = turn.routes.wishes_of(receiver)
    return [
        alert
        for alert in alerts
        if turn.heard(alert, receiver) is not None and not wishes.gathers(alert) and _agrees(turn, labels, alert)
    ]


def _agrees(turn: Deliberation, group: tuple[tuple[str, str], ...], alert: Alert) -> bool:
    labels = turn.routes.labels(alert)
    return all(labels.get(name) == value for name, value in group)


def _message(turn: Deliberation, group: Group, items: list[Ready], companions: list[Alert]) -> Message:
    receiver, labels = group
    news = sorted(items, key=lambda item: (item.case.over, -rank(item.case.alert.severity), _age(item.case.alert)))
    return Message(
        receiver=receiver,
        notifiers=turn.routes.notifiers[receiver],
        parts=(
            *(Part(item.case.alert, item.cause) for item in news),
            *(Part(alert, Cause.NAMED) for alert in sorted(companions, key=_age)),
        ),
        group=() if labels == _DIGEST else labels,
        most_a_day=_used_up(turn, receiver, items),
    )


def _used_up(turn: Deliberation, receiver: str, items: list[Ready]) -> int:
    """The receiver's bound where this message uses up its day, else 0."""
    most = items[0].case.wishes.most_a_day
    first = sum(item.case.heard is None and not item.case.over for item in items)
    if not most or not first or not turn.spent(receiver) - first < most <= turn.spent(receiver):
        return 0
    return most


def _age(alert: Alert) -> tuple[int, str, str]:
    return (0 if alert.fired_minute is None else alert.fired_minute, alert.rule, alert.series)
