"""One turn of the tick loop: decided once, in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

import writing
from databases import migrated_sqlite
from sentiment_monitor.detect.rules import CountRule, CusumRule, Rule
from sentiment_monitor.dispatch.routes import Routes, Wishes
from sentiment_monitor.domain.alerts import TOP_STORIES, Telling
from sentiment_monitor.domain.payload import decode
from sentiment_monitor.domain.people import Verdict
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store import people
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.schema import alert_events, buckets, notifications
from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS, rfc3339
from sentiment_monitor.watch.tick import Ticker
from writing import Alerts

START = 27_974_400
NOW = START * MINUTE_MS
RULE = CountRule(
    name="short",
    dimensions=("ticker",),
    window_minutes=10,
    baseline_days=1,
    warmup_minutes=120,
    min_negative=3,
    min_sources=2,
    keep_firing_minutes=15,
    max_staleness_minutes=8,
)
TELLING = Telling(("a", "b"))
NOTIFIERS = {"a": ("log",), "b": ("log",)}


class Desk:
    """A database with two quiet hours of news, and the ticker that watches it."""

    def __init__(self, folder: Path, agencies: int = 3) -> None:
        self.agencies = agencies
        self.database = migrated_sqlite(folder / "a.sqlite")
        self.alerts = Alerts(self.database)
        self.news = writing.Desk(self.database)
        for minute in range(0, 240, 3):
            self.story(minute, "neutral", "ABCD"[minute % 4])

    def ticker(
        self,
        rules: Sequence[Rule] = (RULE,),
        telling: Telling = TELLING,
        notifiers: Mapping[str, tuple[str, ...]] = NOTIFIERS,
    ) -> Ticker:
        return Ticker(
            database=self.database,
            alerts=self.alerts,
            rules=rules,
            routes=Routes({rule.name: telling for rule in rules}, notifiers),
            external_url="https://desk.example",
            names={"A": "Acme"},
        )

    def told(self) -> list[tuple[str, str, str]]:
        """Receiver, notifier and reason of every notification, in the order they were made."""
        queue = [due.notification for due in self.alerts.due(NOW)]
        return [(told.receiver, told.notifier, decode(told.body).alerts[0].sentiment.reason) for told in queue]

    def events(self) -> list[str]:
        """Transition and reason of every event."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(alert_events.c.transition, alert_events.c.reason).order_by(alert_events.c.id)
            )
            return [f"{transition}: {reason}" for transition, reason in rows]

    def story(self, minute: int, label: str, ticker: str = "A") -> None:
        n = self.news.next
        self.news.write(
            writing.scored(
                str(n), source=f"s{n % self.agencies}", minute=START + minute, label=label, tickers=(ticker,)
            )
        )

    def lease(self, holder: str = "me", now: int = NOW) -> Lease:
        found = self.alerts.leases.acquire(holder, now, 1_000)
        assert found is not None
        return found

    def rows(self, table: Any) -> int:
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path)
    yield one
    one.database.close()


def _burst(desk: Desk) -> None:
    for n in range(6):
        desk.story(240 + n, "negative")


def test_a_burst_of_bad_news_fires_once_and_tells_every_receiver(desk: Desk) -> None:
    _burst(desk)
    report = desk.ticker().tick(START + 246, desk.lease(), NOW)
    assert (report.fired, report.open) == (1, 1)
    assert desk.told() == [("a", "log", "fired: spike_mood"), ("b", "log", "fired: spike_mood")]
    notification = desk.alerts.due(NOW)[0].notification
    (alert,) = decode(notification.body).alerts
    assert (alert.sentiment.series, alert.sentiment.observed) == ("ticker:A", 6)
    assert "Acme" in notification.title
    assert {story.headline for story in alert.sentiment.top_stories} <= {f"story {n}" for n in range(80, 86)}
    assert (desk.rows(alert_events), desk.rows(notifications)) == (1, 2)


def test_evidence_is_of_the_span_that_the_figures_are_of(desk: Desk) -> None:
    """A rule that remembers looks further back than its window; what the window alone shows rests on the window."""
    desk.story(210, "negative")
    for minute in (240, 241, 242, 243):
        desk.story(minute, "negative")
    shared = {name: value for name, value in vars(RULE).items() if name not in ("basis", "kind")}
    rule = CusumRule(**shared, memory_windows=4)
    desk.ticker([rule]).tick(START + 247, desk.lease(), NOW)
    (alert,) = desk.alerts.listing()
    assert alert.id is not None
    history = desk.alerts.history(alert.id)
    assert history is not None
    (event,) = history.events
    span = int(event.evidence.statistics["span_minutes"])
    told = [story.published_at for story in event.evidence.top_stories]
    assert len(told) == min(TOP_STORIES, int(event.observed))
    assert min(told) >= rfc3339((START + 247 - span) * MINUTE_MS)
    assert span < 40


