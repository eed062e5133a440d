"""Rules that fit a feed: how strict they must be to raise so many alerts a week, found by replaying its history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sentiment_monitor.detect.rules import Rule, TailRule

MOST_ALPHA, LEAST_ALPHA = 0.3, 1e-7
_STEPS = 6  # halvings of the span of alphas, on a logarithmic scale: to a factor of about 1.3
_FLOORS = (0, 1, 2, 4)  # added to min_negative, should strictness alone not do


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of rules that was tried."""

    factor: float  # by which every alpha was multiplied
    floor: int  # that was added to every min_negative
    alerts_a_week: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The least strict rules tried that raise no more than was wanted, and how they were arrived at."""

    rules: tuple[Rule, ...]
    alerts_a_week: float
    trials: tuple[Trial, ...]
    met: bool  # whether any set raised so few; else ``rules`` is the strictest


def suggest(rules: Sequence[Rule], wanted: float, alerts_a_week: Callable[[Sequence[Rule]], float]) -> Suggestion:
    """Looks for the factor on the alphas, and only then for higher floors, that give ``wanted`` alerts a week.

    Stricter rules are taken to raise fewer alerts; where a history knows better, the trial with the most alerts that
    are not too many wins.
    """
    trials: list[Trial] = []

    def attempt(factor: float, floor: int) -> float:
        trial = Trial(factor, floor, alerts_a_week(stricter(rules, factor, floor)))
        trials.append(trial)
        return trial.alerts_a_week

    highest = max((rule.alpha for rule in rules if isinstance(rule, TailRule)), default=MOST_ALPHA)
    for floor in _FLOORS:
        low, high = LEAST_ALPHA / highest, MOST_ALPHA / highest
        if attempt(1.0, floor) <= wanted:
            low = 1.0
        else:
            high = 1.0
        for _ in range(_STEPS):
            middle = (low * high) ** 0.5
            if attempt(middle, floor) <= wanted:
                low = middle
            else:
                high = middle
        if any(trial.alerts_a_week <= wanted for trial in trials):
            break
    fitting = [trial for trial in trials if trial.alerts_a_week <= wanted]
    best = (
        max(fitting, key=lambda trial: (trial.alerts_a_week, -trial.floor, -abs(trial.factor - 1.0)))
        if fitting
        else min(trials, key=lambda trial: trial.alerts_a_week)
    )
    return Suggestion(stricter(rules, best.factor, best.floor), best.alerts_a_week, tuple(trials), bool(fitting))


def stricter(rules: Sequence[Rule], factor: float, floor: int) -> tuple[Rule, ...]:
    """The rules with every alpha times ``factor``, to two figures, and ``floor`` negatives more asked for."""

    def altered(rule: Rule) -> Rule:
        if not isinstance(rule, TailRule):  # it has no alpha
            return replace(rule, min_negative=rule.min_negative + floor)
        alpha = float(f"{min(max(rule.alpha * factor, LEAST_ALPHA), MOST_ALPHA):.2g}")
        return replace(
            rule, alpha=alpha, resolve_alpha=max(rule.resolve_alpha, alpha), min_negative=rule.min_negative + floor
        )

    return tuple(map(altered, rules))
