from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.detect.detectors.count import Reason
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.states import AlertState, Kind, Status
from sentiment_monitor.detect.words import Evidence, TopStory, clock, explain
from simulate import evaluation

RULE = Rule(name="company-day", window_minutes=360)
START = 27_974_481  # 2023-03-10 17:21 UTC
STATE = AlertState(status=Status.FIRING, started_minute=START)
STORY = TopStory(
    id="1",
    headline="Harbour Trust halts withdrawals",
    source="newswire",
    url="https://news.example/1",
    published_ms=START * 60_000,
    negative=0.934,
    copies=11,
)
EVIDENCE = Evidence(stories=(STORY,) * 9, sources=("newswire", "ledger", "a", "b", "c", "d"), copies=23)


def test_an_alert_says_what_how_unusual_since_when_from_whom_and_shows_the_stories() -> None:
    told = explain(RULE, evaluation(), EVIDENCE, STATE, Kind.FIRED, "Acme Bank")
    assert told.title == "Acme Bank (ACME): 14 negative stories in 6 h (15x the usual number)"
    assert told.lines == (
        "What: 14 negative of 20 stories in 6 h, where 0.9 negative were expected (share 70%, usually 22%).",
        "How unusual: p = 2e-09, q = 3e-08 among the series tested; more than a day 3 times as busy as usual explains.",
        "Since: 2023-03-10 17:21 UTC.",
        "Sources: 6 (newswire, ledger, a, b, c and 1 more).",
        "Copies: 23 syndicated copies are left out of every figure.",
        "Rule company-day on ticker:ACME, severity warning.",
    )
    assert len(told.stories) == 5
    assert told.stories[0] == (
        "Harbour Trust halts withdrawals (newswire, 2023-03-10 17:21 UTC, P(negative) 0.93, 11 copies)"
        " https://news.example/1"
    )
    assert told.text.count("\n") == 10


def test_a_newcomer_is_told_without_a_silly_multiple() -> None:
    rare = replace(evaluation(), expected=0.01, effect=1400.0)
    told = explain(RULE, rare, EVIDENCE, STATE, Kind.FIRED)
    assert told.title == "ACME: 14 negative stories in 6 h (usually none)"
    assert "fewer than 0.1 negative were expected" in told.lines[0]


def test_the_market_is_told_as_a_share() -> None:
    market = replace(evaluation(), series="all", reason=Reason.SPIKE_MOOD)
    told = explain(replace(RULE, basis="share", dimensions=("all",)), market, EVIDENCE, STATE, Kind.FIRED)
    assert told.title == "the whole feed: 14 negative stories in 6 h (70% of all, usually 22%)"
    assert "the mood is worse than usual" in told.lines[1]


def test_the_end_says_how_long_it_lasted_and_shows_no_old_stories() -> None:
    state = replace(STATE, status=Status.RESOLVED, ended_minute=START + 1505)
    calm = replace(evaluation(), observed=1.0, reason=Reason.TOO_FEW)
    told = explain(RULE, calm, EVIDENCE, state, Kind.RESOLVED)
    assert told.title == "Resolved: negative news on ACME"
    assert "Since: 2023-03-10 17:21 UTC, ended 2023-03-11 18:26 UTC after 1 d 1 h 5 min." in told.lines
    assert told.stories == ()
    assert explain(RULE, evaluation(), EVIDENCE, STATE, Kind.REPEATED).title.startswith("Still firing: 14")


@given(st.text(max_size=400), st.text(max_size=30), st.integers(-(10**18), 10**18))
def test_a_headline_never_breaks_the_lines(headline: str, source: str, published_ms: int) -> None:
    story = replace(STORY, headline=headline, source=" ".join(source.split()), published_ms=published_ms, url="")
    told = explain(RULE, evaluation(), Evidence((story,), ("x",), 0), STATE, Kind.FIRED)
    assert len(told.stories) == 1
    assert len(told.stories[0].splitlines()) <= 1
    assert len(told.stories[0]) < 300


def test_instants_outside_the_calendar_have_words() -> None:
    assert clock(10**18) == "at an unknown time"
    assert clock(0) == "1970-01-01 00:00 UTC"
