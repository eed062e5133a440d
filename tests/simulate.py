"""Shared by the detection tests: values with every field filled in, and simulated pasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.detect.baseline import Baseline, Floats, History, fit
from sentiment_monitor.detect.detectors import detector_of
from sentiment_monitor.detect.detectors.contract import Reason, Window
from sentiment_monitor.detect.gates import Tellers, evaluate, screen
from sentiment_monitor.detect.rules import DEFAULT_RULES, CountRule, Rule
from sentiment_monitor.domain.alerts import Evaluation

HOURS = CountRule(name="hours", warmup_minutes=0, min_ratio=1, min_negative=1, min_sources=1)
COUNT_RULES = [rule for rule in DEFAULT_RULES if isinstance(rule, CountRule)]
DAY = CountRule(
    name="company-day",
    window_minutes=1440,
    alpha=0.005,
    critical_negative=10,
    warmup_minutes=4320,
    max_staleness_minutes=360,
    keep_firing_minutes=360,
)
MOOD = next(rule for rule in COUNT_RULES if rule.basis == "share")


def window(
    names: Sequence[str],
    negative: Sequence[float] | Floats,
    volume: Sequence[float] | Floats,
    *,
    family: int = 0,
    feed: float = 1000.0,
    exposure: float = 1.0,
) -> Window:
    return Window(
        names=tuple(names),
        negative=np.asarray(negative, np.float64),
        volume=np.asarray(volume, np.float64),
        family=family or len(names),
        feed_volume=feed,
        exposure=exposure,
    )


def evaluations(
    rule: Rule, usual: Mapping[str, Baseline], window: Window, *, sources: int = 3, feed_sources: int = 9
) -> list[Evaluation]:
    """What a tick makes of a window whose series are each told by so many sources."""
    screening = screen(rule, detector_of(rule).measure(rule, usual, window), window)
    tellers = Tellers(dict.fromkeys(window.names, sources), dict.fromkeys(window.names, 0), feed_sources)
    return evaluate(rule, screening, tellers)


def evaluation(
    *, beyond: bool = True, holds: bool = True, newest: int = 1000, reason: Reason = Reason.SPIKE_BURST
) -> Evaluation:
    return Evaluation(
        series="ticker:ACME",
        rule="hours",
        observed=14,
        volume=20,
        sources=3,
        newest_minute=newest,
        expected=0.93,
        expected_share=0.22,
        p_value=2e-9,
        q_value=3e-8,
        effect=15.05,
        beyond=beyond,
        holds=holds,
        reason=reason,
        statistics={"p_count": 2e-9, "p_share": 1e-4, "p_burst": 1e-9, "dispersion": 1.5},
    )


def clumpy(
    rng: np.random.Generator,
    mean: float | Floats,
    fano: float,
    share: float,
    correlation: float,
    shape: tuple[int, ...],
) -> tuple[Floats, Floats]:
    """Negatives and stories: negative binomial volumes, of which a beta-binomial part is negative."""
    size = mean / (fano - 1)
    volume = rng.negative_binomial(size, 1 / fano, shape).astype(np.float64)
    precision = 1 / correlation - 1
    mood = rng.beta(share * precision, (1 - share) * precision, shape)
    return rng.binomial(volume.astype(np.int64), mood).astype(np.float64), volume


def names(count: int, dimension: str = "ticker") -> tuple[str, ...]:
    return tuple(f"{dimension}:{i}" for i in range(count))


def baseline(negative: NDArray[np.float64], volume: NDArray[np.float64], dimension: str = "ticker") -> Baseline:
    return fit(History.dense(names(len(negative), dimension), negative, volume))
