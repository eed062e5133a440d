"""What counts as a spike: the frozen rule and the rules a fresh installation starts with.

A rule says nothing about how to compute: ``count.evaluate`` does that, and ``states.step`` decides when a spike
becomes an alert. Settings build rules from TOML; every field has one default, here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from sentiment_monitor.domain.series import dimension_of
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES

Basis = Literal["count", "share"]

DIMENSIONS = ("all", "topic", "ticker", "source")
SEVERITIES = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One question asked of many series at every tick.

    Raises ``SettingsError`` when built with a value that cannot work; the message names the rule and the field.
    """

    name: str  # unique; with the series it identifies an alert
    kind: Literal["count"] = "count"  # the detector
    basis: Basis = "count"  # count: more negatives than expected; share: a larger part of the stories is negative
    dimensions: tuple[str, ...] = ("ticker",)  # which kinds of series: all, topic, ticker, source
    series: tuple[str, ...] = ()  # shell-style globs on the whole series name; empty: every series
    window_minutes: int = HOUR_MINUTES  # how much of the newest news is looked at
    baseline_days: int = 28  # how far back the past reaches that says what is usual
    warmup_minutes: int = DAY_MINUTES  # live baseline needed before the rule says anything
    alpha: float = 0.01  # fires at this false discovery rate among the series of one tick
    resolve_alpha: float = 0.1  # holds while the unadjusted p-value stays at or under this
    min_negative: float = 4  # negative stories in the window, copies collapsed
    min_sources: int = 2  # distinct sources of the stories in the window; waived from five negatives on, see count
    min_ratio: float = 3.0  # observed over expected: of negatives (count) or of the negative share (share)
    surge: float = 3.0  # an ordinary busy day may multiply a company's stories by this; more needs no worse mood
    for_minutes: int = 0  # beyond for this long before it fires
    keep_firing_minutes: int = 2 * HOUR_MINUTES  # quiet for this long before it resolves
    max_staleness_minutes: int = 2 * HOUR_MINUTES  # older news never pages
    repeat_minutes: int = DAY_MINUTES  # a firing alert is told again after this; 0: never
    severity: str = "warning"  # info, warning or critical; a label of the alert, it decides nothing here
    receivers: tuple[str, ...] = ("default",)  # names of the receivers that are told

    def __post_init__(self) -> None:
        checks = (
            (
                bool(self.name) and not set(self.name) & set(" \t\n/:"),
                "name",
                "must not be empty nor hold space, / or :",
            ),
            (self.kind == "count", "kind", "must be count"),
            (self.basis in ("count", "share"), "basis", "must be count or share"),
            (bool(self.dimensions), "dimensions", "must name at least one"),
            (set(self.dimensions) <= set(DIMENSIONS), "dimensions", f"must be among {', '.join(DIMENSIONS)}"),
            (1 <= self.window_minutes <= 7 * DAY_MINUTES, "window_minutes", "must lie between 1 and 10080"),
            (1 <= self.baseline_days <= 366, "baseline_days", "must lie between 1 and 366"),
            (
                self.baseline_days * DAY_MINUTES >= 3 * self.window_minutes,
                "baseline_days",
                "must cover at least three windows",
            ),
            (self.warmup_minutes >= 0, "warmup_minutes", "must not be negative"),
            (
                self.warmup_minutes <= self.baseline_days * DAY_MINUTES,
                "warmup_minutes",
                "must not be longer than the baseline",
            ),
            (0 < self.alpha < 0.5, "alpha", "must lie between 0 and 0.5"),
            (self.alpha <= self.resolve_alpha <= 0.5, "resolve_alpha", "must lie between alpha and 0.5"),
            (self.min_negative >= 1, "min_negative", "must be at least 1"),
            (self.min_sources >= 1, "min_sources", "must be at least 1"),
            (self.min_ratio >= 1, "min_ratio", "must be at least 1"),
            (self.surge >= 1, "surge", "must be at least 1"),
            (self.for_minutes >= 0, "for_minutes", "must not be negative"),
            (self.keep_firing_minutes >= 0, "keep_firing_minutes", "must not be negative"),
            (self.max_staleness_minutes >= 1, "max_staleness_minutes", "must be at least 1"),
            (self.repeat_minutes >= 0, "repeat_minutes", "must not be negative"),
            (self.severity in SEVERITIES, "severity", f"must be one of {', '.join(SEVERITIES)}"),
            (bool(self.receivers), "receivers", "must name at least one"),
            (len(set(self.receivers)) == len(self.receivers), "receivers", "must not name one twice"),
        )
        for holds, field, requirement in checks:
            if not holds:
                raise SettingsError(f"rule {self.name!r}: {field} {requirement}, not {getattr(self, field)!r}")

    def matches(self, series: str) -> bool:
        """Whether the rule watches this series."""
        if dimension_of(series) not in self.dimensions:
            return False
        return not self.series or any(fnmatchcase(series, glob) for glob in self.series)

    @property
    def bins(self) -> int:
        """Whole windows in the baseline."""
        return self.baseline_days * DAY_MINUTES // self.window_minutes


def check_rules(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The same rules, or ``SettingsError`` when two share a name (an alert is found by rule and series)."""
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            raise SettingsError(f"rule {rule.name!r} is defined twice")
        seen.add(rule.name)
    return rules


# Tuned on five months of real RSS headlines with noisy labels: docs/detection.md has the figures.
DEFAULT_RULES: tuple[Rule, ...] = (
    Rule(
        name="company-hour",
        dimensions=("ticker",),
        window_minutes=HOUR_MINUTES,
        severity="critical",
    ),
    Rule(
        name="company-day",
        dimensions=("ticker",),
        window_minutes=DAY_MINUTES,
        alpha=0.03,
        max_staleness_minutes=6 * HOUR_MINUTES,
        keep_firing_minutes=6 * HOUR_MINUTES,
        warmup_minutes=3 * DAY_MINUTES,
    ),
    Rule(
        name="market-mood",
        basis="share",
        dimensions=("all", "topic", "source"),
        window_minutes=12 * HOUR_MINUTES,
        alpha=0.001,
        min_negative=20,
        min_ratio=1.25,
        max_staleness_minutes=6 * HOUR_MINUTES,
        keep_firing_minutes=6 * HOUR_MINUTES,
        warmup_minutes=3 * DAY_MINUTES,
    ),
)
