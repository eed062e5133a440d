"""Which alert makes another needless: the market's the sector's, the sector's the company's, and each its repetition.

A receiver is spared an alert only for the sake of one that it has heard of, or hears of now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.domain.hearing import rank
from sentiment_monitor.domain.matchers import Matcher, all_fit
from sentiment_monitor.domain.series import dimension_of

ABSENCE = "silence"  # the kind of rule that says that there is no news; the others say that it is bad
MARKET = "all"
GROUP = "group"


@dataclass(frozen=True, slots=True)
class Watch:
    """What dispatch must know of a rule."""

    window_minutes: int
    kind: str  # of its detector


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """Alertmanager's: while a source fires, targets with the same values of the labels ``equal`` are not told."""

    source_matchers: tuple[Matcher, ...]
    target_matchers: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()

    def inhibits(self, source: Mapping[str, str], target: Mapping[str, str]) -> bool:
        """Whether an alert with the labels ``source`` makes one with the labels ``target`` needless."""
        if not (all_fit(self.source_matchers, source) and all_fit(self.target_matchers, target)):
            return False
        # Two alerts that are both source and target would make each other needless.
        if all_fit(self.target_matchers, source) and all_fit(self.source_matchers, target):
            return False
        return all(source.get(label, "") == target.get(label, "") for label in self.equal)


def breadth(series: str) -> int:
    """How much of the news a series is about: the market is wider than a group, and that than all others."""
    dimension = dimension_of(series)
    return 2 if dimension == MARKET else 1 if dimension == GROUP else 0


def wider(
    alert: Alert, known: Iterable[Alert], watches: Mapping[str, Watch], groups: Mapping[str, frozenset[str]]
) -> Alert | None:
    """The alert among ``known`` that says the same of something wider, over as long a window; None without one.

    The market is wider than everything, a group wider than its companies. A graver alert is never spared for one that
    is less grave, and nothing for an alert whose window is another: bad days of a market do not explain a bad hour.
    """
    watch = watches.get(alert.rule)
    if watch is None:
        return None
    for other in known:
        above = watches.get(other.rule)
        if (
            above is not None
            and above.window_minutes == watch.window_minutes
            and _says_alike(above, watch)
            and rank(alert.severity) <= rank(other.severity)
            and breadth(other.series) > breadth(alert.series)
            and (dimension_of(other.series) == MARKET or other.series in groups.get(alert.series, frozenset()))
        ):
            return other
    return None


def inhibited(
    alert: Alert,
    labels: Mapping[str, str],
    known: Iterable[tuple[Alert, Mapping[str, str]]],
    rules: Iterable[InhibitRule],
) -> Alert | None:
    """The alert among ``known`` (each with its labels) that a rule of the settings puts before this one."""
    for rule in rules:
        for other, other_labels in known:
            if rank(alert.severity) <= rank(other.severity) and rule.inhibits(other_labels, labels):
                return other
    return None


def repeated_by(alert: Alert, other: Alert, watches: Mapping[str, Watch]) -> bool:
    """Whether two alerts say the same of one series under two rules, such as the hour's and the day's."""
    if other.series != alert.series or other.rule == alert.rule:
        return False
    watch, above = watches.get(alert.rule), watches.get(other.rule)
    return watch is not None and above is not None and _says_alike(watch, above)


def _says_alike(first: Watch, second: Watch) -> bool:
    return (first.kind == ABSENCE) == (second.kind == ABSENCE)
