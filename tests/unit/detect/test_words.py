from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.detect.detectors.contract import Reason
from sentiment_monitor.detect.rules import CountRule
from sentiment_monitor.detect.words import explain, explain_gone, sentence
from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Alert, Evidence, TopStory
from simulate import evaluation

RULE = CountRule(name="company-day", window_minutes=360)
START = 27_974_481  # 2023-03-10 17:21 UTC
ALERT = Alert("company-day", "ticker:ACME", "warning", State.FIRING, fired_minute=START)
STORY = TopStory(
    id="1",
    headline="Harbour Trust halts withdrawals",
    source="newswire",
    url="https://news.example/1",
    published_at="2023-03-10T17:21:30Z",
    p_negative=0.934,
    copies=11,
)
EVIDENCE = Evidence(top_stories=(STORY,) * 9, sources=("newswire", "ledger", "a", "b", "c", "d"), copies=23)


def test_an_alert_says_what_how_unusual_since_when_from_whom_and_shows_the_stories() -> None:
    told = explain(RULE, evaluation(), EVIDENCE, ALERT, Kind.FIRED, "Acme Bank")
    assert told.title == "Acme Bank (ACME): 14 negative stories in 6 h (15x the usual number)"
    assert told.lines == (
        "What: 14 of 20 stories in 6 h are negative (70%, usually 22%), where 0.9 are usual.",
        "How unusual: by chance that comes less than once in a million such windows (p = 2e-09, q = 3e-08 among the"
        " series tested); even a day 3 times as busy as usual would bring fewer.",
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
    told = explain(RULE, rare, EVIDENCE, ALERT, Kind.FIRED)
    assert told.title == "ACME: 14 negative stories in 6 h (usually none)"
    assert "where hardly any is usual" in told.lines[0]


def test_the_market_is_told_as_a_share() -> None:
    market = replace(evaluation(), series="all", reason=Reason.SPIKE_MOOD)
    told = explain(replace(RULE, basis="share", dimensions=("all",)), market, EVIDENCE, ALERT, Kind.FIRED)
    assert told.title == "the whole feed: 14 negative stories in 6 h (70% of all, usually 22%)"
    assert "the mood is worse than usual" in told.lines[1]


def test_the_end_says_how_long_it_lasted_and_shows_no_old_stories() -> None:
    over = replace(ALERT, state=State.RESOLVED, resolved_minute=START + 1505)
    calm = replace(evaluation(), observed=1.0, reason=Reason.TOO_FEW)
    told = explain(RULE, calm, EVIDENCE, over, Kind.RESOLVED)
    assert told.title == "Resolved: negative news on ACME"
    assert "Since: 2023-03-10 17:21 UTC, ended 2023-03-11 18:26 UTC after 1 d 1 h 5 min." in told.lines
    assert told.stories == ()
    assert explain(RULE, evaluation(), EVIDENCE, ALERT, Kind.REPEATED).title.startswith("Still firing: 14")


@given(st.text(max_size=400), st.text(max_size=30))
def test_a_headline_never_breaks_the_lines(headline: str, source: str) -> None:
    story = replace(STORY, headline=headline, source=" ".join(source.split()), url="")
    told = explain(RULE, evaluation(), Evidence(top_stories=(story,), sources=("x",)), ALERT, Kind.FIRED)
    assert len(told.stories) == 1
    assert len(told.stories[0].splitlines()) <= 1
    assert len(told.stories[0]) < 300


def test_without_p_values_the_words_name_none() -> None:
    plain = replace(evaluation(), p_value=None, q_value=None)
    told = explain(RULE, plain, EVIDENCE, ALERT, Kind.FIRED)
    assert told.lines[1] == "How unusual: even a day 3 times as busy as usual would bring fewer."
    for reason in Reason:
        assert "by chance" not in sentence(RULE, replace(plain, reason=reason))


def test_each_reason_has_a_sentence_of_its_own() -> None:
    sentences = [sentence(RULE, replace(evaluation(), reason=reason)) for reason in Reason]
    assert len(set(sentences)) == len(Reason)
    assert sentence(RULE, evaluation()) == (
        "14 of 20 stories in 6 h are negative, where 0.9 are usual; by chance that comes less than once in a million"
        " such windows, and even a day 3 times as busy as usual would bring fewer"
    )


def test_an_alert_that_nothing_watches_any_more_says_so() -> None:
    over = replace(ALERT, state=State.RESOLVED, resolved_minute=START + 60, title="Acme: 14 negative stories")
    told = explain_gone(over)
    assert told.title == "No longer watched: Acme: 14 negative stories"
    assert told.lines == (
        "No rule company-day watches ticker:ACME any more, so this alert ends without a verdict.",
        "Since: 2023-03-10 17:21 UTC, ended 2023-03-10 18:21 UTC after 1 h.",
    )


def test_odds_are_round_and_no_past_is_asked_for_more_than_it_can_say() -> None:
    def odds(p_value: float) -> str:
        return sentence(RULE, replace(evaluation(), p_value=p_value)).partition("that comes ")[2].partition(",")[0]

    assert odds(0.0013).startswith("about once in 800 such windows")
    assert odds(0.25).startswith("in 25% of such windows")
    assert odds(0.00002) == "about once in 50"  # thousand
    assert odds(0.0).startswith("less than once in a million")


def test_a_window_without_a_story_is_said_to_be_empty() -> None:
    over = replace(ALERT, state=State.RESOLVED, resolved_minute=START + 60)
    empty = replace(evaluation(), observed=0.0, volume=0.0, reason=Reason.TOO_FEW)
    assert explain(RULE, empty, Evidence(), over, Kind.RESOLVED).lines[0] == "Now: no story in 6 h."
    lone = replace(empty, observed=1.0, volume=1.0)
    assert explain(RULE, lone, Evidence(), over, Kind.RESOLVED).lines[0].startswith("Now: 1 of 1 story in 6 h is negat")
