"""What changes between two sets of rules: alerts that appear, vanish or move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_monitor.backtest.account import ReplayedAlert


@dataclass(frozen=True, slots=True)
class Moved:
    """One alert that both raise, at different minutes."""

    before: ReplayedAlert
    after: ReplayedAlert


@dataclass(frozen=True, slots=True)
class Difference:
    """What the second set of rules makes of the same history."""

    appear: tuple[ReplayedAlert, ...]
    vanish: tuple[ReplayedAlert, ...]
    move: tuple[Moved, ...]
    same: int  # alerts that both raise at the same minute


def difference(before: Sequence[ReplayedAlert], after: Sequence[ReplayedAlert]) -> Difference:
    """Pairs alerts of one series that fire at the same time at least in part, those of one rule's name first."""
    unpaired = list(before)
    appear, moved, same = [], [], 0
    for alert in after:
        partners = [older for older in unpaired if older.series == alert.series and _overlap(older, alert)]
        if not partners:
            appear.append(alert)
            continue
        partner = min(partners, key=lambda older: (older.rule != alert.rule, older.fired_at != alert.fired_at))
        unpaired.remove(partner)
        if partner.fired_at == alert.fired_at:
            same += 1
        else:
            moved.append(Moved(partner, alert))
    return Difference(tuple(appear), tuple(unpaired), tuple(moved), same)


def _overlap(one_alert: ReplayedAlert, another: ReplayedAlert) -> bool:
    return _ends(one_alert) >= another.fired_at and _ends(another) >= one_alert.fired_at


def _ends(alert: ReplayedAlert) -> str:
    return alert.resolved_at or "9999"
