"""What is said of brokers that do not answer: once, again after minutes, and when they are back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from sentiment_monitor.ingest import reach
from sentiment_monitor.ingest.reach import Reach


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(reach, "time", clock)
    return clock


def test_an_outage_is_one_line_then_one_every_five_minutes_and_one_when_it_is_over(clock: SimpleNamespace) -> None:
    brokers = Reach(" (hint)")
    with capture_logs() as logs:
        for _ in range(700):
            brokers.failed("a:9092", "refused")
            clock.now += 1
        brokers.answered("a:9092")
        brokers.answered("a:9092")
    assert [(line["event"], line["seconds"]) for line in logs] == [
        ("broker.away", 0), ("broker.away", 300), ("broker.away", 600), ("broker.back", 700.0)
    ]  # fmt: skip
    assert logs[0]["error"] == "refused (hint)"


def test_brokers_are_away_only_when_none_answers() -> None:
    brokers = Reach()
    assert brokers.away is None
    brokers.failed("a:9092", "refused")
    assert brokers.away == "a:9092: refused"
    brokers.answered("b:9092")
    assert brokers.away is None
    brokers.failed("b:9092", "reset")
    assert brokers.away == "a:9092: refused; b:9092: reset"


def test_a_refusal_counts_from_its_first_time_until_somebody_lets_us_in(clock: SimpleNamespace) -> None:
    brokers = Reach()
    error = RuntimeError("wrong password")
    with capture_logs() as logs:
        for _ in range(3):
            brokers.refused("a:9092", error)
            clock.now += 50
    assert [line["event"] for line in logs] == ["broker.refuses"]
    assert brokers.away == "a:9092: wrong password"
    assert brokers.refused_for(151) is None
    assert brokers.refused_for(149) is error
    brokers.answered("a:9092")
    assert brokers.refused_for(0) is None
    assert brokers.away is None


def test_one_broker_that_refused_once_is_no_reason_to_stop_while_another_answers(clock: SimpleNamespace) -> None:
    brokers = Reach()
    error = RuntimeError("wrong password")
    brokers.answered("a:9092")
    brokers.refused("b:9092", error)
    clock.now += 121
    assert brokers.refused_for(120) is None, "it was not tried again"
    brokers.refused("b:9092", error)
    assert brokers.refused_for(120) is None, "twice in two minutes"
    for _ in range(40):
        clock.now += 3
        brokers.refused("b:9092", error)
    assert brokers.refused_for(120) is error, "what it holds is not read"
    clock.now += 31
    assert brokers.refused_for(120) is None
    brokers.failed("a:9092", "reset")
    assert brokers.refused_for(120) is error, "nobody answers"
