"""What a spike must pass besides the statistic (data, history, floors, false discoveries, sources), each with a reason.

Asked in two turns, because who tells the stories costs a query: :func:`screen` with what the window holds, and
:func:`evaluate` with the tellers of the few series that passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sentiment_monitor.detect.baseline import Floats
from sentiment_monitor.detect.detectors.contract import Measurements, Reason, Window
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.domain.alerts import Evaluation
from sentiment_monitor.domain.series import dimension_of


@dataclass(frozen=True, slots=True)
class Tellers:
    """Who tells the stories of some series in one window, and how long ago."""

    sources: Mapping[str, int]  # distinct ones of its stories, negative or not: a modest classifier misses some
    newest_minute: Mapping[str, int]  # event-time minute of its newest negative story; -1 when there is none
    feed_sources: int  # distinct ones of the whole feed's stories


NOBODY = Tellers({}, {}, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Screening:
    """The candidates of a window after the first turn, in their order."""

    window: Window
    measurements: Measurements
    q_value: Floats | None  # (S,)
    objections: tuple[Reason | None, ...]  # the first thing in the way; None: nothing yet

    @property
    def beyond(self) -> tuple[str, ...]:
        """The series with nothing in the way yet: for these, and no others, tellers decide."""
        return tuple(
            name for name, objection in zip(self.window.names, self.objections, strict=True) if objection is None
        )


def screen(rule: Rule, measurements: Measurements, window: Window) -> Screening:
    """Ask everything that the window itself answers."""
    q_value = None if measurements.p_value is None else adjusted(measurements.p_value, window.family)
    if rule.needs_news and not window.feed_volume > 0:
        return Screening(window, measurements, q_value, (Reason.NO_DATA,) * len(window.names))
    negative, volume = counted(measurements, window)
    warm = (measurements.history_minutes >= rule.warmup_minutes).tolist()
    many = (negative >= rule.min_negative).tolist()
    bad_enough = (negative >= rule.min_share * volume).tolist()
    remarkable = [True] * len(many) if q_value is None else (q_value <= measurements.alpha).tolist()

    def first_objection(i: int) -> Reason | None:
        if not warm[i]:
            return Reason.WARMING_UP
        if rule.needs_news and not many[i]:
            return Reason.TOO_FEW
        if rule.needs_news and not bad_enough[i]:
            return Reason.SMALL_SHARE
        return measurements.objections[i] or (None if remarkable[i] else measurements.unremarkable[i])

    return Screening(window, measurements, q_value, tuple(map(first_objection, range(len(many)))))


def evaluate(rule: Rule, screening: Screening, tellers: Tellers = NOBODY) -> list[Evaluation]:
    """Evaluate the candidates, in their order. ``tellers`` must know every series of ``screening.beyond``.

    A series that holds a firing alert needs half the floor only: one story a day must not keep it alive for ever.
    """
    window, measured = screening.window, screening.measurements
    seen, stories = counted(measured, window)
    holds = measured.holds & (measured.history_minutes >= rule.warmup_minutes)
    if rule.needs_news:
        holds &= (seen >= rule.min_negative / 2) & (window.feed_volume > 0)
    nothing = [None] * len(window.names)
    columns = zip(
        window.names,
        seen.tolist(),
        stories.tolist(),
        measured.expected.tolist(),
        measured.expected_share.tolist(),
        measured.effect.tolist(),
        nothing if measured.p_value is None else measured.p_value.tolist(),
        nothing if screening.q_value is None else screening.q_value.tolist(),
        holds.tolist(),
        screening.objections,
        measured.spikes,
        zip(*(values.tolist() for values in measured.statistics.values()), strict=True)
        if measured.statistics
        else [()] * len(nothing),
        strict=True,
    )
    evaluations = []
    for name, negative, volume, expected, share, effect, p_value, q_value, held, objection, spike, numbers in columns:
        if objection is None and rule.needs_news and not _enough_sources(rule, name, negative, tellers):
            objection = Reason.FEW_SOURCES
        evaluations.append(
            Evaluation(
                series=name,
                rule=rule.name,
                observed=negative,
                volume=volume,
                sources=tellers.sources.get(name),
                newest_minute=tellers.newest_minute.get(name, -1),
                expected=expected,
                expected_share=share,
                effect=effect,
                p_value=p_value,
                q_value=q_value,
                beyond=objection is None,
                holds=objection is None or held,
                reason=objection or spike,
                grave=objection is None and 0 < rule.critical_negative <= negative,
                statistics=dict(zip(measured.statistics, numbers, strict=True)),
            )
        )
    return evaluations


def counted(measured: Measurements, window: Window) -> tuple[Floats, Floats]:
    """Negatives and stories that the answer is about, (S,) each."""
    return (
        window.negative if measured.observed is None else measured.observed,
        window.volume if measured.volume is None else measured.volume,
    )


def adjusted(p_value: Floats, family: int) -> Floats:
    """Benjamini-Hochberg q-values (JRSS B 1995); the family's series that are no candidates count with p = 1."""
    if not len(p_value):
        return p_value
    tests = max(family, len(p_value))
    order = np.argsort(p_value, kind="stable")
    # Those left out rank last: their p of 1 makes no q-value smaller.
    scaled = p_value[order] * tests / np.arange(1, len(p_value) + 1)
    q_value = np.empty(len(p_value))
    q_value[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q_value


def _enough_sources(rule: Rule, series: str, negative: float, tellers: Tellers) -> bool:
    """The floors know each other: each negative above the least takes the place of a source.

    A scandal may be told by a single agency. Of a series that is one source, or of a feed that has fewer, the rule
    cannot ask for more.
    """
    wanted = min(rule.min_sources - (negative - rule.min_negative), tellers.feed_sources)
    return tellers.sources[series] >= wanted or dimension_of(series) == "source"
