"""How results look: sparklines, and text from outside that is never markup."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.store.buckets import TrendPoint
from sentiment_monitor.store.dead_letters import StoredDeadLetter
from sentiment_monitor.terminal import plain, print_alerts, print_dead_letters, print_scores, print_trend, sparkline

LAST = 27_974_481  # 2023-03-10 17:21


def test_what_a_terminal_would_obey_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain("\x1b[2J\x1b]0;mine\x07 Bank\tfails\n\x9bnow") == "[2J]0;mine Bank fails now"
    print_trend("source:s\x1b[5m", [TrendPoint(LAST, 1, 1, 0, 0, 0, -0.5)], 1, as_json=False)
    assert "\x1b" not in capsys.readouterr().out


@given(st.lists(st.integers(0, 10**6), max_size=80))
def test_a_sparkline_has_a_mark_for_every_value_and_a_space_for_none(values: list[int]) -> None:
    line = sparkline(values)
    assert len(line) == len(values)
    assert [mark == " " for mark in line] == [value == 0 for value in values]
    if any(values):
        assert line[values.index(max(values))] == "█"


def test_a_series_that_looks_like_markup_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_trend("source:[/bold]x[red]", [TrendPoint(LAST, 2, 1, 0, 1, 3, 0.5)], 60, as_json=False)
    shown = capsys.readouterr().out
    assert "source:[/bold]x[red] from 2023-03-10 17:21 UTC" in shown
    assert "+0.50" in shown


def test_a_trend_as_json_has_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    print_trend("all", [TrendPoint(LAST, 0, 0, 0, 0, 0, None)], 5, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["series"], found["step_minutes"], found["points"][0]["score"]) == ("all", 5, None)
    assert found["points"][0]["at"] == "2023-03-10T17:21:00Z"


def test_dead_letters_show_any_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    letters = [
        StoredDeadLetter(1, "news", 0, 7, "not_utf8", "[/] why", b"\xff[red]\x00", 7, LAST * 60_000),
        StoredDeadLetter(2, "news", 0, 8, "empty", "", None, None, 0, part=4),
    ]
    print_dead_letters(letters, as_json=False)
    shown = capsys.readouterr().out
    assert "news/0@7 " in shown
    assert "news/0@8[4]" in shown
    assert "\\xff[red]" in shown
    print_dead_letters(letters, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [one["raw_value"] for one in found] == ["\\xff[red]\x00", None]
    print_dead_letters([], as_json=False)
    assert capsys.readouterr().out == "no dead letters\n"


def test_no_alert_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_alerts([], {}, as_json=False)
    print_alerts([], {}, as_json=True)
    assert capsys.readouterr().out == "no alerts\n[]\n"


def test_no_score_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("jsonl", "csv", "table"):
        print_scores(iter(()), form)
    assert capsys.readouterr().out == ""
