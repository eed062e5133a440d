"""Why a rule did not fire, and whether it would have with what is said to be missing."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from history import START, Item, columns_of, crisis, ordinary
from sentiment_monitor.backtest.columns import Columns
from sentiment_monitor.backtest.reader import ColumnArchive, ColumnReader
from sentiment_monitor.backtest.why import RuleWhy, why
from sentiment_monitor.detect.rules import CountRule
from sentiment_monitor.times import DAY_MINUTES
from sentiment_monitor.watch.judge import judge

HOUR = CountRule(name="hour", min_negative=3, min_sources=3, baseline_days=5)
PAST = ordinary(2, 6)
NOON = 5 * DAY_MINUTES + 720
MINUTE = START + NOON


def _reader(columns: Columns) -> ColumnReader:
    return ColumnReader(columns, ColumnArchive(columns))


def _asked(items: list[Item], rule: CountRule = HOUR, series: str = "ticker:C") -> RuleWhy:
    (answer,) = why(series, MINUTE, [rule], _reader(columns_of(items))).rules
    return answer


def _held_back(answer: RuleWhy) -> set[str]:
    return {gate.name for gate in answer.gates if not gate.passed}


def test_a_quiet_series_lacks_negatives_and_so_many_would_do() -> None:
    past = [item for item in PAST if not (item.company == "C" and NOON - 60 <= item.minute < NOON)]
    answer = _asked(past)
    assert not answer.fires
    assert "negatives" in _held_back(answer)
    assert answer.more_negatives is not None
    fulfilled = [*past, *(Item(NOON - 1, "C", f"s{10 + n}", "negative") for n in range(answer.more_negatives))]
    assert _asked(fulfilled).fires
    assert not _asked(fulfilled[:-1]).fires, "one fewer would have done"


def test_one_agency_alone_lacks_a_source() -> None:
    past = [item for item in PAST if not (item.company == "C" and NOON - 60 <= item.minute < NOON)]
    lenient = replace(HOUR, alpha=0.3, resolve_alpha=0.3)
    answer = _asked([*past, *(Item(NOON - 5 + n, "C", "s0", "negative") for n in range(3))], lenient)
    assert _held_back(answer) == {"sources"}
    assert answer.more_sources == 2
    assert answer.needed[0] == "It would have fired had 2 more sources told the same stories."


def test_a_crisis_passes_every_gate() -> None:
    answer = _asked([*PAST, *crisis("C", NOON - 40)])
    assert answer.fires
    assert (_held_back(answer), answer.more_negatives, answer.more_sources, answer.needed) == (set(), None, None, ())


def test_old_news_is_held_back_by_nothing_but_its_age() -> None:
    day = replace(HOUR, window_minutes=DAY_MINUTES, max_staleness_minutes=60, alpha=0.3, resolve_alpha=0.3)
    items = [item for item in PAST if item.company != "C" or item.minute < NOON - 2 * DAY_MINUTES]
    answer = _asked([*items, *crisis("C", NOON - 600)], day)
    assert _held_back(answer) == {"fresh"}
    assert answer.more_negatives == 1


def test_a_rule_that_does_not_watch_the_series_is_not_asked() -> None:
    assert why("source:s1", MINUTE, [HOUR], _reader(columns_of(PAST))).rules == ()


@settings(max_examples=40, deadline=None)
@given(
    stories=st.integers(0, 9),
    sources=st.integers(1, 3),
    start=st.integers(1, 55),
    minimum=st.integers(2, 6),
)
def test_the_gates_agree_with_what_a_tick_decides(stories: int, sources: int, start: int, minimum: int) -> None:
    rule = replace(HOUR, min_negative=minimum)
    items = [*PAST, *(Item(NOON - start, "C", f"s{n % sources}", "negative") for n in range(stories))]
    columns = columns_of(items)
    (evaluation,) = [
        judgement.evaluation
        for judgement in judge(MINUTE, [rule], _reader(columns), {"hour": ["ticker:C"]})
        if judgement.evaluation.series == "ticker:C"
    ]
    (answer,) = why("ticker:C", MINUTE, [rule], _reader(columns)).rules
    assert (answer.fires, answer.reason) == (evaluation.beyond, evaluation.reason)
