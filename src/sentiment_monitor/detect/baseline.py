"""What is usual: one dimension's history reduced to a rate, a dispersion and a share for every series.

The past arrives cut into bins as long as the rule's window, so that whatever makes news come in clumps (follow-ups,
a story that runs all day) is inside the variance that is measured. Three ideas, each old and plain:

* **Rates are shrunk.** The rate of a series is gamma distributed across its dimension; its own history updates that
  (empirical Bayes gamma-Poisson: Robbins 1956; Clayton & Kaldor, Biometrics 1987). A company never mentioned has a
  rate near zero, and an honest uncertainty about it, instead of a division by zero.
* **Counts clump.** The variance is ``fano * mean`` (NB1: Cameron & Trivedi, Regression Analysis of Count Data, 3.3),
  by moments, shrunk towards the dimension's. NB1, not NB2: a rare company's news also comes in clumps, and NB2 tends
  to Poisson as the mean tends to zero, which would call every clump a crisis.
* **Moods clump.** The negative share is beta-binomial with an intra-window correlation (Williams, Applied Statistics
  1982, moments), its mean shrunk likewise.

**Robust.** A crisis must not become the usual, whether it was paged or stayed under the bar. So the history is fitted
anew without the bins that the first fit calls unusual, as those of alerts are left out from the start. That is
Farrington's idea (JRSS A 1996), with masking in place of his down-weighting, which was measured to do less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.detect.tails import count_tail
from sentiment_monitor.domain.series import dimension_of
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WEEK_HOURS = 7 * 24
WEEK_MINUTES = WEEK_HOURS * HOUR_MINUTES
MONDAY_MINUTES = 3 * DAY_MINUTES  # 1970-01-01 was a Thursday: minute 0 lies three days into its week
EXPOSURE_MINUTES = 15  # how long a window's hour-of-week factor stays
MASK_DAYS = 7  # an alert is kept out of the baseline this long; what lasts longer is the new normal

UNUSUAL = 0.01  # a bin with a smaller tail under one fit is left out of the next
REFITS = 2  # the largest bins hide smaller ones, which the second round finds; a third finds hardly any

PRIOR_FANO, PRIOR_FANO_WEIGHT = 2.0, 10.0  # before any history: clumps of two, worth ten negative stories
OWN_FANO_WEIGHT = 20.0  # negative stories at which a series' own dispersion counts as much as its dimension's
PRIOR_CORRELATION, PRIOR_PAIRS = 0.1, 50.0  # before any history: mood of one window, worth fifty pairs of stories
OWN_PAIRS = 200.0  # pairs at which a series' own correlation counts as much as its dimension's
SERIES_WEIGHT = 10.0  # stories after which one series tells no more about how much moods differ between series
MIN_SHAPE, MAX_SHAPE = 0.1, 20.0  # of the gamma across series
MIN_PRECISION, MAX_PRECISION = 2.0, 200.0  # of the beta across series


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One dimension's past in bins as long as the window: K bins, S series, R bins that are not empty.

    ``exposure`` is what each bin should hold, in average windows: its hour-of-week factor, or 0 for a bin in which
    the feed was not watched (no data is not no negatives). A row and a ``masked`` pair name a series by its place in
    ``names`` and a bin by its place in ``exposure``. A masked bin was part of an earlier alert and counts for nothing.
    """

    names: tuple[str, ...]  # (S,) series with at least one story in the baseline
    row_series: Ints  # (R,)
    row_bin: Ints  # (R,)
    row_negative: Floats  # (R,) negative stories, or their probability mass; copies collapsed
    row_volume: Floats  # (R,) stories; copies collapsed
    exposure: Floats  # (K,)
    masked: Ints = field(default_factory=lambda: np.empty((0, 2), np.int64))  # (M, 2) series, bin

    @classmethod
    def dense(cls, names: tuple[str, ...], negative: Floats, volume: Floats, exposure: Floats | None = None) -> History:
        """From matrices (S, K) of negatives and stories."""
        series, bins = np.nonzero(volume)
        k = negative.shape[1]
        return cls(
            names=names,
            row_series=series.astype(np.int64),
            row_bin=bins.astype(np.int64),
            row_negative=np.asarray(negative[series, bins], np.float64),
            row_volume=np.asarray(volume[series, bins], np.float64),
            exposure=np.ones(k) if exposure is None else np.asarray(exposure, np.float64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What is usual for each series of one dimension, per average window. Arrays are (S + 1,).

    The last entry is the series never seen before: use ``places``.
    """

    index: Mapping[str, int]
    windows: float  # average windows of live history
    rate: Floats  # expected negatives
    rate_variance: Floats  # of that expectation, from a thin history
    fano: Floats  # variance over mean of a window's negatives
    share: Floats  # expected negative share, strictly between 0 and 1
    share_precision: Floats  # alpha + beta of the beta-binomial of one window
    own_mood: Floats  # in [0, 1): how far the expected share is the series' own rather than its dimension's
    story_rate: Floats  # expected stories
    story_fano: Floats  # variance over mean of a window's stories

    def places(self, names: Iterable[str]) -> Ints:
        """Where to find each series, (len(names),)."""
        unseen = len(self.rate) - 1
        return np.array([self.index.get(name, unseen) for name in names], np.int64)


def looked_up(
    baselines: Mapping[str, Baseline], names: Sequence[str], absent: Mapping[str, float]
) -> dict[str, Floats]:
    """What the baselines, by dimension, say of series: each field that ``absent`` names, (S,).

    Where there is no baseline it is the value that ``absent`` has for it.
    """
    columns = {name: np.full(len(names), value) for name, value in absent.items()}
    dimensions = [dimension_of(name) for name in names]
    for dimension in set(dimensions) & set(baselines):
        baseline = baselines[dimension]
        where = [i for i, own in enumerate(dimensions) if own == dimension]
        at = baseline.places(names[i] for i in where)
        for name, column in columns.items():
            value = getattr(baseline, name)
            column[where] = value[at] if isinstance(value, np.ndarray) else value
    return columns


def hour_profile(hourly: Floats, first_minute: int) -> Floats:
    """Hour-of-week factors (168,) with mean 1, Monday 00:00 UTC first, from the hourly volume of ``all``.

    ``hourly`` is (H,) whole hours, oldest first, starting at ``first_minute`` (a multiple of 60). Factors are shrunk
    to 1 by the positive-part James-Stein weight (Efron & Morris, JASA 1973): noise between weeks against difference
    between hours. Fewer than two whole weeks give 1 everywhere.
    """
    weeks = len(hourly) // WEEK_HOURS
    if weeks < 2:
        return np.ones(WEEK_HOURS)
    newest = np.asarray(hourly[len(hourly) - weeks * WEEK_HOURS :], np.float64)
    first = first_minute // HOUR_MINUTES + len(hourly) - weeks * WEEK_HOURS + MONDAY_MINUTES // HOUR_MINUTES
    cells = np.roll(newest.reshape(weeks, WEEK_HOURS), first % WEEK_HOURS, axis=1)
    means = cells.mean(axis=0)
    average = float(means.mean())
    spread = float(means.var(ddof=1))
    if average <= 0 or spread <= 0:
        return np.ones(WEEK_HOURS)
    noise = float(cells.var(axis=0, ddof=1).mean()) / weeks
    weight = max(0.0, 1.0 - noise / spread)
    return np.asarray(np.maximum(1.0 + weight * (means / average - 1.0), 0.05))


def past_end(minute: int, window_minutes: int) -> int:
    """Where the past ends that a window ending at ``minute`` is judged by: the full hour before the window begins.

    So a baseline is fitted once an hour.
    """
    return (minute - window_minutes) // HOUR_MINUTES * HOUR_MINUTES


def exposure_end(minute: int) -> int:
    """Where the window ends whose hour-of-week factor stands for that of the window ending at ``minute``.

    The factor moves slowly. So it stays for a quarter of an hour, and between stories a tick sees the same as before.
    """
    return minute // EXPOSURE_MINUTES * EXPOSURE_MINUTES


def exposures(profile: Floats, end_minute: int, window_minutes: int, bins: int) -> Floats:
    """Mean factor of each of ``bins`` windows that end at ``end_minute``, oldest first: (bins,)."""
    edges = end_minute + MONDAY_MINUTES - window_minutes * np.arange(bins, -1, -1, dtype=np.float64)
    hours = np.arange(WEEK_HOURS + 1) * float(HOUR_MINUTES)
    area = np.concatenate([[0.0], np.cumsum(profile) * HOUR_MINUTES])
    weeks, within = np.divmod(edges, WEEK_MINUTES)
    total = weeks * area[-1] + np.interp(within, hours, area)
    return np.asarray(np.diff(total) / window_minutes)


def masked_bins(
    names: tuple[str, ...], alerts: Iterable[tuple[str, int, int]], end_minute: int, window_minutes: int, bins: int
) -> Ints:
    """Pairs (series, bin) that overlap an earlier alert: (M, 2), for ``History.masked``.

    ``alerts`` are (series, started minute, ended minute); a firing alert ends at the minute of the tick. The window
    before the start is part of it (that is what fired). An alert longer than ``MASK_DAYS`` is masked only that long:
    what lasts is the new normal, or the alert would never end.
    """
    place = {name: i for i, name in enumerate(names)}
    pairs: set[tuple[int, int]] = set()
    first = end_minute - bins * window_minutes
    for series, started, ended in alerts:
        if series not in place:
            continue
        start = started - window_minutes
        end = min(max(ended, started), started + MASK_DAYS * DAY_MINUTES)
        low = max(0, (start - first) // window_minutes)
        high = min(bins - 1, (end - 1 - first) // window_minutes)
        pairs.update((place[series], k) for k in range(low, high + 1))
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Per series over its unmasked live bins; each (S + 1,), the last for the series never seen."""

    exposure: Floats
    exposure_squares: Floats
    negative: Floats
    volume: Floats
    pairs: Floats  # sum of volume * (volume - 1)
    negative_squares: Floats
    negative_exposure: Floats  # sum of negative * exposure
    negative_volume: Floats  # sum of negative * volume
    volume_squares: Floats
    volume_exposure: Floats  # sum of volume * exposure

    def of_stories(self) -> _Sums:
        """The same with stories in the place of negatives."""
        return replace(
            self, negative=self.volume, negative_squares=self.volume_squares, negative_exposure=self.volume_exposure
        )


def _sums(history: History) -> _Sums:
    size = len(history.names) + 1
    bins = len(history.exposure)
    dead = np.zeros(size * bins + 1, np.bool_)
    masked = history.masked
    dead[masked[:, 0] * bins + masked[:, 1]] = True
    rows = ~dead[history.row_series * bins + history.row_bin] & (history.exposure[history.row_bin] > 0)
    series, negative, volume = history.row_series[rows], history.row_negative[rows], history.row_volume[rows]
    weight = history.exposure[history.row_bin[rows]]

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(series, values, size), np.float64)

    def lost(values: Floats) -> Floats:
        return np.asarray(np.bincount(masked[:, 0], values[masked[:, 1]], size), np.float64)

    return _Sums(
        exposure=history.exposure.sum() - lost(history.exposure),
        exposure_squares=(history.exposure**2).sum() - lost(history.exposure**2),
        negative=total(negative),
        volume=total(volume),
        pairs=total(volume * (volume - 1)),
        negative_squares=total(negative**2),
        negative_exposure=total(negative * weight),
        negative_volume=total(negative * volume),
        volume_squares=total(volume**2),
        volume_exposure=total(volume * weight),
    )


def fit(history: History) -> Baseline:
    """Reduce one dimension's history, without the bins that were unusual.

    Linear in its rows; total for any input: no history gives wide priors, no NaN.
    """
    usual = fit_plain(history)
    for _ in range(REFITS):
        unusual = unusual_bins(history, usual)
        if not len(unusual):
            break
        history = replace(history, masked=np.concatenate([history.masked, unusual]))
        usual = fit_plain(history)
    return usual


def unusual_bins(history: History, usual: Baseline) -> Ints:
    """Pairs (series, bin) with more negatives than ``usual`` explains, (M, 2), without those that are masked anyway."""
    mean = np.maximum(usual.rate[history.row_series] * history.exposure[history.row_bin], 1e-9)
    tail = count_tail(history.row_negative, mean, usual.fano[history.row_series] * mean)
    pairs = np.stack([history.row_series, history.row_bin], axis=1)[tail < UNUSUAL]
    if not len(history.masked):
        return pairs
    bins = len(history.exposure)
    return pairs[~np.isin(pairs @ [bins, 1], history.masked @ [bins, 1])]


def fit_plain(history: History) -> Baseline:
    """Reduce one dimension's history as it is: only what ``masked`` says is left out."""
    sums = _sums(history)
    fano = _dispersion(sums)
    rate, rate_variance = _rates(sums, fano)
    share, precision, own = _shares(sums)
    stories = sums.of_stories()
    story_fano = _dispersion(stories)
    return Baseline(
        index={name: i for i, name in enumerate(history.names)},
        windows=float(history.exposure.sum()),
        rate=rate,
        rate_variance=rate_variance,
        fano=fano,
        share=share,
        share_precision=precision,
        own_mood=own,
        story_rate=_rates(stories, story_fano)[0],
        story_fano=story_fano,
    )


def _dispersion(sums: _Sums) -> Floats:
    """Variance over mean of one window's negatives, (S + 1,), at least 1: counts are never more regular than chance."""
    exposure = np.maximum(sums.exposure, 1e-9)
    rate = sums.negative / exposure
    residual = sums.negative_squares - 2 * rate * sums.negative_exposure + rate**2 * sums.exposure_squares
    freedom = sums.negative * np.maximum(0.0, 1.0 - sums.exposure_squares / exposure**2)  # K - 1 over K of them
    pool = (PRIOR_FANO * PRIOR_FANO_WEIGHT + residual.sum()) / (PRIOR_FANO_WEIGHT + freedom.sum())
    own = (pool * OWN_FANO_WEIGHT + residual) / (OWN_FANO_WEIGHT + freedom)
    return np.asarray(np.maximum(1.0, own))


def _rates(sums: _Sums, fano: Floats) -> tuple[Floats, Floats]:
    """Posterior mean and variance of each rate per average window. A clump of ``fano`` stories counts as one event."""
    exposure = np.maximum(sums.exposure, 1e-9)
    count = len(exposure)
    mean = (sums.negative.sum() + 0.5) / (sums.exposure.sum() + count)  # never 0: half a negative in one more window
    shape = 1.0
    if count > 3:
        rates = sums.negative / exposure
        noise = float((fano * mean / exposure).mean())
        between = float(rates.var(ddof=1)) - noise
        shape = float(np.clip(mean**2 / between, MIN_SHAPE, MAX_SHAPE)) if between > 0 else MAX_SHAPE
    alpha = shape + sums.negative / fano
    beta = shape / mean + sums.exposure / fano
    return alpha / beta, alpha / beta**2


def _shares(sums: _Sums) -> tuple[Floats, Floats, Floats]:
    """Expected share, precision of one window's beta-binomial, and how far the share is the series' own."""
    pool = (sums.negative.sum() + 1.0) / (sums.volume.sum() + 4.0)
    volume = np.maximum(sums.volume, 1e-9)
    raw = np.clip(sums.negative / volume, 0.0, 1.0)
    variance = pool * (1 - pool)
    # Correlation within a window, by moments of the residuals against each series' own share.
    own_variance = raw * (1 - raw)
    freedom = np.maximum(0.0, 1.0 - sums.volume_squares / volume**2)
    residual = sums.negative_squares - 2 * raw * sums.negative_volume + raw**2 * sums.volume_squares
    excess = (residual - own_variance * sums.volume * freedom) / variance
    pairs = sums.pairs * freedom * own_variance / variance
    prior = np.clip((PRIOR_CORRELATION * PRIOR_PAIRS + excess.sum()) / (PRIOR_PAIRS + pairs.sum()), 1e-6, 0.9)
    correlation = np.clip((prior * OWN_PAIRS + excess) / (OWN_PAIRS + pairs), 1e-6, 0.9)
    # Stories of one window tell less than their number.
    effective = sums.volume / (1.0 + correlation * sums.pairs / volume)
    precision = MIN_PRECISION
    informative = effective > 1
    if int(informative.sum()) > 2:
        weights = effective[informative] / (effective[informative] + SERIES_WEIGHT)
        spread = float(np.average((raw[informative] - pool) ** 2, weights=weights))
        noise = float(np.average(variance / effective[informative], weights=weights))
        between = max(spread - noise, 1e-9)
        precision = float(np.clip(variance / between - 1.0, MIN_PRECISION, MAX_PRECISION))
    own = effective / (effective + precision)
    share = np.clip(own * raw + (1 - own) * pool, 1e-6, 1 - 1e-6)
    certainty = share * (1 - share) / (effective + precision + 1.0)
    window = correlation * share * (1 - share)
    total = certainty + window * (1 - 1.0 / (effective + precision + 1.0))
    return share, np.maximum(share * (1 - share) / total - 1.0, 1e-3), own
