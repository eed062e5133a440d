"""What counts as a spike: a rule's common part, one detector's own part, and the rules of a fresh installation.

A rule says nothing about how to compute (the detector of its kind does that) nor about who is told. Every field has
one default, one constraint and one description, here; docs/configuration.md is made of them.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from sentiment_monitor.domain.series import dimension_of
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES

Basis = Literal["count", "share"]
Dimension = Literal["all", "topic", "ticker", "source"]
Severity = Literal["info", "warning", "critical"]

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Rule:
    """One question asked of many series at every tick: the part that every detector shares.

    Building one with a value that cannot work raises ``pydantic.ValidationError``, which names the field.
    """

    name: Annotated[str, Field(pattern=r"^[^ \t\n/:]+$", description="Unique; with the series it identifies an alert.")]
    dimensions: Annotated[tuple[Dimension, ...], Field(description="Which kinds of series, at least one.")] = (
        "ticker",
    )
    series: Annotated[
        tuple[str, ...],
        Field(description="Shell-style globs on the whole series name; empty: every series."),
    ] = ()
    window_minutes: Annotated[
        int, Field(ge=1, le=7 * DAY_MINUTES, description="How much of the newest news is looked at.")
    ] = HOUR_MINUTES
    baseline_days: Annotated[
        int, Field(ge=1, le=366, description="How far back the past reaches that says what is usual.")
    ] = 28
    warmup_minutes: Annotated[int, Field(ge=0, description="Live baseline needed before the rule says anything.")] = (
        DAY_MINUTES
    )
    min_negative: Annotated[float, Field(ge=1, description="Negative stories in the window, copies collapsed.")] = 3
    min_sources: Annotated[
        int,
        Field(
            ge=1,
            description="Distinct sources of the stories in the window, for as many negatives as min_negative; for"
            " each negative more one source less. Where the whole feed has fewer, those are enough.",
        ),
    ] = 3
    min_share: Annotated[
        float, Field(ge=0, le=1, description="Negative part of the stories in the window, at least.")
    ] = 0.2
    for_minutes: Annotated[int, Field(ge=0, description="Beyond for this long before it fires.")] = 0
    keep_firing_minutes: Annotated[int, Field(ge=0, description="Quiet for this long before it resolves.")] = (
        2 * HOUR_MINUTES
    )
    max_staleness_minutes: Annotated[int, Field(ge=1, description="Older news never pages.")] = 2 * HOUR_MINUTES
    severity: Annotated[Severity, Field(description="Of the alert, until it becomes critical.")] = "warning"
    critical_negative: Annotated[
        float,
        Field(ge=0, description="So many negatives beyond the rule make the alert critical; 0: it stays as it is."),
    ] = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Rule:
        if not self.dimensions:
            raise ValueError("dimensions must name at least one")
        past = self.baseline_days * DAY_MINUTES
        if past < 3 * self.window_minutes:
            raise ValueError(f"baseline_days must cover at least three windows, not {self.baseline_days}")
        if self.warmup_minutes > past:
            raise ValueError(f"warmup_minutes must not be longer than the baseline, not {self.warmup_minutes}")
        return self

    def matches(self, series: str) -> bool:
        """Whether the rule watches this series."""
        if dimension_of(series) not in self.dimensions:
            return False
        return not self.series or any(fnmatchcase(series, glob) for glob in self.series)

    @property
    def needs_news(self) -> bool:
        """Whether only a series with news can fire, and floors and sources are asked for."""
        return True

    @property
    def spans(self) -> tuple[int, ...]:
        """What is looked at, in windows that end now; ascending."""
        return (1,)

    @property
    def span_minutes(self) -> int:
        """How far back it looks at news."""
        return self.window_minutes * self.spans[-1]

    @property
    def bins(self) -> int:
        """Whole windows in the baseline."""
        return self.baseline_days * DAY_MINUTES // self.window_minutes


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TailRule(Rule):
    """What the detectors share that ask how likely so many negatives are."""

    alpha: Annotated[
        float, Field(gt=0, lt=0.5, description="Fires at this false discovery rate among the series of one tick.")
    ] = 0.01
    resolve_alpha: Annotated[
        float, Field(le=0.5, description="Holds while the unadjusted p-value stays at or under this; alpha or more.")
    ] = 0.1
    min_ratio: Annotated[
        float,
        Field(ge=1, description="Observed over expected: of negatives (count) or of the negative share (share)."),
    ] = 3.0
    surge: Annotated[
        float,
        Field(
            ge=1,
            description="An ordinary busy day may multiply a company's stories by this; more needs no worse mood.",
        ),
    ] = 3.0

    @model_validator(mode="after")
    def _resolves_later_than_it_fires(self) -> TailRule:
        if self.resolve_alpha < self.alpha:
            raise ValueError(f"resolve_alpha must be at least alpha ({self.alpha:g}), not {self.resolve_alpha:g}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CountRule(TailRule):
    """A rule for the count-aware detector, see ``detectors.count``."""

    basis: Annotated[
        Basis,
        Field(description="count: more negatives than expected; share: a larger part of the stories is negative."),
    ] = "count"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CusumRule(TailRule):
    """A rule for the detector that remembers the last windows, see ``detectors.cusum``."""

    memory_windows: Annotated[
        int, Field(ge=2, le=32, description="A crisis may have begun so many windows ago; kind cusum.")
    ] = 4

    @model_validator(mode="after")
    def _remembers_less_than_the_past(self) -> CusumRule:
        remembers = getattr(self, "kind", "cusum") == "cusum"  # an entry of the settings has the fields of every kind
        if remembers and self.baseline_days * DAY_MINUTES < 3 * self.window_minutes * self.memory_windows:
            raise ValueError(
                f"baseline_days must cover at least three times the windows that it remembers, not {self.baseline_days}"
            )
        return self

    @property
    def spans(self) -> tuple[int, ...]:
        """1, 2, 4 … windows, and as many as it remembers."""
        doubles = (2**power for power in range(self.memory_windows.bit_length()))
        return (*(span for span in doubles if span < self.memory_windows), self.memory_windows)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SilenceRule(Rule):
    """A rule for the detector of silence, see ``detectors.silence``."""

    max_chance: Annotated[
        float, Field(gt=0, lt=0.5, description="Fires when so little news is no likelier than this; kind silence.")
    ] = 0.0001

    @property
    def needs_news(self) -> bool:
        """Nothing is what it looks for."""
        return False


# Chosen on the first half of five months of real headlines, confirmed on the second: docs/detection.md.
DEFAULT_RULES: tuple[Rule, ...] = (
    CountRule(
        name="company-hour",
        dimensions=("ticker",),
        window_minutes=HOUR_MINUTES,
        alpha=0.001,
        severity="critical",
    ),
    CusumRule(
        name="company-day",
        dimensions=("ticker",),
        window_minutes=DAY_MINUTES,
        memory_windows=2,
        alpha=0.02,
        critical_negative=10,
        max_staleness_minutes=6 * HOUR_MINUTES,
        keep_firing_minutes=6 * HOUR_MINUTES,
        warmup_minutes=3 * DAY_MINUTES,
    ),
    CountRule(
        name="market-mood",
        basis="share",
        dimensions=("all", "topic", "source"),
        window_minutes=12 * HOUR_MINUTES,
        alpha=0.01,
        min_negative=20,
        min_ratio=1.25,
        max_staleness_minutes=6 * HOUR_MINUTES,
        keep_firing_minutes=6 * HOUR_MINUTES,
        warmup_minutes=3 * DAY_MINUTES,
    ),
)
