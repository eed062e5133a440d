"""Why a rule fired on a series at a minute, or did not: gate by gate, and what would have had to be different."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sentiment_monitor.detect import words
from sentiment_monitor.detect.gates import Screening, Tellers, counted, evaluate
from sentiment_monitor.detect.rules import Rule, TailRule
from sentiment_monitor.domain.alerts import Evaluation
from sentiment_monitor.times import iso, spell_minutes
from sentiment_monitor.watch.judge import Reader, look
from sentiment_monitor.watch.past import Usual
from sentiment_monitor.watch.window import Counts, SeriesPlaces

MOST_MORE = 200  # negatives that are supposed at most


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition that a rule makes."""

    name: str
    passed: bool
    value: str
    bar: str
    meaning: str


@dataclass(frozen=True, slots=True)
class RuleWhy:
    """One rule's answer."""

    rule: str
    fires: bool
    reason: str  # the first thing in the way, or what it fires for
    sentence: str
    gates: tuple[Gate, ...]  # in the order in which they are asked
    more_negatives: int | None  # that would have been enough, all else as it was; None: it fires, or no number would
    more_sources: int | None  # likewise, with the negatives as they were
    needed: tuple[str, ...]  # the same in words


@dataclass(frozen=True, slots=True)
class WhyAnswer:
    """Every rule that watches a series, at one minute."""

    series: str
    at: str  # RFC 3339
    rules: tuple[RuleWhy, ...]


def why(series: str, minute: int, rules: Sequence[Rule], reader: Reader) -> WhyAnswer:
    """Asks each rule that watches the series at ``minute``, as a tick at that minute would have."""
    watching = [rule for rule in rules if rule.matches(series)]
    return WhyAnswer(series, iso(minute), tuple(_why(series, minute, rule, reader) for rule in watching))


def _why(series: str, minute: int, rule: Rule, reader: Reader) -> RuleWhy:
    as_it_was = _Supposed(reader, series)
    evaluation, gates = _asked(series, minute, rule, as_it_was)
    fires = all(gate.passed for gate in gates)
    negatives = None if fires else _fewest(series, minute, rule, reader)
    sources = None if fires else _sources_needed(series, minute, rule, reader)
    return RuleWhy(
        rule=rule.name,
        fires=fires,
        reason=evaluation.reason,
        sentence=words.sentence(rule, evaluation),
        gates=tuple(gates),
        more_negatives=negatives,
        more_sources=sources,
        needed=tuple(_needed(fires, negatives, sources)),
    )


def _needed(fires: bool, negatives: int | None, sources: int | None) -> Iterator[str]:
    if fires:
        return
    if sources is not None:
        yield f"It would have fired had {_more(sources, 'source')} told the same stories."
    if negatives is not None:
        more = _more(negatives, "negative story from a new source", "negative stories from new sources")
        yield f"It would have fired with {more}."
    if sources is None and negatives is None:
        yield f"Not even {MOST_MORE} more negative stories would have made it fire then."


def _more(number: int, singular: str, plural: str = "") -> str:
    return f"one more {singular}" if number == 1 else f"{number} more {plural or singular + 's'}"


def _asked(series: str, minute: int, rule: Rule, reader: _Supposed) -> tuple[Evaluation, list[Gate]]:
    sight = look(minute, rule, reader, [series])
    assert sight is not None, "a watched series is a candidate"
    place = sight.screening.window.names.index(series)
    evaluation = evaluate(rule, *sight)[place]
    tellers = reader.tellers([series], minute - rule.span_minutes, minute)
    gates = list(_gates(series, minute, rule, sight.screening, tellers))
    if not evaluation.beyond and all(gate.passed for gate in gates):
        gates.append(Gate(evaluation.reason, False, "", "", words.sentence(rule, evaluation)))
    return evaluation, gates


