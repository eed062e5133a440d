"""The routing tree, groups, timetables, inhibition, escalation, digests and bounds, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sentiment_monitor.dispatch.cases import Dispatch, Hold
from sentiment_monitor.dispatch.decide import decide
from sentiment_monitor.dispatch.inhibit import InhibitRule, Watch
from sentiment_monitor.dispatch.routes import Escalation, Route, Routes, Timetable, Wishes
from sentiment_monitor.domain.alert_states import Kind, State, Why
from sentiment_monitor.domain.alerts import Alert, Telling, Transition
from sentiment_monitor.domain.hearing import Cause, Heard, Held, Ledger, Mention, heard_of
from sentiment_monitor.domain.intervals import interval_of
from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.domain.people import Acknowledgement, People
from writing import alert

NOTIFIERS = dict.fromkeys(("desk", "risk", "boss"), ("log",))
MIDNIGHT = 29_000_160  # a full day since 1970
WATCHES = {"hour": Watch(60, "count"), "day": Watch(1_440, "count"), "quiet": Watch(60, "silence")}


def _routes(root: Route | None = None, **fields: Any) -> Routes:
    return Routes({}, NOTIFIERS, root or Route("desk"), watches=WATCHES | {"rule": Watch(60, "count")}, **fields)


def _fires(minute: int, *alerts: Alert) -> list[tuple[Alert, Transition | None]]:
    return [
        (kept, Transition(Kind.FIRED, minute, Why.BEYOND) if kept.fired_minute == minute else None) for kept in alerts
    ]


def _told(dispatch: Dispatch) -> dict[tuple[str, str], Cause]:
    return {
        (message.receiver, part.alert.series + "/" + part.alert.rule): part.cause
        for message in dispatch.messages
        for part in message.parts
    }


def _held(dispatch: Dispatch) -> dict[str, Hold]:
    return {held.receiver: held.reason for held in dispatch.held}


def _heard(minute: int, severity: str = "critical", **fields: Any) -> Heard:
    return Heard(minute, minute, severity, **fields)


@pytest.mark.parametrize(
    ("series", "severity", "receivers"),
    [
        ("ticker:A", "critical", ["boss", "risk"]),  # continue
        ("ticker:A", "warning", ["risk"]),
        ("topic:credit", "warning", ["desk"]),  # no child fits
        ("topic:credit", "critical", ["boss"]),
    ],
)
def test_an_alert_goes_down_the_tree_as_in_alertmanager(series: str, severity: str, receivers: list[str]) -> None:
    tree = Route(
        "desk",
        children=(
            Route("boss", (Matcher.of("severity=critical"),), goes_on=True),
            Route("risk", (Matcher.of("dimension=ticker"),), children=(Route("risk", (Matcher.of("value=B"),)),)),
            Route("boss", (Matcher.of("dimension=ticker"),)),
        ),
    )
    ways = _routes(tree).ways(alert(series=series, severity=severity))
    assert [way.receiver for way in ways] == receivers


def test_a_receiver_to_whom_two_routes_lead_is_told_once_in_the_manner_of_the_first() -> None:
    tree = Route("desk", children=(Route("risk", goes_on=True, repeat_minutes=7), Route("risk", repeat_minutes=9)))
    assert [way.repeat_minutes for way in _routes(tree).ways(alert())] == [7]


def test_a_rule_that_names_receivers_does_not_go_through_the_tree() -> None:
    routes = replace(_routes(), tellings={"rule": Telling(("risk",), 60)})
    assert [way.receiver for way in routes.ways(alert())] == ["risk"]
    assert [way.receiver for way in routes.ways(alert(rule="day"))] == ["desk"]
    assert routes.ways(alert(rule="gone")) == ()


def test_repetitions_come_later_each_time_up_to_a_bound() -> None:
    way = Route("desk", repeat_minutes=60, repeat_backoff=2, repeat_most_minutes=200)
    assert [way.pause(n) for n in range(4)] == [60, 120, 200, 200]
    assert Route("desk", repeat_minutes=0).pause(0) is None
    assert Route("desk", repeat_minutes=300, repeat_most_minutes=200).pause(5) == 300


def test_a_repetition_counts_only_since_the_newest_news() -> None:
    causes = (Cause.FIRED, Cause.REPEATED, Cause.NAMED, Cause.REPEATED, Cause.WORSENED)
    mentions = [Mention("desk", 100 + n, cause, "warning") for n, cause in enumerate(causes)]
    assert heard_of(mentions[:4])["desk"] == Heard(100, 103, "warning", repetitions=2)
    assert heard_of(mentions)["desk"].repetitions == 0


def test_alerts_of_a_group_are_one_message_that_names_all() -> None:
    routes = _routes(Route("desk", group_by=("dimension",)))
    alerts = [alert(series=f"ticker:{name}") for name in "ABC"]
    known = alert(series="ticker:K", id=9, fired_minute=50)
    (message,) = decide(100, routes, Ledger({9: {"desk": _heard(50)}}), _fires(100, *alerts, known)).messages
    assert [part.cause for part in message.parts] == [Cause.FIRED] * 3 + [Cause.NAMED]
    assert message.group == (("dimension", "ticker"),)
    assert len(decide(100, _routes(Route("desk", group_by=("...",))), Ledger(), _fires(100, *alerts)).messages) == 3


@pytest.mark.parametrize(("minute", "due"), [(100, False), (102, False), (103, True)])
def test_the_first_message_of_a_group_waits_for_others(minute: int, due: bool) -> None:
    routes = _routes(Route("desk", group_wait_minutes=3))
    dispatch = decide(minute, routes, Ledger(), _fires(minute, alert(id=7)))
    assert (bool(dispatch.messages), _held(dispatch)) == (due, {} if due else {"desk": Hold.GROUP_WAITS})


@pytest.mark.parametrize(("minute", "due"), [(104, False), (105, True)])
def test_later_messages_of_a_group_keep_their_distance(minute: int, due: bool) -> None:
    routes = _routes(Route("desk", group_by=("dimension",)))
    known, new = alert(series="ticker:K", id=9), alert(series="ticker:N", id=8, fired_minute=103)
    dispatch = decide(minute, routes, Ledger({9: {"desk": _heard(100)}}), [(known, None), (new, None)])
    assert bool(dispatch.messages) is due


def test_the_market_inhibits_what_is_narrower_and_a_critical_alert_is_never_inhibited_by_a_warning() -> None:
    routes = _routes(groups={"ticker:A": frozenset({"group:banks"})})
    market = alert(series="all", rule="hour", severity="warning")
    sector = alert(series="group:banks", rule="hour", severity="warning")
    company = alert(series="ticker:A", rule="hour", severity="warning")
    dispatch = decide(100, routes, Ledger(), _fires(100, company, sector, market))
    assert _told(dispatch) == {("desk", "all/hour"): Cause.FIRED}
    assert {held.alert.series: held.detail for held in dispatch.held} == {
        "group:banks": "by hour on all", "ticker:A": "by hour on all",
    }  # fmt: skip
    assert _told(decide(100, routes, Ledger(), _fires(100, company, sector))) == {
        ("desk", "group:banks/hour"): Cause.FIRED
    }
    grave = replace(company, severity="critical")
    assert ("desk", "ticker:A/hour") in _told(decide(100, routes, Ledger(), _fires(100, grave, market)))
    other_window = replace(market, rule="day")
    assert ("desk", "ticker:A/hour") in _told(decide(100, routes, Ledger(), _fires(100, company, other_window)))
    outside = replace(company, series="ticker:B")
    assert ("desk", "ticker:B/hour") in _told(decide(100, routes, Ledger(), _fires(100, outside, sector)))


def test_nothing_is_inhibited_by_what_the_receiver_has_not_heard_of() -> None:
    routes = _routes(wishes={"desk": Wishes(series=("ticker:*",))})
    market, company = alert(series="all", rule="hour"), alert(series="ticker:A", rule="hour")
    assert _told(decide(100, routes, Ledger(), _fires(100, market, company))) == {
        ("desk", "ticker:A/hour"): Cause.FIRED
    }


def test_what_was_inhibited_is_told_when_the_wider_alert_is_over() -> None:
    routes = _routes()
    market = alert(series="all", rule="hour", id=1, state=State.RESOLVED, resolved_minute=300)
    company = alert(series="ticker:A", rule="hour", id=2)
    book = Ledger({1: {"desk": _heard(100)}}, held={2: {"desk": Held("inhibited", "")}})
    ended = Transition(Kind.RESOLVED, 300, Why.RECOVERED)
    assert _told(decide(300, routes, book, [(market, ended), (company, None)])) == {
        ("desk", "all/hour"): Cause.RESOLVED, ("desk", "ticker:A/hour"): Cause.LATE,
    }  # fmt: skip


def test_an_inhibit_rule_compares_labels_and_does_not_inhibit_its_own_sources() -> None:
    rule = InhibitRule((Matcher.of("alertname=day"),), (Matcher.of('alertname=~"day|quiet"'),), ("dimension",))
    routes = _routes(inhibit_rules=(rule,))
    source, target = alert(series="ticker:A", rule="day"), alert(series="ticker:B", rule="quiet")
    assert _told(decide(100, routes, Ledger(), _fires(100, source, target))) == {("desk", "ticker:A/day"): Cause.FIRED}
    second = replace(source, series="ticker:C")
    assert len(decide(100, routes, Ledger(), _fires(100, source, second)).messages) == 2
    topic = replace(target, series="topic:credit")
    assert len(decide(100, routes, Ledger(), _fires(100, source, topic)).messages) == 2


def test_the_hour_does_not_repeat_the_day_but_its_escalation_is_told_at_once_in_one_message() -> None:
    routes = _routes()
    day = alert(series="ticker:A", rule="day", severity="warning", id=1, fired_minute=100)
    hour = alert(series="ticker:A", rule="hour", severity="warning", id=2, fired_minute=102)
    book = Ledger({1: {"desk": _heard(100, "warning")}})
    held = {held.alert.rule: held.reason for held in decide(102, routes, book, _fires(102, day, hour)).held}
    assert held == {"day": Hold.NOT_DUE, "hour": Hold.COVERED}
    grave = replace(hour, severity="critical")
    (message,) = decide(102, routes, book, _fires(102, day, grave)).messages
    assert [(part.alert.rule, part.cause) for part in message.parts] == [("hour", Cause.WORSENED), ("day", Cause.NAMED)]
    after = heard_of([message.mention(message.parts[1], 102)], book.heard[1])
    assert after["desk"].severity == "critical"  # so the next grave hour of the same day says nothing new
    again = replace(grave, id=3, fired_minute=400)
    assert _held(decide(400, routes, Ledger({1: after}), _fires(400, again, day)))["desk"] in (
        Hold.COVERED,
        Hold.NOT_DUE,
    )
    assert decide(400, routes, Ledger({1: after}), _fires(400, again, day)).messages == ()


def test_silence_of_a_feed_is_not_the_same_as_bad_news() -> None:
    bad = alert(series="source:wire", rule="hour", id=1)
    quiet = alert(series="source:wire", rule="quiet", id=2, fired_minute=200)
    book = Ledger({1: {"desk": _heard(100)}})
    assert ("desk", "source:wire/quiet") in _told(decide(200, _routes(), book, _fires(200, bad, quiet)))


def test_an_alert_that_grows_is_told_at_once_even_if_somebody_has_it() -> None:
    kept = alert(id=7, severity="critical")
    book = Ledger({7: {"desk": _heard(99, "warning")}})
    people = People(acknowledged={7: Acknowledgement(7, 99, "ada", "")})
    assert _told(decide(100, _routes(), book, [(kept, None)], people)) == {("desk", "ticker:A/rule"): Cause.WORSENED}


@pytest.mark.parametrize(
    ("hour", "severity", "held"),
    [(3, "warning", Hold.MUTED), (3, "critical", None), (9, "warning", None), (12, "critical", Hold.MUTED)],
)
def test_a_receiver_is_told_in_its_hours_and_of_grave_news_at_any_time_that_its_route_allows(
    hour: int, severity: str, held: Hold | None
) -> None:
    office = {"office": (interval_of({"times": ["08:00-18:00"]}, "UTC"),)}
    lunch = {"lunch": (interval_of({"times": ["12:00-13:00"]}, "UTC"),)}
    routes = _routes(
        Route("desk", timetable=Timetable(muted=lunch)), wishes={"desk": Wishes(timetable=Timetable(active=office))}
    )
    minute = MIDNIGHT - MIDNIGHT % 1440 + hour * 60
    dispatch = decide(minute, routes, Ledger(), _fires(minute, alert(severity=severity, fired_minute=minute)))
    assert _held(dispatch) == ({} if held is None else {"desk": held})


def test_an_end_in_the_night_is_told_in_the_morning() -> None:
    office = {"office": (interval_of({"times": ["08:00-18:00"]}, "UTC"),)}
    routes = _routes(wishes={"desk": Wishes(timetable=Timetable(active=office))})
    night = MIDNIGHT - MIDNIGHT % 1440 + 180
    over = alert(id=7, severity="warning", state=State.RESOLVED, resolved_minute=night)
    book = Ledger({7: {"desk": _heard(night - 600, "warning")}})
    assert _held(decide(night, routes, book, [(over, None)])) == {"desk": Hold.MUTED}
    assert _told(decide(night + 300, routes, book, [(over, None)])) == {("desk", "ticker:A/rule"): Cause.RESOLVED}
    heard = heard_of([Mention("desk", night + 300, Cause.RESOLVED, "warning")], book.heard[7])
    assert _held(decide(night + 301, routes, Ledger({7: heard}), [(over, None)])) == {"desk": Hold.NEVER_TOLD}


@pytest.mark.parametrize("acknowledged", [False, True])
def test_what_nobody_takes_on_is_told_to_the_next_receiver(acknowledged: bool) -> None:
    routes = _routes(Route("desk", escalate=(Escalation(30, "risk"), Escalation(60, "boss")), repeat_minutes=0))
    kept = alert(id=7)
    people = People(acknowledged={7: Acknowledgement(7, 101, "ada", "")} if acknowledged else {})
    book = Ledger({7: {"desk": _heard(100)}})
    assert _told(decide(129, routes, book, [(kept, None)], people)) == {}
    expected = {} if acknowledged else {("risk", "ticker:A/rule"): Cause.ESCALATED}
    assert _told(decide(130, routes, book, [(kept, None)], people)) == expected
    both = Ledger({7: {"desk": _heard(100), "risk": _heard(130)}})
    later = _told(decide(160, routes, both, [(kept, None)], people))
    assert later == ({} if acknowledged else {("boss", "ticker:A/rule"): Cause.ESCALATED})
    over = replace(kept, state=State.RESOLVED, resolved_minute=170)
    assert set(_told(decide(170, routes, both, [(over, None)], people))) == {
        ("desk", "ticker:A/rule"), ("risk", "ticker:A/rule"),
    }  # fmt: skip


def test_an_alert_that_nobody_may_be_told_of_at_night_finds_the_next_receiver() -> None:
    never = {"never": (interval_of({"years": ["1999"]}, "UTC"),)}
    routes = _routes(
        Route("desk", escalate=(Escalation(30, "boss"),)),
        wishes={"desk": Wishes(timetable=Timetable(active=never), always=())},
    )
    assert _told(decide(129, routes, Ledger(), [(alert(id=7), None)])) == {}
    assert _told(decide(130, routes, Ledger(), [(alert(id=7), None)])) == {("boss", "ticker:A/rule"): Cause.ESCALATED}


def test_warnings_are_gathered_for_the_hour_and_grave_news_is_not() -> None:
    routes = _routes(wishes={"desk": Wishes(digest_minutes=60)})
    warnings = [
        alert(series=f"ticker:{name}", severity="warning", fired_minute=n, id=n) for name, n in (("A", 121), ("B", 150))
    ]
    assert _held(decide(150, routes, Ledger(), _fires(150, *warnings))) == {"desk": Hold.DIGEST}
    (message,) = decide(181, routes, Ledger(), _fires(181, *warnings)).messages  # the tick of the full hour was missed
    assert [part.alert.series for part in message.parts] == ["ticker:A", "ticker:B"]
    grave = alert(series="ticker:C", fired_minute=150)
    assert ("desk", "ticker:C/rule") in _told(decide(150, routes, Ledger(), _fires(150, grave)))


def test_a_day_that_is_used_up_lets_grave_news_pass_and_says_so() -> None:
    routes = _routes(wishes={"desk": Wishes(most_a_day=2)})
    warning = alert(severity="warning", id=7)
    last = decide(100, routes, Ledger(spent={"desk": (50,)}), _fires(100, warning)).messages
    assert last[0].most_a_day == 2
    full = Ledger(spent={"desk": (50, 60)})
    dispatch = decide(100, routes, full, _fires(100, warning))
    assert (dispatch.messages, dispatch.held[0].detail) == ((), "2 of 2 alerts told within 24 h")
    (message,) = decide(100, routes, full, _fires(100, replace(warning, severity="critical"))).messages
    assert message.most_a_day == 0
    assert decide(50 + 1_440, routes, full, [(warning, None)]).messages  # the first of them is a day old


def test_a_receiver_hears_of_its_own_series_and_severities_only() -> None:
    routes = _routes(wishes={"desk": Wishes(series=("ticker:A", "topic:*"), severities=("critical",))})
    for series, severity, wanted in (
        ("ticker:A", "critical", True), ("ticker:AA", "critical", False), ("topic:credit", "critical", True),
        ("ticker:A", "warning", False),
    ):  # fmt: skip
        dispatch = decide(100, routes, Ledger(), _fires(100, alert(series=series, severity=severity)))
        assert bool(dispatch.messages) is wanted
