"""When the turn of a loop is not believed to end any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sentiment_monitor import telemetry
from sentiment_monitor.telemetry.turns import Turns


@contextmanager
def _turn(turns: Turns, *, busy: bool) -> Iterator[None]:
    """A turn in another thread that computes or waits."""
    begun, end = threading.Event(), threading.Event()

    def run() -> None:
        with turns:
            begun.set()
            while busy and not end.is_set():
                sum(range(1_000))
            end.wait()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _overdue_within(turns: Turns, patience: float, seconds: float) -> str | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if reason := turns.overdue(patience):
            return reason
        time.sleep(0.01)
    return None


def test_whoever_computes_without_end_is_overdue_however_little_of_a_processor_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry.turns, "_WAITING", 1_000)
    turns = Turns("write")
    with _turn(turns, busy=True):
        assert "write has computed" in str(_overdue_within(turns, 0.1, 60))


def test_whoever_waits_is_given_five_times_as_long() -> None:
    turns = Turns("write")
    with _turn(turns, busy=False):
        assert _overdue_within(turns, 0.1, 0.3) is None
        assert "write has not moved" in str(_overdue_within(turns, 0.1, 10))


def test_whoever_has_others_compute_is_given_five_times_as_long() -> None:
    turns = Turns("score", computes=False)
    with _turn(turns, busy=True):
        assert _overdue_within(turns, 0.1, 0.3) is None
        assert "score has not moved" in str(_overdue_within(turns, 0.1, 10))


def test_rest_and_what_has_moved_are_never_overdue() -> None:
    turns = Turns("tick")
    assert turns.overdue(0) is None
    turns.moved()
    time.sleep(0.06)
    assert turns.overdue(0.01)
    turns.moved()
    assert turns.overdue(0.01) is None
    turns.rest()
    time.sleep(0.06)
    assert turns.overdue(0.01) is None


def test_the_turn_of_a_thread_that_is_gone_is_not_looked_into() -> None:
    turns = Turns("tick")
    thread = threading.Thread(target=turns.moved)
    thread.start()
    thread.join()
    assert turns.overdue(0.001) is None


def test_an_error_ends_the_turn() -> None:
    turns = Turns("tick")
    with pytest.raises(ZeroDivisionError), turns:
        raise ZeroDivisionError
    time.sleep(0.01)
    assert turns.overdue(0.001) is None
