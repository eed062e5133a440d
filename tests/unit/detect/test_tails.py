from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, nbinom

from sentiment_monitor.detect.tails import EXACT_VOLUME, at_most, count_tail, share_tail

finite = st.floats(0, 1e9, allow_nan=False)


@pytest.mark.parametrize("mean", [0.01, 0.8, 30.0])
@pytest.mark.parametrize("fano", [1.01, 2.0, 9.0])
def test_count_tail_is_the_negative_binomial(mean: float, fano: float) -> None:
    observed = np.array([1.0, 2, 5, 20, 80])
    known = nbinom.sf(observed - 1, mean / (fano - 1), 1 / fano)
    got = count_tail(observed, np.full(5, mean), np.full(5, mean * fano))
    assert got == pytest.approx(known, rel=1e-6, abs=1e-290)


@pytest.mark.parametrize(("volume", "rel"), [(1, 1e-9), (18, 1e-9), (EXACT_VOLUME, 1e-7), (EXACT_VOLUME + 1, 0.05)])
@pytest.mark.parametrize("precision", [3.0, 30.0])
def test_share_tail_is_the_beta_binomial(volume: int, rel: float, precision: float) -> None:
    observed = np.unique(np.linspace(0, volume, 9).round())
    known = betabinom.sf(observed - 1, volume, 0.25 * precision, 0.75 * precision)
    size = len(observed)
    got = share_tail(observed, np.full(size, float(volume)), np.full(size, 0.25), np.full(size, precision))
    told = known > 1e-4 if volume > EXACT_VOLUME else known > 0
    assert got[told] == pytest.approx(known[told], rel=rel)


@given(finite, finite, finite, finite, st.floats(0, 1), finite)
def test_tails_are_probabilities_whatever_comes_in(
    observed: float, volume: float, mean: float, variance: float, share: float, precision: float
) -> None:
    one = [np.array([x]) for x in (observed, volume, mean, variance)]
    p = np.clip(np.array([share]), 1e-6, 1 - 1e-6)
    results = (
        count_tail(one[0], one[2], one[3]),
        share_tail(one[0], one[1], p, np.maximum(np.array([precision]), 1e-3)),
        at_most(one[0], one[1], p),
    )
    for result in results:
        assert np.isfinite(result).all()
        assert ((result >= 0) & (result <= 1)).all()


@given(st.integers(0, 40), st.integers(1, 60), st.floats(0.01, 0.9), st.floats(0.5, 100))
def test_more_negatives_are_never_less_surprising(k: int, extra: int, share: float, precision: float) -> None:
    volume = np.full(2, float(k + extra))
    observed = np.array([k, k + 1.0])
    tail = share_tail(observed, volume, np.full(2, share), np.full(2, precision))
    assert tail[1] <= tail[0] * (1 + 1e-9) + 1e-12
    tail = count_tail(observed, np.full(2, share * 10), np.full(2, share * 10 * (1 + precision)))
    assert tail[1] <= tail[0] * (1 + 1e-9)
