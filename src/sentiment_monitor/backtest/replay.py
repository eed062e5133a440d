"""The live state machine over stored history: each minute at which something can change, and no other."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sentiment_monitor.backtest.book import Book
from sentiment_monitor.backtest.columns import Columns
from sentiment_monitor.backtest.reader import ColumnArchive, ColumnReader, EvidenceOf, no_evidence
from sentiment_monitor.detect.detectors import detector_of
from sentiment_monitor.domain.people import NOBODY_SAID, People
from sentiment_monitor.watch.turn import Decider, Seen

Advance = Callable[[int, int], None]
"""Is told how many minutes are done, and of how many."""

Said = Callable[[int, Book], People]
"""What people had said by a minute, of the alerts of a book."""


def nobody(minute: int, book: Book) -> People:
    """Nobody says anything."""
    return NOBODY_SAID


def replay(
    columns: Columns,
    decider: Decider,
    first: int,
    last: int,
    *,
    evidence: EvidenceOf = no_evidence,
    said: Said = nobody,
    advance: Advance = lambda done, total: None,
) -> Book:
    """Decides the minutes [first, last] as the live service would have, and returns what it would have written down.

    ``columns`` must reach back as far as the rules' baselines, or to the beginning of the history. No alert is open at
    ``first``. The result is that of deciding every minute.
    """
    run = _Run(columns, decider, evidence, said)
    decided = first - 1
    for minute, changed in _due(columns, decider, first, last):
        while (stirred := run.first_move(decided + 1, minute)) is not None:
            run.decide(stirred, ())
            decided = stirred
        run.decide(minute, changed)
        decided = minute
        advance(minute - first + 1, last - first + 1)
    return run.book


class _Run:
    """What a replay remembers from one minute to the next."""

    def __init__(self, columns: Columns, decider: Decider, evidence: EvidenceOf, said: Said) -> None:
        self.book = Book()
        self._decider = decider
        self._reader = ColumnReader(columns, ColumnArchive(columns, self.book.fired_since), evidence)
        self._said = said
        self._seen: Seen = {}

    def first_move(self, start: int, end: int) -> int | None:
        """The first minute of [start, end) at which an alert moves or somebody is told, though no story stirs."""
        situation = self.book.situation()
        if not situation.alerts and not situation.unheard:
            return None
        for minute in range(start, end):
            if not self._decider.stays(minute, situation, self._said(minute, self.book), self._seen):
                return minute
        return None

    def decide(self, minute: int, changed: Collection[int]) -> None:
        """Decides a minute and writes it down."""
        book = self.book
        turn = self._decider.turn(
            minute, book.situation(), self._said(minute, book), self._reader, book.newest_events, changed=changed
        )
        book.apply(minute, turn.changes)
        self._seen = turn.seen


def _due(columns: Columns, decider: Decider, first: int, last: int) -> list[tuple[int, Collection[int]]]:
    """The minutes at which an answer can change, with the windows' lengths; and the last."""
    active = columns.active()
    due: dict[int, set[int]] = {last: {rule.window_minutes for rule in decider.rules}}
    for rule in decider.rules:
        for minute in detector_of(rule).stirs(rule, active, first, last):
            due.setdefault(minute, set()).add(rule.window_minutes)
    return sorted(due.items())
