"""The reader of a history in arrays: what ``watch.judge`` asks, answered without SQL, at any minute of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from sentiment_monitor.backtest.columns import BucketColumns, Columns, Told
from sentiment_monitor.detect.baseline import Floats, Ints
from sentiment_monitor.detect.gates import Tellers
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.domain.alerts import Alert, Evaluation, Evidence
from sentiment_monitor.watch.past import Binned, Past, Usual
from sentiment_monitor.watch.window import Counts

EvidenceOf = Callable[[Rule, Evaluation, int, int], Evidence]
"""What lies behind an evaluation of a window from one minute to another."""


def no_evidence(rule: Rule, evaluation: Evaluation, start: int, end: int) -> Evidence:
    """For those who only want to know what fires."""
    return Evidence()


class ColumnArchive:
    """What has been, of a history in arrays; ``fired`` are the alerts that a baseline may have to leave out."""

    def __init__(self, columns: Columns, fired: Callable[[int], Sequence[Alert]] = lambda minute: ()) -> None:
        self._columns = columns
        self._fired = fired

    def history(self, dimensions: Collection[str], end: int, width: int, bins: int) -> Mapping[str, Binned]:
        """See ``past.Archive``."""
        return {dimension: self._binned(dimension, end, width, bins) for dimension in dimensions}

    def fired_since(self, minute: int) -> Sequence[Alert]:
        """See ``past.Archive``."""
        return self._fired(minute)

    def _binned(self, dimension: str, end: int, width: int, bins: int) -> Binned:
        buckets = self._columns.by_dimension.get(dimension)
        first = end - width * bins
        low, high = (buckets.before(first), buckets.before(end)) if buckets else (0, 0)
        if buckets is None or low == high:
            nothing = np.zeros(0, np.int64)
            return Binned((), nothing, nothing, np.zeros(0), np.zeros(0))
        used, series = np.unique(buckets.series[low:high], return_inverse=True)
        names = [self._columns.names[place] for place in used.tolist()]
        order = sorted(range(len(names)), key=names.__getitem__)
        rank = np.empty(len(names), np.int64)
        rank[order] = np.arange(len(names))
        key = rank[series] * bins + (buckets.minute[low:high] - first) // width
        cells, where = np.unique(key, return_inverse=True)
        return Binned(
            names=tuple(names[place] for place in order),
            series=cells // bins,
            place=cells % bins,
            negative=_sums(where, buckets.negative[low:high], len(cells)),
            stories=_sums(where, buckets.stories[low:high], len(cells)),
        )


class ColumnReader:
    """See ``judge.Reader``. Windows that move forward cost what enters and leaves them."""

    def __init__(self, columns: Columns, archive: ColumnArchive, evidence: EvidenceOf = no_evidence) -> None:
        self._columns = columns
        self._archive = archive
        self._evidence = evidence
        self._past = Past()
        self._sliding: dict[int, Sliding] = {}

    def counts(self, start: int, end: int) -> Counts:
        """See ``judge.Reader``. The next call for a window as long changes the arrays: nobody may keep them."""
        sliding = self._sliding.get(end - start)
        if sliding is None:
            sliding = self._sliding[end - start] = Sliding(self._columns.buckets, len(self._columns.names))
        sliding.move(start, end)
        return Counts(self._columns.names, sliding.stories, sliding.negative)

    def usual(self, rule: Rule, minute: int) -> Usual:
        """See ``judge.Reader``."""
        return self._past.usual(self._archive, rule, minute)

    def tellers(self, series: Collection[str], start: int, end: int) -> Tellers:
        """See ``judge.Reader``."""
        sources, newest = {}, {}
        for name in series:
            own = self._columns.tellings.get(name)
            sources[name], newest[name] = _tellers(own, start, end) if own else (0, -1)
        return Tellers(sources, newest, _tellers(self._columns.feed, start, end)[0])

    def evidence(self, rule: Rule, evaluation: Evaluation, start: int, end: int) -> Evidence:
        """What lies behind an evaluation of the window [start, end)."""
        return self._evidence(rule, evaluation, start, end)


class Sliding:
    """The sums of one window by series, (S,) each; both are empty until it is first moved."""

    def __init__(self, buckets: BucketColumns, size: int) -> None:
        self._buckets = buckets
        self._low = self._high = 0
        self.stories: Floats = np.zeros(size)
        self.negative: Floats = np.zeros(size)

    def move(self, start: int, end: int) -> None:
        """To the minutes [start, end). Forward it costs what enters and leaves, backward the whole window."""
        low, high = self._buckets.before(start), self._buckets.before(end)
        if low < self._low or low > self._high or high < self._high:
            self.stories[:] = self.negative[:] = 0
            self._low = self._high = low
        self._add(self._high, high, 1.0)
        self._add(self._low, low, -1.0)
        self._low, self._high = low, high

    def _add(self, low: int, high: int, times: float) -> None:
        if low < high:
            series = self._buckets.series[low:high]
            np.add.at(self.stories, series, times * self._buckets.stories[low:high])
            np.add.at(self.negative, series, times * self._buckets.negative[low:high])


def _sums(where: Ints, values: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(where, values, size), np.float64)


def _tellers(tellings: Told, start: int, end: int) -> tuple[int, int]:
    """How many sources told the stories of [start, end), and the minute of the newest negative one, or -1."""
    low, high = np.searchsorted(tellings.minute, (start, end))
    negative = np.flatnonzero(tellings.negative[low:high])
    newest = int(tellings.minute[low:high][negative[-1]]) if len(negative) else -1
    return len(np.unique(tellings.source[low:high])), newest