def test_a_feed_of_one_agency_pages(tmp_path: Path) -> None:
    desk = Desk(tmp_path, agencies=1)
    try:
        for n in range(4):
            desk.story(240 + n, "negative")
        assert desk.ticker().tick(START + 246, desk.lease(), NOW).fired == 1
    finally:
        desk.database.close()


def test_a_tick_sees_the_minutes_before_it_and_not_its_own(desk: Desk) -> None:
    for _ in range(6):
        desk.story(240, "negative")
    ticker = desk.ticker()
    assert ticker.tick(START + 240, desk.lease(), NOW).fired == 0
    assert ticker.tick(START + 241, desk.lease(), NOW).fired == 1


def test_a_minute_that_was_decided_is_not_decided_again_by_anyone(desk: Desk) -> None:
    _burst(desk)
    ticker = desk.ticker()
    ticker.tick(START + 246, desk.lease(), NOW)
    for again in (ticker, desk.ticker()):
        for minute in (START + 246, START + 240):
            assert again.tick(minute, desk.lease(), NOW).fired == 0
    assert desk.rows(alert_events) == 1


def test_a_restart_continues_the_alert_and_does_not_fire_it_again(desk: Desk) -> None:
    _burst(desk)
    for minute in range(246, 290, 2):  # the feed goes on: without any story nothing would be said
        desk.story(minute, "neutral", "B")
    for minute in range(246, 290):
        desk.ticker().tick(START + minute, desk.lease(), NOW)
    with desk.database.read() as connection:
        kinds = list(connection.scalars(select(alert_events.c.transition).order_by(alert_events.c.id)))
    assert kinds == ["fired", "resolved"]


def test_a_ticker_that_lost_its_lease_leaves_nothing_behind(desk: Desk) -> None:
    _burst(desk)
    lease = desk.lease()
    desk.lease("another", NOW + 1_000)
    with pytest.raises(Fenced):
        desk.ticker().tick(START + 246, lease, NOW)
    assert (desk.rows(alert_events), desk.rows(notifications), desk.alerts.open()) == (0, 0, [])


def test_a_fenced_tick_may_run_again_under_a_new_lease(desk: Desk) -> None:
    _burst(desk)
    ticker = desk.ticker()
    lease = desk.lease()
    other = desk.lease("another", NOW + 1_000)
    with pytest.raises(Fenced):
        ticker.tick(START + 246, lease, NOW)
    desk.alerts.leases.release(other)
    assert ticker.tick(START + 246, desk.lease(now=NOW + 2_000), NOW).fired == 1


def test_old_news_never_pages(desk: Desk) -> None:
    for _ in range(6):
        desk.story(240, "negative")
    assert desk.ticker().tick(START + 249, desk.lease(), NOW).fired == 0


def _fire(desk: Desk) -> None:
    """A burst at minute 240, decided at 246, and a feed that goes on about others."""
    _burst(desk)
    for minute in range(247, 420, 2):
        desk.story(minute, "neutral", "B")
    assert desk.ticker().tick(START + 246, desk.lease(), NOW).fired == 1


def _said(desk: Desk, number: int) -> tuple[str, str]:
    """Title and text of the newest notification of an alert."""
    with desk.database.read() as connection:
        row = connection.execute(
            select(notifications.c.title, notifications.c.body)
            .join(alert_events, alert_events.c.id == notifications.c.event_id)
            .where(alert_events.c.alert_id == number)
            .order_by(notifications.c.id.desc())
            .limit(1)
        ).one()
    return row.title, row.body


def _close(desk: Desk, number: int, verdict: Verdict = Verdict.RESOLVED) -> None:
    with desk.database.write() as connection:
        assert people.close(connection, number, "ann", verdict, "a namesake", NOW)


