"""Who hears what over days: whatever fires, ends, worsens, is silenced or taken on, nobody is told twice or never."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sentiment_monitor.dispatch.cases import Dispatch, Hold
from sentiment_monitor.dispatch.decide import decide
from sentiment_monitor.dispatch.inhibit import Watch
from sentiment_monitor.dispatch.routes import Escalation, Route, Routes, Timetable, Wishes
from sentiment_monitor.domain.alert_states import Kind, State, Why
from sentiment_monitor.domain.alerts import Alert, Transition
from sentiment_monitor.domain.hearing import Cause, Held, Ledger, Mention, heard_of
from sentiment_monitor.domain.intervals import interval_of
from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.domain.people import Acknowledgement, People, Silence
from sentiment_monitor.times import DAY_MINUTES

NOON = 27_000_000 - 27_000_000 % DAY_MINUTES + DAY_MINUTES // 2
OFFICE = {"office": (interval_of({"times": ["08:00-18:00"]}, "UTC"),)}
REPEAT = 60
ROUTES = Routes(
    tellings={},
    notifiers=dict.fromkeys(("desk", "office", "hourly", "boss", "few"), ("log",)),
    root=Route(
        "desk",
        repeat_minutes=REPEAT,
        group_wait_minutes=2,
        escalate=(Escalation(30, "boss"),),
        children=(
            Route("office", goes_on=True, repeat_minutes=REPEAT),
            Route("hourly", goes_on=True, repeat_minutes=REPEAT, group_by=("dimension",)),
            Route("few", (Matcher.of("dimension=ticker"),), goes_on=True, repeat_minutes=0),
            Route("desk", repeat_minutes=REPEAT, group_wait_minutes=2, escalate=(Escalation(30, "boss"),)),
        ),
    ),
    wishes={
        "office": Wishes(timetable=Timetable(active=OFFICE)),
        "hourly": Wishes(digest_minutes=60),
        "few": Wishes(most_a_day=2),
    },
    watches={"hour": Watch(60, "count"), "day": Watch(1_440, "count"), "quiet": Watch(60, "silence")},
    groups={"ticker:A": frozenset({"group:banks"}), "ticker:B": frozenset({"group:banks"})},
)
BEGINNINGS = (Cause.FIRED, Cause.JOINED, Cause.LATE, Cause.ESCALATED, Cause.WORSENED)
series = st.sampled_from(("all", "group:banks", "ticker:A", "ticker:B", "topic:credit"))
rules = st.sampled_from(("hour", "day", "quiet"))
severities = st.sampled_from(("warning", "critical"))


class Telling(RuleBasedStateMachine):
    """Alerts that come and go, and the book of what was told."""

    def __init__(self) -> None:
        super().__init__()
        self.minute = NOON
        self.alerts: dict[int, Alert] = {}
        self.transitions: dict[int, Transition] = {}  # of the minute that comes
        self.mentions: dict[int, list[Mention]] = defaultdict(list)
        self.held: dict[int, dict[str, Held]] = {}
        self.silences: list[Silence] = []
        self.taken: dict[int, Acknowledgement] = {}
        self.last = Dispatch((), ())
        self.seen: list[Alert] = []

    @property
    def book(self) -> Ledger:
        """As a new process reads it."""
        spent: dict[str, tuple[int, ...]] = {}
        for mentions in self.mentions.values():
            for receiver in {mention.receiver for mention in mentions}:
                first = min(mention.minute for mention in mentions if mention.receiver == receiver)
                spent[receiver] = (*spent.get(receiver, ()), first)
        heard = {number: heard_of(mentions) for number, mentions in self.mentions.items()}
        return Ledger(heard, spent, self.held)

    def _open(self) -> list[int]:
        return [number for number, kept in self.alerts.items() if kept.open]

    @rule(series=series, name=rules, severity=severities)
    def an_alert_fires(self, series: str, name: str, severity: str) -> None:
        if any(self.alerts[number].rule == name and self.alerts[number].series == series for number in self._open()):
            return
        number = len(self.alerts) + 1
        self.alerts[number] = Alert(
            name, series, severity, State.FIRING, pending_minute=self.minute, fired_minute=self.minute, id=number
        )
        self.transitions[number] = Transition(Kind.FIRED, self.minute, Why.BEYOND)
        self.a_minute_is_decided()

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def an_alert_ends(self, data: Any) -> None:
        number = data.draw(st.sampled_from(self._open()))
        self.alerts[number] = replace(self.alerts[number], state=State.RESOLVED, resolved_minute=self.minute)
        self.transitions[number] = Transition(Kind.RESOLVED, self.minute, Why.RECOVERED)
        self.a_minute_is_decided()

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def an_alert_gets_worse(self, data: Any) -> None:
        number = data.draw(st.sampled_from(self._open()))
        self.alerts[number] = replace(self.alerts[number], severity="critical")

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def an_alert_calms_down_or_flares_up(self, data: Any) -> None:
        number = data.draw(st.sampled_from(self._open()))
        kept = self.alerts[number]
        self.alerts[number] = replace(kept, quiet_minute=None if kept.quiet_minute else self.minute)

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def somebody_takes_an_alert_on(self, data: Any) -> None:
        number = data.draw(st.sampled_from(self._open()))
        self.taken[number] = Acknowledgement(number, self.minute, "ada", "")

    @rule(series=series, minutes=st.sampled_from((5, 90)))
    def somebody_silences_a_series(self, series: str, minutes: int) -> None:
        matcher = Matcher.of(f'series="{series}"')
        silence = Silence(len(self.silences) + 1, (matcher,), self.minute, self.minute + minutes, "ada", "known")
        self.silences.append(silence)

    @rule(minutes=st.sampled_from((1, 4, 31)))
    def time_passes(self, minutes: int) -> None:
        for _ in range(minutes):
            self.a_minute_is_decided()

    @rule(minutes=st.sampled_from((10, 400)))
    def nobody_decides_for_a_while(self, minutes: int) -> None:
        self.minute += minutes
        self.a_minute_is_decided()

    def a_minute_is_decided(self) -> None:
        people = People(tuple(silence for silence in self.silences if silence.ends_minute > self.minute), self.taken)
        pairs = [(kept, self.transitions.get(number)) for number, kept in self.alerts.items()]
        book = self.book
        dispatch = decide(self.minute, ROUTES, book, pairs, people)
        assert dispatch == decide(self.minute, ROUTES, book, reversed(pairs), people)
        self.last, self.seen = dispatch, [kept for kept, _ in pairs]
        for message in dispatch.messages:
            for part in message.parts:
                assert part.alert.id is not None
                self._check(message.receiver, part.alert, part.cause)
                self.mentions[part.alert.id].append(message.mention(part, self.minute))
        self.held = {}
        for held in dispatch.held:
            if not held.reason.idle and held.alert.id is not None:
                self.held.setdefault(held.alert.id, {})[held.receiver] = Held(held.reason, held.detail)
        self.transitions.clear()
        self.minute += 1

    def _check(self, receiver: str, kept: Alert, cause: Cause) -> None:
        """One alert in one message, against all that the receiver has heard of it before."""
        assert kept.id is not None
        before = [mention for mention in self.mentions[kept.id] if mention.receiver == receiver]
        assert Cause.RESOLVED not in [mention.cause for mention in before], "told of after its end"
        if cause is Cause.RESOLVED:
            assert before, "an end without a beginning"
            assert not kept.open
            return
        assert kept.open
        if cause is Cause.REPEATED:
            assert self.minute - before[-1].minute >= REPEAT
            assert kept.id not in self.taken
            assert receiver != "few"
        elif cause is Cause.NAMED:
            assert before
        elif cause is Cause.WORSENED and before:
            assert all(mention.severity != "critical" for mention in before)
        else:
            assert not before, f"{cause} though it has heard"
        if cause is not Cause.NAMED and cause is not Cause.REPEATED and kept.id in self.taken:
            assert cause is not Cause.ESCALATED
        if receiver == "office" and kept.severity != "critical" and cause is not Cause.NAMED:
            assert 8 * 60 <= self.minute % DAY_MINUTES < 18 * 60

    @invariant()
    def each_alert_and_receiver_is_told_of_or_held_back_once(self) -> None:
        news = [
            (part.alert.id, message.receiver)
            for message in self.last.messages
            for part in message.parts
            if part.cause is not Cause.NAMED
        ]
        spoken_of = news + [(held.alert.id, held.receiver) for held in self.last.held]
        assert len(set(spoken_of)) == len(spoken_of)
        for kept in self.seen:
            for way in ROUTES.ways(kept):
                assert (kept.id, way.receiver) in spoken_of

    @invariant()
    def a_receiver_has_one_message_a_group_and_minute(self) -> None:
        groups = [(message.receiver, message.group) for message in self.last.messages]
        assert len(set(groups)) == len(groups)

    def teardown(self) -> None:
        """Silences end, the office opens, and after some hours nobody waits for anything."""
        self.minute += 90 + (NOON - self.minute) % DAY_MINUTES
        for _ in range(75):
            self.a_minute_is_decided()
        for number, kept in self.alerts.items():
            knowing = {mention.receiver for mention in self.mentions[number]}
            ended = {mention.receiver for mention in self.mentions[number] if mention.cause is Cause.RESOLVED}
            assert ended == (set() if kept.open else knowing), f"{kept} ended for {ended}, told to {knowing}"
            for held in self.last.held:
                if held.alert == kept and kept.open and held.receiver not in {*knowing, "boss"}:
                    assert held.reason in (Hold.INHIBITED, Hold.COVERED, Hold.OVER_BUDGET), held


Telling.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTelling = Telling.TestCase
