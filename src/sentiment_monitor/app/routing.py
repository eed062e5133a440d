"""Who is told what, and when, by the settings: the routing tree and the receivers' wishes, ready to decide by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.dispatch.inhibit import InhibitRule, Watch
from sentiment_monitor.dispatch.routes import Escalation, Intervals, Route, Routes, Timetable, Wishes
from sentiment_monitor.domain.alerts import Telling
from sentiment_monitor.domain.intervals import TimeInterval, minute_of_day, zone_of
from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.settings.alerting import ReceiverSettings
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.settings.routing import RouteSettings


def routes_of(
    settings: Settings, rules: Sequence[Rule], tellings: Mapping[str, Telling], groups: Mapping[str, Sequence[str]]
) -> Routes:
    """The routes of these settings; ``groups`` are those of the watchlist, with their tickers.

    Raises SettingsError for a receiver that wants a group which the watchlist does not have.
    """
    named: dict[str, list[TimeInterval]] = {}
    for interval in settings.time_intervals:
        named.setdefault(interval.name, []).append(interval.interval)
    intervals = {name: tuple(parts) for name, parts in named.items()}
    return Routes(
        tellings=tellings,
        notifiers={
            receiver.name: tuple(notifier.name for notifier in receiver.notifiers) for receiver in settings.receivers
        },
        root=None if settings.route is None else _route(settings.route, None, intervals),
        wishes={receiver.name: _wishes(receiver, intervals, groups) for receiver in settings.receivers},
        watches={rule.name: Watch(rule.window_minutes, getattr(rule, "kind", "")) for rule in rules},
        groups=_memberships(groups),
        inhibit_rules=tuple(
            InhibitRule(_matchers(rule.source_matchers), _matchers(rule.target_matchers), tuple(rule.equal))
            for rule in settings.inhibit_rules
        ),
    )


def _route(written: RouteSettings, parent: Route | None, intervals: Intervals) -> Route:
    """A route with all below it; what it leaves unset is its parent's, and at the root the default."""
    above = parent or Route("")
    inherited = {
        name: getattr(above, name) if (value := getattr(written, name)) is None else value
        for name in (
            *("receiver", "group_wait_minutes", "group_interval_minutes"),
            *("repeat_minutes", "repeat_backoff", "repeat_most_minutes"),
        )
    }
    route = Route(
        **inherited,
        matchers=_matchers(written.matchers),
        goes_on=written.goes_on,
        group_by=above.group_by if written.group_by is None else tuple(written.group_by),
        timetable=_timetable(written.mute_time_intervals, written.active_time_intervals, intervals),
        escalate=above.escalate
        if written.escalate is None
        else tuple(Escalation(step.after_minutes, step.receiver) for step in written.escalate),
    )
    return route.with_children(tuple(_route(child, route, intervals) for child in written.routes))


def _wishes(receiver: ReceiverSettings, intervals: Intervals, groups: Mapping[str, Sequence[str]]) -> Wishes:
    wanted = [group.casefold() for group in receiver.groups]
    if unknown := [group for group in wanted if group not in groups]:
        raise SettingsError(f"receiver {receiver.name}: the watchlist has no group {', '.join(unknown)}")
    return Wishes(
        series=(
            *(_exactly("ticker", ticker.upper()) for ticker in receiver.companies),
            *(_exactly("group", group) for group in wanted),
            *(_exactly("ticker", ticker) for group in wanted for ticker in groups[group]),
            *(_exactly("topic", topic) for topic in receiver.topics),
            *(_exactly("source", source.casefold()) for source in receiver.sources),
            *receiver.series,
        ),
        severities=tuple(receiver.severities),
        timetable=_timetable(receiver.mute_time_intervals, receiver.active_time_intervals, intervals),
        always=tuple(receiver.always_severities),
        digest_minutes=receiver.digest_minutes,
        digest_severities=tuple(receiver.digest_severities),
        briefings=tuple(sorted({minute_of_day(text) for text in receiver.briefings})),
        zone=zone_of(receiver.location),
        most_a_day=receiver.most_a_day,
    )


def _exactly(dimension: str, value: str) -> str:
    """A glob for one series: what would mean something in a glob means itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in f"{dimension}:{value}")


def _timetable(muted: Iterable[str], active: Iterable[str], intervals: Intervals) -> Timetable:
    return Timetable({name: intervals[name] for name in muted}, {name: intervals[name] for name in active})


def _matchers(written: Iterable[str]) -> tuple[Matcher, ...]:
    return tuple(map(Matcher.of, written))


def _memberships(groups: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """By company's series: the series of the groups that it belongs to."""
    memberships: dict[str, set[str]] = {}
    for group, tickers in groups.items():
        for ticker in tickers:
            memberships.setdefault(f"ticker:{ticker}", set()).add(f"group:{group}")
    return {series: frozenset(belongs) for series, belongs in memberships.items()}
