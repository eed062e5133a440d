"""The job table: what runs when, what is counted as lost, and what a clock that steps does to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest
from structlog.testing import capture_logs

from sentiment_monitor.errors import DatabaseAway
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.schedule import Job, Schedule

DAY_SECONDS = 86_400.0


class Wall:
    """The wall clock of APScheduler and of our schedule, which a test can set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta()
        wall = self

        class Shifted(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return super().now(tz) + wall.ahead

        for module in ("apscheduler.schedulers.base", "apscheduler.executors.base", "sentiment_monitor.watch.schedule"):
            monkeypatch.setattr(f"{module}.datetime", Shifted)

    def step(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class Record:
    """What a schedule tells of itself."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.lost: dict[tuple[str, str], int] = {}
        self.steps: list[float] = []

    def count(self, job: str, loss: str, turns: int) -> None:
        self.lost[job, loss] = self.lost.get((job, loss), 0) + turns


@pytest.fixture
def leases(tmp_path: Path) -> Iterator[LeaseStore]:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    database.migrate()
    yield LeaseStore(database)
    database.close()


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
def start(leases: LeaseStore, record: Record, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Schedule]]:
    monkeypatch.setattr("sentiment_monitor.watch.schedule._WATCH_SECONDS", 0.05)
    leadership = Leadership(leases, "me", 60_000, lambda: 0)
    started: list[Schedule] = []

    def begin(*jobs: Job) -> Schedule:
        schedule = Schedule(
            jobs, leadership, failed=record.failures.append, lost=record.count, stepped=record.steps.append
        )
        started.append(schedule)
        schedule.start()
        return schedule

    yield begin
    for schedule in started:
        schedule.stop()


def _await(true: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.01)


@pytest.mark.parametrize("seconds", [DAY_SECONDS, -DAY_SECONDS, 366 * DAY_SECONDS, -3_600.0])
def test_after_a_step_of_the_wall_clock_every_job_runs_at_once_and_goes_on(
    start: Callable[..., Schedule], record: Record, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    wall = Wall(monkeypatch)
    ticks: list[float] = []
    beats: list[float] = []
    start(
        Job("tick", every=3_600, run=lambda: ticks.append(time.monotonic()), leader_only=False),
        Job("beat", every=0.1, run=lambda: beats.append(time.monotonic()), leader_only=False),
    )
    _await(lambda: len(ticks) == 1 and len(beats) >= 3)
    with capture_logs() as logs:
        wall.step(seconds)
        _await(lambda: len(ticks) >= 2 and record.steps)
    before = len(beats)
    _await(lambda: len(beats) >= before + 3)
    assert len(beats) < 300, "turns that were jumped over were made up for"
    assert [round(step) for step in record.steps] == [seconds]
    (line,) = [line for line in logs if line["event"] == "clock.stepped"]
    assert line["log_level"] == "error"
    assert datetime.fromisoformat(line["now"]) - datetime.fromisoformat(line["expected"]) == timedelta(seconds=seconds)
    assert record.lost.get(("tick", "missed"), 0) == 0
    assert record.failures == []


def test_there_and_back_is_two_steps(
    start: Callable[..., Schedule], record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall(monkeypatch)
    ticks: list[float] = []
    start(Job("tick", every=3_600, run=lambda: ticks.append(time.monotonic()), leader_only=False))
    _await(lambda: len(ticks) == 1)
    wall.step(DAY_SECONDS)
    _await(lambda: record.steps)
    before = len(ticks)
    wall.step(-DAY_SECONDS)
    _await(lambda: len(ticks) > before)
    _await(lambda: len(record.steps) == 2)
    assert [round(step) for step in record.steps] == [DAY_SECONDS, -DAY_SECONDS]


def test_a_turn_that_was_put_off_until_tomorrow_runs_today(start: Callable[..., Schedule]) -> None:
    ticks: list[float] = []
    schedule = start(Job("tick", every=3_600, run=lambda: ticks.append(time.monotonic()), leader_only=False))
    _await(lambda: len(ticks) == 1)
    # As when the clock went there and back between two looks at it.
    schedule._scheduler.get_job("tick").modify(next_run_time=datetime.now(UTC) + timedelta(days=1))
    _await(lambda: len(ticks) == 2)


def test_turns_that_fall_due_while_one_still_runs_are_counted_as_missed(
    start: Callable[..., Schedule], record: Record
) -> None:
    release = threading.Event()

    def run() -> None:
        release.wait(10)

    start(Job("slow", every=0.1, run=run, leader_only=False))
    _await(lambda: record.lost.get(("slow", "missed"), 0) >= 3)
    release.set()


def test_turns_that_were_slept_through_are_counted_and_made_up_for_by_one(
    start: Callable[..., Schedule], record: Record
) -> None:
    turns: list[float] = []
    schedule = start(Job("beat", every=0.25, run=lambda: turns.append(time.monotonic()), leader_only=False))
    _await(lambda: len(turns) >= 2)
    schedule._scheduler.pause()
    time.sleep(1.3)
    before = len(turns)
    schedule._scheduler.resume()
    _await(lambda: len(turns) > before)
    assert record.lost["beat", "missed"] >= 3
    assert len(turns) - before <= 2


def test_an_outage_postpones_and_another_error_is_reported(start: Callable[..., Schedule], record: Record) -> None:
    turns: list[int] = []

    def run() -> None:
        turns.append(len(turns))
        if len(turns) == 1:
            raise DatabaseAway("gone")
        raise ZeroDivisionError("a bug")

    start(Job("tick", every=0.2, run=run, leader_only=False))
    _await(lambda: record.failures)
    assert record.lost["tick", "postponed"] == 1
    assert {type(error) for error in record.failures} == {ZeroDivisionError}


def test_only_the_leader_runs_what_is_the_leaders(
    start: Callable[..., Schedule], leases: LeaseStore, record: Record
) -> None:
    other = leases.acquire("other", 0, 3_600_000)
    assert other is not None
    alone: list[int] = []
    everybody: list[int] = []
    start(
        Job("alone", every=0.05, run=lambda: alone.append(1), leader_only=True),
        Job("everybody", every=0.05, run=lambda: everybody.append(1), leader_only=False),
    )
    _await(lambda: len(everybody) >= 3)
    assert alone == []
    leases.release(other)
    _await(lambda: alone)
