"""Who is told of which alerts: Alertmanager's routing tree, and what each receiver wants of it.

A rule that names receivers goes to these; every other alert goes down the tree. In the tree an alert enters at the
root, goes down into the first child whose matchers all fit (and, where that says ``continue``, into the next that
fits), and stops where no child fits: that route's receiver is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from fnmatch import fnmatchcase

from sentiment_monitor.dispatch.inhibit import InhibitRule, Watch
from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Alert, Telling
from sentiment_monitor.domain.intervals import TimeInterval, any_holds
from sentiment_monitor.domain.matchers import Matcher, all_fit
from sentiment_monitor.times import DAY_MINUTES

ALL_LABELS = "..."  # in ``group_by``: every alert is a group of its own

Intervals = Mapping[str, tuple[TimeInterval, ...]]
"""By the name that the settings give them: when one of them holds, the name does."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """What follows when nobody acknowledges an alert."""

    after_minutes: int  # since the first receiver heard of it
    receiver: str


@dataclass(frozen=True, slots=True)
class Timetable:
    """When there may be messages: at no minute of ``muted``, and only at those of ``active`` where there are such."""

    muted: Intervals = field(default_factory=dict)
    active: Intervals = field(default_factory=dict)

    def closed_by(self, minute: int) -> str | None:
        """What forbids a message at this minute, in words; None when nothing does."""
        for name, intervals in self.muted.items():
            if any_holds(intervals, minute):
                return f"{name} lasts"
        if self.active and not any(any_holds(intervals, minute) for intervals in self.active.values()):
            return f"outside {', '.join(self.active)}"
        return None


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a receiver, and the rhythm of its messages."""

    receiver: str
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False  # Alertmanager's "continue": the routes after this one are tried too
    children: tuple[Route, ...] = ()
    group_by: tuple[str, ...] = ("series",)
    group_wait_minutes: int = 0  # from an alert's firing to the first message of its group
    group_interval_minutes: int = 5  # between messages of one group
    repeat_minutes: int = DAY_MINUTES  # to the first repetition; 0: never
    repeat_backoff: float = 2.0  # each repetition comes so many times later than the one before
    repeat_most_minutes: int = 7 * DAY_MINUTES  # and no later than this
    timetable: Timetable = Timetable()
    escalate: tuple[Escalation, ...] = ()

    def ways(self, labels: Mapping[str, str]) -> Iterator[Route]:
        """The routes on which an alert with these labels ends, in the order of the tree; this one's matchers fit."""
        gone_down = False
        for child in self.children:
            if all_fit(child.matchers, labels):
                gone_down = True
                yield from child.ways(labels)
                if not child.goes_on:
                    break
        if not gone_down:
            yield self

    def with_children(self, children: tuple[Route, ...]) -> Route:
        """The same route with others below it."""
        return replace(self, children=children)

    def pause(self, repetitions: int) -> int | None:
        """Minutes from a message to the repetition of it, after so many repetitions; None: there is none."""
        if not self.repeat_minutes:
            return None
        most = max(self.repeat_minutes, self.repeat_most_minutes)
        return min(most, round(self.repeat_minutes * self.repeat_backoff ** min(repetitions, 64)))

    def group_of(self, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """The labels, and their values, by which an alert belongs to a group."""
        names = sorted(labels) if ALL_LABELS in self.group_by else self.group_by
        return tuple((name, labels[name]) for name in names if name in labels)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a receiver wants to hear of, whichever route leads to it, and when."""

    series: tuple[str, ...] = ()  # globs; none: every series
    severities: tuple[str, ...] = ()  # none: every severity
    timetable: Timetable = Timetable()
    always: tuple[str, ...] = ("critical",)  # severities that its timetable does not hold back
    digest_minutes: int = 0  # what is not grave is gathered for so long; 0: told at once
    digest_severities: tuple[str, ...] = ("info", "warning")
    most_a_day: int = 0  # first messages in 24 hours; after these only critical alerts; 0: no bound
    briefings: tuple[int, ...] = ()  # minutes of the day, by the clocks of ``zone``
    zone: tzinfo = UTC

    def include(self, alert: Alert) -> bool:
        """Whether the receiver wants to hear of this alert at all."""
        if self.severities and alert.severity not in self.severities:
            return False
        return self.watch(alert.series)

    def watch(self, series: str) -> bool:
        """Whether the receiver wants to hear of this series."""
        return not self.series or any(fnmatchcase(series, glob) for glob in self.series)

    def gathers(self, alert: Alert) -> bool:
        """Whether news of this alert is told with the next digest."""
        return self.digest_minutes > 0 and alert.severity in self.digest_severities


EVERYTHING = Wishes()


@dataclass(frozen=True, slots=True)
class Routes:
    """What the settings say of telling. Frozen: other settings make other routes."""

    tellings: Mapping[str, Telling]  # by rule: those that name their receivers
    notifiers: Mapping[str, tuple[str, ...]]  # names, by receiver
    root: Route | None = None  # for all other rules; None: nobody is told of them
    wishes: Mapping[str, Wishes] = field(default_factory=dict)  # by receiver; without: everything
    watches: Mapping[str, Watch] = field(default_factory=dict)  # by rule, of all that there are
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by company's series: groups it belongs to
    inhibit_rules: tuple[InhibitRule, ...] = ()

    def ways(self, alert: Alert) -> tuple[Route, ...]:
        """The routes of an alert, at most one to each receiver; none of a rule that is gone."""
        telling = self.tellings.get(alert.rule)
        if telling is not None:
            return tuple(
                Route(receiver, repeat_minutes=telling.repeat_minutes) for receiver in dict.fromkeys(telling.receivers)
            )
        if self.root is None or (self.watches and alert.rule not in self.watches):
            return ()
        ways: dict[str, Route] = {}
        for way in self.root.ways(self.labels(alert)):
            ways.setdefault(way.receiver, way)
        return tuple(ways.values())

    def wishes_of(self, receiver: str) -> Wishes:
        """What a receiver wants to hear of."""
        return self.wishes.get(receiver, EVERYTHING)

    def labels(self, alert: Alert) -> dict[str, str]:
        """What matchers compare: the labels that receivers get."""
        return payload.labels(alert.rule, alert.series, alert.severity)
