"""The live clock after its wall clock was wrong: it goes on deciding, says so, and skips no more than it must."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import leases
from sentiment_monitor.times import MINUTE_MS
from sentiment_monitor.watch.clocks import AHEAD_MINUTES, LiveClock
from sentiment_monitor.watch.deliver import Delivery
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.tick import Ticker, TickReport
from writing import Alerts

NOW = 1_678_468_860_000
DAY_MS = 86_400_000


class Desk:
    """A ticker that notes which minutes it was asked to decide."""

    def __init__(self, store: Alerts) -> None:
        self._store = store
        self.minutes: list[int] = []

    def tick(self, minute: int, lease: Any, now_ms: int, **_: object) -> TickReport:
        self.minutes.append(minute)
        self._store.apply(lease, minute, [], now_ms)
        return TickReport(minute)


class Machine:
    """A process on a machine whose clock can be set; each of its lives has a clock of its own."""

    def __init__(self, store: Alerts) -> None:
        self.store = store
        self.now_ms = NOW
        self.desk = Desk(store)
        self.lives = 0
        self.live = self.start()

    @property
    def minute(self) -> int:
        return self.now_ms // MINUTE_MS

    def start(self) -> LiveClock:
        self.lives += 1
        leadership = Leadership(self.store.leases, f"life {self.lives}", 60_000, lambda: self.now_ms)
        self.live = LiveClock(
            cast(Ticker, self.desk),
            Delivery(self.store.outbox, {}, leadership, now_ms=lambda: self.now_ms, give_up_ms=DAY_MS),
            leadership,
            self.store.database,
            now_ms=lambda: self.now_ms,
            failed=lambda error: None,
        )
        return self.live

    def tick(self, minutes: int = 1) -> None:
        """Lets minutes pass, with the turn that falls into each."""
        for _ in range(minutes):
            self.live._tick()
            self.now_ms += MINUTE_MS

    def stop(self) -> None:
        self.live._leadership.release()

    @property
    def progress(self) -> int | None:
        with self.store.database.read() as connection:
            progress: int | None = connection.scalar(select(leases.c.progress_minute))
        return progress


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    database.migrate()
    yield Machine(Alerts(database))
    database.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_was_a_day_ahead_silences_no_tick(machine: Machine, restarted: bool) -> None:
    machine.tick()
    machine.now_ms += DAY_MS
    machine.tick(3)
    machine.now_ms -= DAY_MS
    if restarted:
        machine.stop()
        machine.start()
    before = len(machine.desk.minutes)
    with capture_logs() as logs:
        machine.tick(5)
    assert machine.desk.minutes[before:] == list(range(machine.minute - 5, machine.minute))
    assert machine.progress == machine.minute - 1
    assert machine.live._metrics.value("ticks_total", result="skipped") == 0
    (line,) = [line for line in logs if line["event"] == "tick.progress_ahead"]
    assert line["log_level"] == "error"
    assert (line["decided"], line["now"]) == ("2023-03-11T17:24:00Z", "2023-03-10T17:25:00Z")


def test_a_clock_that_goes_a_day_back_silences_no_tick(machine: Machine) -> None:
    machine.tick(2)
    machine.now_ms -= DAY_MS
    before = len(machine.desk.minutes)
    machine.tick(3)
    assert machine.desk.minutes[before:] == list(range(machine.minute - 3, machine.minute))


def test_minutes_decided_a_little_ahead_are_skipped_and_counted_as_such(machine: Machine) -> None:
    machine.tick(AHEAD_MINUTES)
    machine.now_ms -= AHEAD_MINUTES * MINUTE_MS
    before = len(machine.desk.minutes)
    with capture_logs() as logs:
        machine.tick(AHEAD_MINUTES + 2)
    assert machine.live._metrics.value("ticks_total", result="skipped") == AHEAD_MINUTES
    assert machine.live._metrics.value("ticks_total", result="done") == AHEAD_MINUTES + 2
    assert len(machine.desk.minutes) - before == 2
    assert [line for line in logs if line["log_level"] == "error"] == []