def test_an_alert_that_somebody_dismissed_ends_with_the_next_tick_and_says_who_and_why(desk: Desk) -> None:
    _fire(desk)
    _close(desk, 1, Verdict.DISMISSED)
    report = desk.ticker().tick(START + 247, desk.lease(), NOW)
    assert (report.resolved, report.open) == (1, 1)  # nobody is told of it any more, but it is followed
    assert desk.events() == ["fired: spike_mood", "resolved: dismissed"]
    title, text = _said(desk, 1)
    assert title == "Dismissed as false: negative news on Acme (A)"
    assert "Dismissed as false by ann: a namesake" in text


def test_what_somebody_ended_is_not_raised_again_by_the_same_spike_whoever_leads(desk: Desk) -> None:
    _fire(desk)
    _close(desk, 1)
    for minute in range(247, 275):  # the spike is in the window until 256, and quiet for 15 minutes after that
        desk.story(minute - 1, "negative", "B" if minute < 252 else "C")
        report = desk.ticker().tick(START + minute, desk.lease(), NOW)
        assert report.fired == 0 or desk.alerts.open()[-1].series != "ticker:A"
    assert [event for event in desk.events() if "closed" in event] == ["resolved: closed"]
    assert not [kept for kept in desk.alerts.open() if kept.series == "ticker:A"]
    for n in range(6):
        desk.story(275 + n, "negative")
    desk.ticker().tick(START + 281, desk.lease(), NOW)
    assert [kept.series for kept in desk.alerts.open() if kept.open].count("ticker:A") == 1


def test_what_somebody_ended_is_raised_again_when_it_is_twice_as_bad(desk: Desk) -> None:
    _fire(desk)
    _close(desk, 1)
    desk.ticker().tick(START + 247, desk.lease(), NOW)
    for _ in range(5):
        desk.story(247, "negative")
    assert desk.ticker().tick(START + 248, desk.lease(), NOW).fired == 0  # eleven of the six
    desk.story(248, "negative")
    assert desk.ticker().tick(START + 249, desk.lease(), NOW).fired == 1
    assert [(kept.id, kept.lingering) for kept in desk.alerts.open()] == [(2, False)]


def test_an_alert_that_fires_again_soon_is_the_same_and_those_who_heard_of_its_end_hear_it_is_back(desk: Desk) -> None:
    _fire(desk)
    _run(desk.ticker(), desk, 247, 280)  # over at 272: in the window until 256, and quiet for 15 minutes
    assert desk.events() == ["fired: spike_mood", "resolved: recovered"]
    for n in range(6):
        desk.story(280 + n, "negative")
    reports = [desk.ticker().tick(START + minute, desk.lease(), NOW) for minute in range(281, 300)]
    assert (sum(report.fired for report in reports), sum(report.reopened for report in reports)) == (0, 1)
    (alert,) = desk.alerts.open()
    assert (alert.id, alert.reopenings, alert.recovering) == (1, 1, True)
    assert desk.events()[2:] == ["reopened: spike_mood"]
    title, text = _said(desk, 1)
    assert title.startswith("Again: ")
    assert "it was over, and is back since" in text
    with desk.database.read() as connection:
        receivers = list(connection.scalars(select(notifications.c.receiver).order_by(notifications.c.id)))
    assert receivers == ["a", "b"] * 3


def test_an_alert_whose_rule_is_gone_too_ends_by_the_word_of_whoever_ended_it(desk: Desk) -> None:
    _fire(desk)
    _close(desk, 1, Verdict.DISMISSED)
    renamed = desk.ticker([replace(RULE, name="other", series=("ticker:Z",))])
    renamed.tick(START + 247, desk.lease(), NOW)
    assert desk.events()[-1] == "resolved: dismissed"
    assert "by ann: a namesake" in _said(desk, 1)[1]
    renamed.tick(START + 248, desk.lease(), NOW)
    assert desk.alerts.open() == []


def _run(ticker: Ticker, desk: Desk, first: int, last: int) -> None:
    for minute in range(first, last + 1):
        ticker.tick(START + minute, desk.lease(), NOW)


