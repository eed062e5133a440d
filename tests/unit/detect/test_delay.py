"""The count-aware detector against the two rules people write first, at equal false alarms on the same quiet weeks."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment_monitor.detect.baseline import Floats
from sentiment_monitor.detect.rules import CountRule
from simulate import baseline, clumpy, evaluations, names, window

SERIES, PAST, QUIET, BURST = 60, 28, 300, 12
RULE = CountRule(name="delay", window_minutes=1440, warmup_minutes=0, min_negative=1, min_sources=1, min_ratio=1)


def scores(past: tuple[Floats, Floats], now: tuple[Floats, Floats]) -> dict[str, Floats]:
    """Three statistics (series, windows), larger is worse; ties are left to the threshold."""
    usual = {"ticker": baseline(*past)}
    mean, spread = past[0].mean(axis=1), past[0].std(axis=1)
    ours = np.zeros(now[0].shape)
    for k in range(now[0].shape[1]):
        results = evaluations(RULE, usual, window(names(len(mean)), now[0][:, k], now[1][:, k]))
        ours[:, k] = [-np.log(r.p_value or np.nan) for r in results]
    return {
        "ours": ours,
        "sigma": (now[0] - mean[:, None]) / np.maximum(spread, 0.1)[:, None],
        "ratio": now[0] / np.maximum(mean, 0.1)[:, None],
    }


@pytest.fixture(scope="module")
def outcome() -> dict[str, tuple[float, float]]:
    """Per rule, mean over five worlds: part of the crises found, and windows until found (all of them: never)."""
    worlds = [_world(np.random.default_rng(seed)) for seed in range(5)]
    return {
        name: (
            float(np.mean([world[name] < BURST for world in worlds])),
            float(np.mean([world[name] for world in worlds])),
        )
        for name in worlds[0]
    }


def _world(rng: np.random.Generator) -> dict[str, Floats]:
    # A few giants, many rarely in the news; busy days at the usual mood happen to everybody.
    means = np.concatenate([np.full(6, 10.0), np.full(24, 1.0), np.full(30, 0.15)])
    past = _draw(rng, means, _busy(rng, PAST), 0.25)
    quiet = _draw(rng, means, _busy(rng, QUIET), 0.25)
    # A crisis builds up over twelve windows: ever more stories, half of them called negative.
    growth = np.linspace(0.5, 12, BURST)
    grown = _draw(rng, np.ones(SERIES), growth[None, :] * (2 + means[:, None]) / 2, 0.5)
    calm, crisis = scores(past, quiet), scores(past, grown)
    delays = {}
    for name in calm:
        hit = crisis[name] > np.quantile(calm[name], 0.999)  # equal false alarms: one in a thousand windows
        delays[name] = np.where(hit.any(axis=1), hit.argmax(axis=1), BURST).astype(np.float64)
    return delays


def _busy(rng: np.random.Generator, windows: int) -> Floats:
    return np.where(rng.random((SERIES, windows)) < 0.04, 3.0, 1.0)


def _draw(rng: np.random.Generator, means: Floats, factor: Floats, share: float) -> tuple[Floats, Floats]:
    return clumpy(rng, means[:, None] * factor, 1.8, share, 0.08, factor.shape)


@pytest.mark.parametrize(("other", "margin"), [("sigma", 0.5), ("ratio", 0.2)])
def test_a_crisis_is_found_earlier_than_by_the_plain_rule(
    outcome: dict[str, tuple[float, float]], other: str, margin: float
) -> None:
    assert outcome["ours"][0] >= outcome[other][0] + 0.05
    assert outcome["ours"][1] <= outcome[other][1] - margin
