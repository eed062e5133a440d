"""The bounded queue between two stages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.stream.handoff import Closed, Handoff


def _background(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


@given(st.lists(st.integers(1, 7), max_size=20), st.integers(1, 10))
def test_batches_come_out_in_order_and_no_more_records_than_asked_for(sizes: list[int], most: int) -> None:
    handoff: Handoff[list[int]] = Handoff("x", 1_000)
    for number, size in enumerate(sizes):
        handoff.put([number] * size)
    assert len(handoff) == sum(sizes)
    handoff.close()
    taken: list[list[int]] = []
    while True:
        try:
            some = handoff.take(most)
        except Closed:
            break
        assert some
        assert len(some) == 1 or sum(map(len, some)) <= most
        taken += some
    assert taken == [[number] * size for number, size in enumerate(sizes)]
    assert len(handoff) == 0


def test_a_full_hand_off_makes_the_giver_wait_until_there_is_room() -> None:
    handoff: Handoff[str] = Handoff("x", 3)
    handoff.put("abc")
    assert handoff.full
    giver = _background(lambda: handoff.put("d"))
    giver.join(0.05)
    assert giver.is_alive()
    assert handoff.take(10) == ["abc"]
    giver.join(5)
    assert not giver.is_alive()
    assert handoff.take(10) == ["d"]


def test_the_poller_never_waits() -> None:
    handoff: Handoff[str] = Handoff("x", 1)
    handoff.put("ab", wait=False)
    handoff.put("cd", wait=False)
    assert len(handoff) == 4


def test_one_batch_larger_than_the_bound_still_passes() -> None:
    handoff: Handoff[str] = Handoff("x", 2)
    handoff.put("abcdef")
    assert handoff.take(1) == ["abcdef"]


def test_an_empty_hand_off_gives_nothing_after_the_time_and_wakes_for_a_batch() -> None:
    handoff: Handoff[str] = Handoff("x", 2)
    started = time.monotonic()
    assert handoff.take(1, timeout=0.02) == []
    assert time.monotonic() - started >= 0.02
    threading.Timer(0.02, handoff.put, ("a",)).start()
    assert handoff.take(1, timeout=5) == ["a"]


def test_closing_lets_the_taker_finish_what_is_there_and_then_says_so() -> None:
    handoff: Handoff[str] = Handoff("x", 5)
    handoff.put("ab")
    handoff.close()
    handoff.put("cd")  # after the end: dropped
    assert handoff.take(5) == ["ab"]
    with pytest.raises(Closed):
        handoff.take(5)


def test_closing_wakes_both_ends() -> None:
    empty: Handoff[str] = Handoff("x", 1)
    ended = threading.Event()

    def take() -> None:
        with pytest.raises(Closed):
            empty.take(1)
        ended.set()

    _background(take)
    full: Handoff[str] = Handoff("y", 1)
    full.put("a")
    giver = _background(lambda: full.put("b"))
    empty.close()
    full.close(drop=True)
    assert ended.wait(5)
    giver.join(5)
    assert not giver.is_alive()
    assert len(full) == 0