def test_an_alert_whose_rule_is_gone_ends_and_those_who_know_of_it_hear_why(desk: Desk) -> None:
    _fire(desk)
    renamed = replace(RULE, name="other")
    ticker = desk.ticker([renamed])
    assert ticker.tick(START + 247, desk.lease(), NOW).resolved == 1
    _run(ticker, desk, 248, 252)  # the group was told of at minute 246: its next message comes five minutes later
    assert [alert.rule for alert in desk.alerts.open()] in ([], ["other"])
    assert "resolved: rule_gone" in desk.events()
    assert [told for told in desk.told() if not told[2].startswith("fired")] == []  # "fired" is not sent yet: in order
    for due in desk.alerts.due(NOW):
        desk.alerts.outbox.record_sent(due.id, NOW)
    assert [told[:2] for told in desk.told()] == [("a", "log"), ("b", "log")]
    last = desk.alerts.due(NOW)[0].notification
    new, alert = decode(last.body).alerts  # one message: what the other rule says of it, and that this rule is gone
    assert (new.status, new.labels["alertname"]) == ("firing", "other")
    assert (alert.status, alert.sentiment.window_minutes, alert.sentiment.observed) == ("resolved", None, 6)
    assert alert.sentiment.reason == "resolved: rule_gone"
    assert "No rule short watches ticker:A any more" in last.text


def test_an_alert_on_a_series_that_its_rule_no_longer_watches_ends_as_well(desk: Desk) -> None:
    _fire(desk)
    elsewhere = replace(RULE, series=("ticker:B",))
    assert desk.ticker([elsewhere]).tick(START + 247, desk.lease(), NOW).resolved == 1
    assert desk.alerts.open() == []


def test_a_series_whose_rule_is_gone_is_not_left_out_of_the_baseline_for_ever(desk: Desk) -> None:
    _fire(desk)
    desk.ticker([]).tick(START + 247, desk.lease(), NOW)
    assert desk.alerts.open() == []
    assert [alert.resolved_minute for alert in desk.alerts.fired_since(START)] == [START + 247]


def test_a_receiver_taken_off_a_rule_hears_that_the_alert_it_knows_of_is_over(desk: Desk) -> None:
    _fire(desk)
    _run(desk.ticker(telling=Telling(("a",))), desk, 247, 290)
    assert desk.events() == ["fired: spike_mood", "resolved: recovered"]
    for due in desk.alerts.due(NOW):
        desk.alerts.outbox.record_sent(due.id, NOW)
    assert [told[:2] for told in desk.told()] == [("a", "log"), ("b", "log")]


def test_a_receiver_that_joins_hears_once_of_what_fires_already(desk: Desk) -> None:
    _fire(desk)
    both = desk.ticker(telling=Telling(("a", "b", "c")), notifiers={**NOTIFIERS, "c": ("log", "webhook")})
    _run(both, desk, 247, 250)
    assert desk.events() == ["fired: spike_mood", "repeated: receiver_joined"]
    for due in desk.alerts.due(NOW):
        if due.notification.receiver != "c":
            desk.alerts.outbox.record_sent(due.id, NOW)
    assert [told[:2] for told in desk.told()] == [("c", "log"), ("c", "webhook")]


def test_a_firing_alert_is_told_again_when_that_is_due_and_each_time_later(desk: Desk) -> None:
    _fire(desk)
    for minute in range(246, 263):
        desk.story(minute, "negative")
    ticker = desk.ticker(telling=Telling(("a", "b"), repeat_minutes=5))
    _run(ticker, desk, 247, 260)
    assert desk.events() == ["fired: spike_mood", "repeated: repeat_due"]
    _run(ticker, desk, 261, 261)
    assert desk.events() == ["fired: spike_mood", "repeated: repeat_due", "repeated: repeat_due"]


def test_sources_in_an_alert_are_those_of_all_its_stories(tmp_path: Path) -> None:
    desk = Desk(tmp_path, agencies=251)
    try:
        for n in range(251):
            desk.story(240 + n % 5, "negative")
        desk.ticker().tick(START + 246, desk.lease(), NOW)
        (alert,) = decode(desk.alerts.due(NOW)[0].notification.body).alerts
        assert len(alert.sentiment.sources) == 251  # of the two hundred likeliest stories only, before
    finally:
        desk.database.close()


@pytest.mark.parametrize("pause", ["down", "silent"])
def test_a_pause_of_forty_minutes_does_not_end_an_alert(desk: Desk, pause: str) -> None:
    _burst(desk)
    talking = [*range(246, 258, 2), *range(298, 330, 2)]
    for minute in talking if pause == "silent" else range(246, 330, 2):
        desk.story(minute, "neutral", "B")
    ticker = desk.ticker()
    resolved = {}
    for minute in range(246, 330):
        if pause == "silent" or not 259 <= minute < 299:
            resolved[minute] = ticker.tick(START + minute, desk.lease(), NOW).resolved
    assert sum(resolved.values()) == 1
    assert 299 < next(minute for minute, ended in resolved.items() if ended) <= 318  # 299 is the first tick after it


