"""How far event time is complete, over partitions that run at different speeds."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.stream.event_time import EventTime
from sentiment_monitor.stream.parcel import Parcel
from writing import scored

P0, P1 = ("news", 0), ("news", 1)


def test_event_time_waits_for_the_slower_partition() -> None:
    time_ = EventTime()
    time_.seen({P0: 10, P1: 10}, 0.0)
    assert time_.complete_before() is None
    time_.stored(P0, [100, 90])
    assert time_.complete_before() is None  # P1 has something to say and has said nothing
    time_.stored(P1, [50])
    assert time_.complete_before() == 50
    time_.stored(P1, [])
    assert time_.complete_before() == 50
    time_.stored(P1, [120])
    assert (time_.complete_before(), time_.newest) == (100, 120)


def test_a_partition_that_is_read_out_lets_time_go_on_after_a_while() -> None:
    time_ = EventTime()
    time_.seen({P0: 10, P1: 0}, 0.0)
    time_.stored(P0, [100])
    time_.stored(P1, [50])
    time_.seen({P0: 10, P1: 0}, 1.0)
    time_.seen({P0: 10, P1: 0}, 5.9)
    assert time_.complete_before() == 50
    time_.seen({P0: 10, P1: 0}, 6.1)
    assert time_.complete_before() == 100
    time_.seen({P0: 10, P1: 3}, 6.2)  # it speaks again
    assert time_.complete_before() == 50


def test_a_partition_whose_end_is_not_known_holds_time_back() -> None:
    time_ = EventTime()
    time_.seen({P0: 10, P1: None}, 0.0)
    time_.stored(P0, [100])
    assert time_.complete_before() is None


def test_an_empty_partition_and_one_taken_away_hold_nothing_back() -> None:
    time_ = EventTime()
    time_.seen({P0: 10, P1: 0}, 0.0)
    time_.stored(P0, [100])
    assert time_.complete_before() == 100
    time_.seen({P0: 10, P1: 5}, 1.0)
    time_.stored(P1, [20])
    assert time_.complete_before() == 20
    time_.seen({P0: 10}, 2.0)
    assert time_.complete_before() == 100


def test_one_misdated_story_does_not_carry_time_forward_and_a_real_gap_does() -> None:
    time_ = EventTime()
    time_.seen({P0: 10}, 0.0)
    time_.stored(P0, [100, 90_000, 110])
    assert (time_.complete_before(), time_.newest) == (110, 90_000)
    time_.stored(P0, [9_000])
    assert time_.complete_before() == 110
    time_.stored(P0, [9_001, 9_002])
    assert time_.complete_before() == 9_002
    time_.stored(P0, [90_000, 20_000])
    assert time_.complete_before() == 20_000
    time_.stored(P0, [20_001])
    time_.seen({P0: 0}, 1.0)
    time_.seen({P0: 0}, 9.0)
    assert time_.complete_before() == 20_001


@given(st.data())
def test_event_time_is_never_ahead_of_a_story_that_is_still_to_come(data: st.DataObject) -> None:
    """Each partition is in time order; then no story stored later is before the minute that was called complete."""
    minutes = {p: sorted(data.draw(st.lists(st.integers(0, 50), max_size=8))) for p in (P0, P1, ("news", 2))}
    left = {p: list(found) for p, found in minutes.items()}
    time_ = EventTime()
    complete: int | None = None
    while any(left.values()):
        time_.seen({p: len(found) for p, found in left.items()}, 0.0)
        partition = data.draw(st.sampled_from([p for p, found in left.items() if found]))
        count = data.draw(st.integers(1, len(left[partition])))
        some, left[partition] = left[partition][:count], left[partition][count:]
        assert complete is None or min(some) >= complete
        time_.stored(partition, some)
        found = time_.complete_before()
        if found is not None:
            assert complete is None or found >= complete
            complete = found


def test_a_deletion_says_nothing_of_the_time_of_news() -> None:
    story = scored("a", "Elmet Motors opens a plant", minute=100)
    gone = replace(scored("b", "Elmet Motors closes a plant", minute=2_000_000), score=None)
    assert Parcel(P0, 1, 0, 2, 0.0, [], [story, gone]).minutes == [100]