def _gates(series: str, minute: int, rule: Rule, screening: Screening, tellers: Tellers) -> Iterator[Gate]:
    window, measured = screening.window, screening.measurements
    place = window.names.index(series)
    negatives, volumes = counted(measured, window)
    negative, history = float(negatives[place]), float(measured.history_minutes[place])
    yield Gate(
        "data", window.feed_volume > 0, f"{window.feed_volume:g}", "1", "stories of the whole feed in the window"
    )
    yield Gate("history", history >= rule.warmup_minutes, spell_minutes(round(history)),
               spell_minutes(rule.warmup_minutes), "of live past to compare with")  # fmt: skip
    yield Gate("negatives", negative >= rule.min_negative, f"{negative:g}", f"{rule.min_negative:g}",
               f"negative stories in {spell_minutes(rule.span_minutes)}")  # fmt: skip
    share = negative / max(float(volumes[place]), 1.0)
    yield Gate("share", share >= rule.min_share, f"{share:.0%}", f"{rule.min_share:.0%}", "of its stories are negative")
    effect, objection = float(measured.effect[place]), measured.objections[place]
    if isinstance(rule, TailRule):
        yield Gate("effect", objection is None, f"{effect:.2f}", f"{rule.min_ratio:g}",
                   f"times as much as expected; {measured.expected[place]:.2f} negatives were,"
                   f" a share of {measured.expected_share[place]:.0%}")  # fmt: skip
    if screening.q_value is not None and measured.p_value is not None:
        q_value = float(screening.q_value[place])
        yield Gate("unusual", q_value <= measured.alpha, f"{q_value:.2g}", f"{measured.alpha:g}",
                   f"false discovery rate among {window.family} series at most; p is"
                   f" {measured.p_value[place]:.2g}")  # fmt: skip
    others = replace(screening, objections=tuple(None if name == series else old for name, old in
                                                 zip(window.names, screening.objections, strict=True)))  # fmt: skip
    sources = tellers.sources.get(series, 0)
    enough = evaluate(rule, others, _complete(tellers, others))[place].beyond
    yield Gate("sources", enough, str(sources), str(rule.min_sources),
               "distinct sources of the stories; more negatives can stand for them")  # fmt: skip
    newest = tellers.newest_minute.get(series, -1)
    fresh = newest >= 0 and minute - newest <= rule.max_staleness_minutes
    yield Gate("fresh", fresh, "-" if newest < 0 else spell_minutes(minute - newest),
               spell_minutes(rule.max_staleness_minutes), "since the newest negative story, at most")  # fmt: skip


def _complete(tellers: Tellers, screening: Screening) -> Tellers:
    """Tellers that know every series that is asked for; only the one in question matters."""
    return replace(tellers, sources=dict.fromkeys(screening.beyond, 0) | dict(tellers.sources))


def _fewest(series: str, minute: int, rule: Rule, reader: Reader) -> int | None:
    """How many more negatives it would have taken, told by as many new sources just before the minute."""

    def fires(more: int) -> bool:
        supposed = _Supposed(reader, series, negatives=more, sources=more, newest=minute - 1)
        return all(gate.passed for gate in _asked(series, minute, rule, supposed)[1])

    if not fires(MOST_MORE):
        return None
    low, high = 0, MOST_MORE
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fires(middle) else (middle, high)
    return high


def _sources_needed(series: str, minute: int, rule: Rule, reader: Reader) -> int | None:
    """How many more sources of the same stories would have been enough; None where sources are not what is missing."""
    for more in range(1, rule.min_sources + 1):
        supposed = _Supposed(reader, series, sources=more)
        if all(gate.passed for gate in _asked(series, minute, rule, supposed)[1]):
            return more
    return None


class _Supposed:
    """A reader of what was, with some more negatives and sources in one series."""

    def __init__(self, reader: Reader, series: str, *, negatives: int = 0, sources: int = 0, newest: int = -1) -> None:
        self._reader = reader
        self._series = series
        self._negatives = negatives
        self._sources = sources
        self._newest = newest

    def counts(self, start: int, end: int) -> Counts:
        """See ``judge.Reader``."""
        counts = self._reader.counts(start, end)
        if not self._negatives:
            return counts
        names = SeriesPlaces(counts.names[place] for place in range(len(counts.names)))
        places = [names.place(series) for series in dict.fromkeys((self._series, "all"))]
        stories, negative = np.zeros(len(names)), np.zeros(len(names))
        stories[: len(counts.stories)], negative[: len(counts.negative)] = counts.stories, counts.negative
        stories[places] += self._negatives
        negative[places] += self._negatives
        return Counts(names, stories, negative)

    def usual(self, rule: Rule, minute: int) -> Usual:
        """See ``judge.Reader``."""
        return self._reader.usual(rule, minute)

    def tellers(self, series: Collection[str], start: int, end: int) -> Tellers:
        """See ``judge.Reader``."""
        tellers = self._reader.tellers(series, start, end)
        sources, newest = dict(tellers.sources), dict(tellers.newest_minute)
        if self._series in sources:
            sources[self._series] += self._sources
            newest[self._series] = max(newest[self._series], self._newest)
        return Tellers(sources, newest, tellers.feed_sources + self._sources)