def test_an_alert_of_a_clock_that_was_ahead_ends_by_the_clock_that_is_right(desk: Desk) -> None:
    _burst(desk)
    ticker = desk.ticker()
    assert ticker.tick(START + 246, desk.lease(), NOW).fired == 1
    resolved = sum(
        ticker.tick(START + minute, replace(desk.lease(), progress_minute=None), NOW).resolved
        for minute in range(200, 230)
    )
    assert resolved == 1


def test_a_briefing_is_given_once_also_after_a_restart_and_a_replay_gives_none(desk: Desk) -> None:
    _fire(desk)
    at = (START + 247) % DAY_MINUTES
    wishes = {"a": Wishes(briefings=(at,))}
    routes = Routes({RULE.name: TELLING}, NOTIFIERS, wishes=wishes)

    def ticker() -> Ticker:
        return Ticker(
            database=desk.database,
            alerts=desk.alerts,
            rules=(RULE,),
            routes=routes,
            external_url="",
            names={"A": "Acme"},
        )

    with desk.database.write() as connection:
        counts = {"stories": 9, "negative": 7, "neutral": 2, "positive": 0, "copies": 0}
        sums = {"negative_micro": 7_000_000, "score_micro": -7_000_000}
        connection.execute(insert(buckets).values(series="group:banks", minute=START + 240, **counts, **sums))
    ticker().tick(START + 246, desk.lease(), NOW)
    ticker().tick(START + 247, desk.lease(), NOW, changed=())
    assert not [due for due in desk.alerts.due(NOW) if due.notification.title.startswith("Briefing")]
    for minute in (248, 249):
        ticker().tick(START + minute, desk.lease(), NOW)
    (given,) = [due.notification for due in desk.alerts.due(NOW) if due.notification.title.startswith("Briefing")]
    assert (given.receiver, given.notifier) == ("a", "log")
    assert "Open:\n- " in given.text
    assert "- Acme (ticker:A): 6 negative of " in given.text
    assert "- group:banks: 7 negative of 9 stories; before: 0" in given.text


def test_old_news_is_kept_and_told_to_nobody_until_new_stories_come(desk: Desk) -> None:
    """As after an outage: three stories of minute 240 arrive when they are older than the rule allows."""
    ticker = desk.ticker()
    lease = desk.lease()
    ticker.tick(START + 247, lease, NOW)
    for _ in range(3):
        desk.story(240, "negative")
    report = ticker.tick(START + 249, lease, NOW)
    assert (report.fired, report.stale, report.messages, desk.told()) == (0, 1, 0, [])
    (alert,) = desk.alerts.listing()
    history = desk.alerts.history(alert.id or 0)
    assert history is not None
    assert (alert.stale, alert.shown_state) == (True, "firing (stale)")
    assert [(event.transition, event.reason, event.observed) for event in history.events] == [("fired", "stale", 3.0)]
    assert history.events[0].evidence.top_stories
    assert "Old news" in history.events[0].explanation
    assert [(kept.receiver, kept.reason, kept.until_minute) for kept in history.withheld] == [
        ("a", "stale", None),
        ("b", "stale", None),
    ]
    for _ in range(3):
        desk.story(249, "negative")
    report = ticker.tick(START + 250, lease, NOW)
    assert (report.fired, report.stale, report.messages) == (1, 0, 2)
    assert [(receiver, reason) for receiver, _, reason in desk.told()] == [
        ("a", "fired: spike_mood"),
        ("b", "fired: spike_mood"),
    ]
    (alert,) = desk.alerts.listing()
    history = desk.alerts.history(alert.id or 0)
    assert history is not None
    assert (alert.stale, alert.fired_minute) == (False, START + 250)
    assert {kept.until_minute for kept in history.withheld} == {START + 250}


def test_a_stale_alert_ends_without_a_word(desk: Desk) -> None:
    ticker = desk.ticker()
    lease = desk.lease()
    for _ in range(3):
        desk.story(240, "negative")
    for minute in range(249, 290):
        desk.story(minute, "neutral", "D")
        ticker.tick(START + minute, lease, NOW)
    (alert,) = desk.alerts.listing()
    history = desk.alerts.history(alert.id or 0)
    assert history is not None
    assert [event.transition for event in history.events] == ["fired", "resolved"]
    assert (history.deliveries, desk.told()) == ((), [])
    assert all(kept.until_minute is not None for kept in history.withheld)
