"""What the tick loop and people read of the buckets."""

from __future__ import annotations

import pytest

from sentiment_monitor.store import buckets, dead_letters, reading
from sentiment_monitor.store.database import Database
from writing import Desk, dead, scored

LONG = "Kestrel Bank halts withdrawals after depositors pull billions in two days"


@pytest.fixture
def filled(database: Database) -> Database:
    desk = Desk(database)
    desk.write(
        scored("1", LONG, source="a", minute=100, label="negative", tickers=("KSB",)),
        scored("2", LONG, source="b", minute=101, label="negative", tickers=("KSB",)),
        scored("3", "Rates rise again", source="a_b", minute=105, label="positive", topic="macro"),
        scored("4", "Kestrel Bank calms investors", source="a", minute=110, tickers=("KSB", "K_S")),
        scored("5", "It is gone", source="a", minute=110, label="negative", tickers=("KSB",)),
        scored("5", source="a", action="deleted"),
        dead=[dead(), dead(1)],
    )
    return database


def test_of_dead_letters_as_much_is_read_as_is_asked_for(filled: Database) -> None:
    Desk(filled).write(dead=[dead(2, value=b"\xff" * 100)])
    with filled.read() as connection:
        assert [len(letter.raw_value or b"") for letter in dead_letters.recent(connection, 2, 7)] == [7, 1]
        assert len(dead_letters.recent(connection, 1)[0].raw_value or b"") == 100


def test_a_dimension_has_its_own_series_only(filled: Database) -> None:
    with filled.read() as connection:
        for start in (100, 120 - 10_081):  # a long span is asked for in another way
            for dimension, names in (("ticker", "KSB K_S"), ("source", "a a_b"), ("topic", "earnings macro")):
                changes = buckets.changes(connection, dimension, start, 120, 10)
                assert [change.series for change in changes] == [f"{dimension}:{name}" for name in names.split()]
        (everything,) = buckets.changes(connection, "all", 105, 111, 10)
        assert (everything.stories, everything.negative) == (2, 0)
        assert (everything.stories_before, everything.negative_before) == (1, 1)


def test_windows_count_originals_up_to_but_not_including_their_end(filled: Database) -> None:
    with filled.read() as connection:
        windows = {w.series: (w.stories, w.negative) for w in buckets.series_windows(connection, 100, 110)}
        assert windows == {
            "all": (2, 1), "source:a": (1, 1), "source:a_b": (1, 0), "ticker:KSB": (1, 1), "topic:earnings": (1, 1),
            "topic:macro": (1, 0),
        }  # fmt: skip
        assert buckets.series_windows(connection, 102, 105) == []
        assert {w.series: w.stories for w in buckets.series_windows(connection, 0, 200)}["ticker:KSB"] == 2


def test_originals_name_source_minute_and_every_series_they_count_in(filled: Database) -> None:
    with filled.read() as connection:
        originals = {original.minute: original for original in reading.originals(connection, 0, 200)}
        assert reading.originals(connection, 101, 105) == []
    assert {minute: (original.source, original.negative) for minute, original in originals.items()} == {
        100: ("a", True), 105: ("a_b", False), 110: ("a", False),
    }  # fmt: skip
    assert set(originals[100].series) == {"all", "source:a", "ticker:KSB", "topic:earnings"}


def test_history_bins_end_where_they_are_asked_to_and_leave_out_the_empty(filled: Database) -> None:
    with filled.read() as connection:
        assert sorted(buckets.history(connection, ["all", "ticker"], 111, 5, 3)) == [
            ("all", 0, 1, 1), ("all", 1, 0, 1), ("all", 2, 0, 1), ("ticker:KSB", 0, 1, 1), ("ticker:KSB", 2, 0, 1),
            ("ticker:K_S", 2, 0, 1),
        ]  # fmt: skip
        assert buckets.history(connection, ["topic"], 100, 10, 3) == []


def test_a_trend_has_every_step_and_means_only_where_there_are_stories(filled: Database) -> None:
    with filled.read() as connection:
        points = buckets.trend(connection, "all", 99, 112, 5)
    assert [(p.minute, p.stories, p.negative, p.positive, p.copies) for p in points] == [
        (99, 1, 1, 0, 1), (104, 1, 0, 1, 0), (109, 1, 0, 0, 0),
    ]  # fmt: skip
    assert [p.score for p in points] == [pytest.approx(-0.75), pytest.approx(0.89), pytest.approx(0.0)]


@pytest.mark.parametrize(
    ("series", "ids"), [("all", 1), ("ticker:KSB", 1), ("ticker:K", 0), ("source:a", 1), ("source:b", 0)]
)
def test_evidence_is_of_the_series_alone(filled: Database, series: str, ids: int) -> None:
    with filled.read() as connection:
        facts = reading.top_negative(connection, series, 0, 200, 10)
    assert len(facts) == ids
    if facts:
        assert (facts[0].headline, facts[0].copies, facts[0].tickers) == (LONG, 1, ("KSB",))


def test_copies_are_counted_for_the_series(filled: Database) -> None:
    with filled.read() as connection:
        assert buckets.copies(connection, "ticker:KSB", 0, 200) == 1
        assert buckets.copies(connection, "source:a", 0, 200) == 0


def test_a_wild_card_in_a_ticker_is_a_letter(filled: Database) -> None:
    with filled.read() as connection:
        assert reading.top_negative(connection, "ticker:K_B", 0, 200, 10) == []
        assert buckets.series_like(connection, "a_b") == ["source:a_b"]
        assert buckets.series_like(connection, "ksb") == ["ticker:KSB"]
        assert buckets.series_like(connection, "%") == []


def test_totals_count_what_is_there(filled: Database) -> None:
    with filled.read() as connection:
        totals = reading.totals(connection)
        assert (totals.stories, totals.copies, totals.deleted, totals.dead_letters) == (5, 1, 1, 2)
        assert buckets.last_minute(connection) == 110
        assert buckets.active_minutes(connection, 100, 110) == [100, 101, 105]
        assert [letter.offset for letter in dead_letters.recent(connection, 1)] == [1]


def test_an_empty_database_has_nothing_to_say(database: Database) -> None:
    with database.read() as connection:
        assert buckets.last_minute(connection) is None
        assert buckets.series_windows(connection, 0, 10**9) == []
        assert reading.totals(connection) == reading.Totals(0, 0, 0, 0, 0)
