"""Shared by the detection tests: values with every field filled in, and simulated pasts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.detect.baseline import Baseline, Floats, History, fit
from sentiment_monitor.detect.detectors.count import Evaluation, Reason, Window
from sentiment_monitor.detect.rules import Rule

HOURS = Rule(name="hours", warmup_minutes=0, min_ratio=1, min_negative=1, min_sources=1)


def window(
    names: Sequence[str],
    negative: Sequence[float] | Floats,
    volume: Sequence[float] | Floats,
    *,
    sources: int = 3,
    newest: int = 0,
    family: int = 0,
    feed: float = 1000.0,
    feed_sources: int = 9,
    exposure: float = 1.0,
) -> Window:
    return Window(
        names=tuple(names),
        negative=np.asarray(negative, np.float64),
        volume=np.asarray(volume, np.float64),
        sources=np.full(len(names), sources),
        newest_minute=np.full(len(names), newest),
        family=family or len(names),
        feed_volume=feed,
        feed_sources=feed_sources,
        exposure=exposure,
    )


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
        dispersion=1.5,
        expected_share=0.22,
        p_count=2e-9,
        p_share=1e-4,
        p_burst=1e-9,
        p_value=2e-9,
        q_value=3e-8,
        effect=15.05,
        beyond=beyond,
        holds=holds,
        reason=reason,
        sentence="",
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
