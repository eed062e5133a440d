"""A backtest decides what the live service decided, alert for alert and notification for notification."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

import writing
from databases import migrated_sqlite
from history import COMPANIES, START, Item, columns_of
from sentiment_monitor.backtest.book import Book
from sentiment_monitor.backtest.columns import Columns, load
from sentiment_monitor.backtest.reader import ColumnArchive, ColumnReader
from sentiment_monitor.backtest.replay import Said, nobody, replay
from sentiment_monitor.backtest.said import Respected
from sentiment_monitor.detect.rules import CountRule, Rule
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain.alerts import Notification, Telling
from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.domain.people import Acknowledgement, Closing, People, Silence, Verdict
from sentiment_monitor.store import schema
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.people import recorded
from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS
from sentiment_monitor.watch.clocks import EventClock
from sentiment_monitor.watch.deliver import Delivery, Receivers
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.past import Past
from sentiment_monitor.watch.reader import StoreReader
from sentiment_monitor.watch.tick import Ticker
from sentiment_monitor.watch.turn import Decider
from sentiment_monitor.watch.window import SeriesPlaces
from writing import Alerts

SHORT = CountRule(
    name="short",
    window_minutes=20,
    baseline_days=1,
    warmup_minutes=120,
    min_negative=3,
    alpha=0.1,
    for_minutes=4,
    keep_firing_minutes=15,
    max_staleness_minutes=8,
)
MOOD = CountRule(
    name="mood",
    basis="share",
    dimensions=("all", "source"),
    window_minutes=90,
    baseline_days=1,
    warmup_minutes=240,
    min_negative=5,
    min_ratio=1.2,
    alpha=0.05,
    keep_firing_minutes=30,
)
TOLD = Telling(("desk", "risk"), repeat_minutes=10)
NOTIFIERS = {"desk": ("log", "hook"), "risk": ("log",)}


def _decider(rules: Sequence[Rule]) -> Decider:
    return Decider(
        rules=rules,
        routes=Routes({rule.name: TOLD for rule in rules}, NOTIFIERS),
        external_url="https://desk.example",
        names={"A": "Acme"},
    )


def _news(seed: int, minutes: int, pace: float) -> list[Item]:
    """Minute, company, source and label: an ordinary feed with gaps, and bursts of bad news that come and go."""
    rng = random.Random(seed)
    stories = []
    trouble = ("", 0)
    minute = 0
    while minute < minutes:
        minute += 1 + int(rng.expovariate(1 / pace))
        if rng.random() < 0.01:
            minute += rng.randrange(30, 200)
        if rng.random() < 0.02:
            trouble = (rng.choice(COMPANIES), minute + rng.randrange(10, 90))
        company, until = trouble
        if minute < until and rng.random() < 0.7:
            stories.append(
                Item(minute, company, f"s{rng.randrange(3)}", rng.choice(("negative", "negative", "neutral")))
            )
        else:
            label = rng.choices(("negative", "neutral", "positive"), (10, 70, 20))[0]
            stories.append(Item(minute, rng.choice(COMPANIES), f"s{rng.randrange(3)}", label))
    return [story for story in stories if story[0] < minutes]


def _every_minute(columns: Columns, decider: Decider, first: int, last: int, said: Said = nobody) -> Book:
    book = Book()
    reader = ColumnReader(columns, ColumnArchive(columns, book.fired_since))
    for minute in range(first, last + 1):
        book.apply(
            minute, decider.turn(minute, book.situation(), said(minute, book), reader, book.newest_events).changes
        )
    return book


def _written(book: Book) -> list[Any]:
    return [
        (
            entry.alert.rule, entry.alert.series, entry.alert.severity, entry.alert.state, entry.alert.title,
            entry.alert.pending_minute, entry.alert.fired_minute, entry.alert.resolved_minute, entry.alert.quiet_minute,
            entry.events, entry.notifications,
        )
        for entry in book.entries.values()
    ]  # fmt: skip


def _people(seed: int) -> Said:
    """People who silence a company for hours, take on every third alert and end every fifth, soon after it fired."""
    rng = random.Random(seed)
    begin = START + rng.randrange(DAY_MINUTES)
    silence = Silence(1, (Matcher.of(f'series="ticker:{rng.choice(COMPANIES)}"'),), begin, begin + 300, "ann", "")
    pause = rng.randrange(1, 40)

    def said(minute: int, book: Book) -> People:
        later = {
            number: alert
            for number, alert in book.followed().items()
            if alert.fired_minute is not None and alert.open and minute >= alert.fired_minute + pause
        }
        return People(
            (silence,),
            {number: Acknowledgement(number, minute, "ann", "") for number in later if number % 3 == 0},
            {number: Closing(number, minute, "bo", Verdict.RESOLVED, "") for number in later if number % 5 == 0},
        )

    return said


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 10**6), pace=st.sampled_from((2.0, 4.0, 12.0)), heard=st.booleans())
def test_deciding_where_something_stirs_is_deciding_every_minute(seed: int, pace: float, heard: bool) -> None:
    columns = columns_of(_news(seed, DAY_MINUTES, pace))
    decider = _decider((SHORT, MOOD))
    first, last = START + DAY_MINUTES // 6, START + DAY_MINUTES
    said = _people(seed) if heard else nobody
    replayed = replay(columns, decider, first, last, said=said)
    assert _written(replayed) == _written(_every_minute(columns, decider, first, last, said))


def test_the_feed_of_that_test_raises_alerts_that_repeat_and_resolve() -> None:
    books = [
        replay(columns_of(_news(seed, DAY_MINUTES, 4.0)), _decider((SHORT, MOOD)), START, START + DAY_MINUTES)
        for seed in range(6)
    ]
    entries = [entry for book in books for entry in book.entries.values()]
    kinds = {event.transition.value for entry in entries for event in entry.events}
    assert kinds == {"pending", "dropped", "fired", "repeated", "resolved", "reopened"}
    assert {entry.alert.rule for entry in entries} == {"short", "mood"}


def test_weeks_that_have_a_rhythm_are_replayed_alike() -> None:
    """From two weeks of history on the usual depends on the hour, and moves while no story comes."""
    rng = random.Random(3)
    stories = [
        story
        for story in _news(8, 18 * DAY_MINUTES, 12.0)
        if rng.random() < (1.0 if 8 <= story.minute // 60 % 24 < 18 else 0.2)
    ]
    columns = columns_of(stories)
    decider = _decider(
        [
            CountRule(name="hour", baseline_days=17, min_negative=3, alpha=0.05),
            CountRule(name="mood", basis="share", dimensions=("all",), window_minutes=200, baseline_days=17,
                      min_negative=5, min_ratio=1.2, alpha=0.05),
        ]
    )  # fmt: skip
    first, last = START + 16 * DAY_MINUTES, START + 18 * DAY_MINUTES
    replayed = _written(replay(columns, decider, first, last))
    assert replayed == _written(_every_minute(columns, decider, first, last))
    assert replayed


# -- against the live service -----------------------------------------------------------------------------


class _Live:
    """A database, and the live tick loop on it that may die at any time."""

    def __init__(self, folder: Path) -> None:
        self.database = migrated_sqlite(folder / "live.sqlite")
        self.alerts = Alerts(self.database)
        self.news = writing.Desk(self.database)
        self.now_ms = START * MINUTE_MS
        self.lives = 0
        self._closed: set[int] = set()
        self.begin()

    def begin(self) -> None:
        """A new process: of the one before only the database is left."""
        self.lives += 1
        self.now_ms += 3_600_000  # the lease of the dead one has run out
        leadership = Leadership(self.alerts.leases, f"life {self.lives}", 60_000, lambda: self.now_ms, lambda: 0.0)
        ticker = Ticker(
            database=self.database,
            alerts=self.alerts,
            rules=(SHORT, MOOD),
            routes=Routes({"short": TOLD, "mood": TOLD}, NOTIFIERS),
            external_url="https://desk.example",
            names={"A": "Acme"},
        )
        receivers: Receivers = {}
        self.clock = EventClock(
            ticker,
            Delivery(self.alerts.outbox, receivers, leadership, now_ms=lambda: self.now_ms, give_up_ms=0),
            leadership,
            self.database,
            rules=(SHORT, MOOD),
            now_ms=lambda: self.now_ms,
        )

    def write(self, stories: Sequence[Item]) -> None:
        self.news.write(
            *(
                writing.scored(
                    str(self.news.next + n),
                    headline=f"{company} story {self.news.next + n}",
                    source=source,
                    minute=START + minute,
                    label=label,
                    topic=None,
                    tickers=(company,),
                )
                for n, (minute, company, source, label) in enumerate(stories)
            )
        )

    def people_speak(self, minute: int, number: int) -> None:
        """Somebody silences a company, takes on the oldest alert or ends the newest, from ``minute`` on."""
        said = {"at_ms": self.now_ms}
        alerts = sorted(alert.id or 0 for alert in self.alerts.open() if alert.open)
        closed = self._closed & set(alerts)
        with self.database.write() as connection:
            if number % 4 == 1:
                matchers = json.dumps([f'series="ticker:{COMPANIES[number % 8]}"'])
                words = {"author": "ann", "comment": "", "starts_minute": minute, "ends_minute": minute + 90}
                connection.execute(insert(schema.silences).values(said | words | {"matchers": matchers}))
            if alerts and number % 2 == 0:
                owner = None if number % 3 == 0 else "ann"
                words = {"alert_id": alerts[0], "minute": minute, "actor": "ann", "owner": owner, "note": ""}
                connection.execute(insert(schema.acknowledgements).values(said | words))
            if alerts and number % 3 == 2 and alerts[-1] not in closed:
                self._closed.add(alerts[-1])
                words = {"alert_id": alerts[-1], "minute": minute, "actor": "bo", "verdict": "dismissed"}
                connection.execute(insert(schema.closings).values(said | words | {"reason": "an old story"}))

    def written(self) -> list[Any]:
        """In the form of ``_written``."""
        return _stored(self.database, self.alerts)


def _stored(database: Database, alerts: Alerts) -> list[Any]:
    sent = schema.notifications
    columns = ("receiver", "notifier", "idempotency_key", "title", "body", "payload")
    with database.read() as connection:
        numbers = list(connection.scalars(select(schema.alerts.c.id).order_by(schema.alerts.c.id)))
        keys: dict[int, list[Any]] = {}
        for row in connection.execute(select(sent).order_by(sent.c.id)).mappings():
            keys.setdefault(row["event_id"], []).append(tuple(row[name] for name in columns))
    entries = []
    for number in numbers:
        history = alerts.history(number)
        assert history is not None
        alert = history.alert
        entries.append(
            (
                alert.rule, alert.series, alert.severity, alert.state, alert.title, alert.pending_minute,
                alert.fired_minute, alert.resolved_minute, alert.quiet_minute,
                [(event.transition, event.minute, event.reason, event.observed, event.volume, event.expected,
                  event.p_value, event.q_value, event.evidence, event.explanation) for event in history.events],
                [notification for event in history.events for notification in keys.get(event.id or 0, [])],
            )
        )  # fmt: skip
    return entries


def _sent(sent: Notification) -> tuple[str, ...]:
    return sent.receiver, sent.notifier, sent.key, sent.title, sent.text, sent.body.decode()


def _comparable(book: Book) -> list[Any]:
    return [
        (
            *row[:9],
            [(event.transition, event.minute, event.reason, event.observed, event.volume, event.expected,
              event.p_value, event.q_value, event.evidence, event.explanation) for event in row[9]],
            [_sent(notification) for _, notification in row[10]],
        )
        for row in _written(book)
    ]  # fmt: skip


@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), deaths=st.sets(st.integers(0, 9), max_size=3), late=st.booleans())
def test_a_backtest_decides_what_a_live_run_decided_that_was_killed_and_resumed_while_people_said_something(
    seed: int, deaths: set[int], late: bool
) -> None:
    stories = _news(seed, 2 * DAY_MINUTES // 3, 4.0)
    batches = [stories[n : n + 25] for n in range(0, len(stories), 25)]
    with tempfile.TemporaryDirectory() as folder:
        live = _Live(Path(folder))
        try:
            for number, batch in enumerate(batches):
                # Within the grace: out of order, but stored before its minute is decided.
                live.write(batch[::-1] if late else batch)
                if number in deaths:
                    live.begin()
                else:
                    live.clock.advance(START + batch[-1].minute)
                    live.people_speak(START + batch[-1].minute + 1, number)
            live.clock.finish()
            with live.database.read() as connection:
                columns = load(connection, 0, START + 2 * DAY_MINUTES)
                stored = live.alerts.by_id(range(1, 1_000))
                book = replay(
                    columns,
                    _decider((SHORT, MOOD)),
                    START,
                    START + stories[-1].minute + 1,
                    evidence=StoreReader(connection, live.alerts, Past(), SeriesPlaces()).evidence,
                    said=Respected(recorded(connection), stored),
                )
            assert _comparable(book) == live.written()
        finally:
            live.database.close()
