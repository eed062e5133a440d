"""Briefings: at which minutes they are due, and what they say."""

from __future__ import annotations

import pytest

from sentiment_monitor.dispatch.briefing import Move, News, begins, compose_briefing, due
from sentiment_monitor.dispatch.routes import Timetable, Wishes
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.intervals import interval_of, zone_of
from sentiment_monitor.domain.payload import decode
from sentiment_monitor.times import DAY_MINUTES
from writing import alert

MONDAY = 29_742_840 - 29_742_840 % DAY_MINUTES
WISHES = Wishes(briefings=(480, 1_050), zone=zone_of("Europe/Berlin"))  # 08:00 and 17:30, in summer 06:00 and 15:30 UTC


def _summer_eight() -> int:
    return next(minute for minute in range(MONDAY, MONDAY + DAY_MINUTES) if due(minute, WISHES, None) == minute)


def test_a_briefing_is_due_at_its_time_once_and_an_hour_later_at_most() -> None:
    first = _summer_eight()
    assert due(first - 1, WISHES, first - DAY_MINUTES) is None
    assert due(first + 59, WISHES, first - DAY_MINUTES) == first
    assert due(first + 60, WISHES, first - DAY_MINUTES) is None
    assert due(first + 1, WISHES, first) is None
    assert due(first + 570, WISHES, first) == first + 570


def test_there_is_none_at_times_that_the_timetable_forbids() -> None:
    first = _summer_eight()
    holiday = {"holiday": (interval_of({"dates": ["2000-01-01:2099-12-31"]}, "UTC"),)}
    assert (
        due(first, Wishes(briefings=WISHES.briefings, zone=WISHES.zone, timetable=Timetable(muted=holiday)), None)
        is None
    )


@pytest.mark.parametrize(
    ("last", "since"), [(None, 100_000 - DAY_MINUTES), (99_000, 99_000), (5, 100_000 - 7 * DAY_MINUTES)]
)
def test_a_briefing_looks_back_to_the_one_before_and_a_week_at_most(last: int | None, since: int) -> None:
    assert begins(100_000, last) == since


def test_a_briefing_names_what_is_open_what_closed_and_what_moved() -> None:
    over = alert(series="ticker:B", title="B was bad", state=State.RESOLVED, resolved_minute=250)
    news = News([alert()], [over], [Move("ticker:C", 9, 14, 1)])
    log, mail = compose_briefing("desk", ("log", "mail"), 90, 300, news, "https://monitor.example", {"C": "Cormorant"})
    assert log.title.startswith("Briefing: 1 open, 1 closed, 1 moved since ")
    assert log.text.splitlines()[0] == "Open:"
    assert "B was bad" in log.text
    assert "- Cormorant (ticker:C): 9 negative of 14 stories; before: 1" in log.text
    assert log.key != mail.key
    (entry,) = decode(log.body).alerts
    assert (entry.status, entry.labels["alertname"], entry.annotations["description"]) == (
        "firing",
        "briefing",
        log.text,
    )


def test_a_quiet_day_is_said_too_and_a_long_list_is_cut() -> None:
    (quiet,) = compose_briefing("desk", ("log",), 90, 300, News(), "", {})
    assert quiet.text == "Open: nothing.\nClosed: nothing.\nMoved: nothing."
    many = News(open=[alert(series=f"ticker:{n}") for n in range(30)])
    (long,) = compose_briefing("desk", ("log",), 90, 300, many, "", {})
    assert "- and 20 more" in long.text
