"""Lease, alerts, outbox and people together, in whichever order: replicas freeze, die and wake up, people interfere."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import func, select

import writing
from databases import migrated_sqlite
from sentiment_monitor.actions.alerts import acknowledge, close, unacknowledge
from sentiment_monitor.actions.silences import add_silence, expire
from sentiment_monitor.detect.rules import CountRule
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Telling
from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.domain.people import Verdict
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease, LeaseStore
from sentiment_monitor.store.outbox import Due
from sentiment_monitor.store.people import listed
from sentiment_monitor.store.schema import acknowledgements, alert_events, alerts, closings, leases, notifications
from sentiment_monitor.store.stops import Lane
from sentiment_monitor.times import MINUTE_MS
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.tick import Ticker
from writing import Alerts

START = 27_974_400
QUIET_MINUTES = 240
LEASE_MS = 3 * MINUTE_MS
RETRY_MS = 30 * MINUTE_MS
RULE = CountRule(
    name="short",
    dimensions=("ticker",),
    window_minutes=10,
    baseline_days=1,
    warmup_minutes=120,
    min_negative=3,
    min_sources=2,
    keep_firing_minutes=5,
    max_staleness_minutes=8,
)
REPEAT_MINUTES = 15
ROUTES = Routes(
    {RULE.name: Telling(("desk", "risk"), repeat_minutes=REPEAT_MINUTES)}, {"desk": ("log", "hook"), "risk": ("log",)}
)

replicas = st.sampled_from(("one", "two"))


@functools.cache
def _quiet_past() -> bytes:
    """A database file with some hours of ordinary news."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "quiet.sqlite"
        database = migrated_sqlite(file)
        writing.Desk(database).write(
            *(
                writing.scored(str(n), source=f"s{n % 3}", minute=START + n * 3, tickers=("AB"[n % 2],))
                for n in range(QUIET_MINUTES // 3)
            )
        )
        database.close()
        return file.read_bytes()


class Replica:
    """A process that may lead: what it holds of the lease, and its own memory of the alerts."""

    def __init__(self, name: str, world: World) -> None:
        self.leadership = Leadership(
            LeaseStore(world.database), name, LEASE_MS, lambda: world.now_ms, lambda: world.now_ms / 1000
        )
        self.ticker = Ticker(
            database=world.database, alerts=world.alerts, rules=(RULE,), routes=ROUTES, external_url="", names={}
        )
        self.asleep_with: Lease | None = None


class World(RuleBasedStateMachine):
    """Two replicas on one database, and a clock that both see."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "world.sqlite"
        file.write_bytes(_quiet_past())
        self.database = Database(f"sqlite:///{file}")
        self.alerts = Alerts(self.database)
        self.news = writing.Desk(self.database)
        self.now_ms = (START + QUIET_MINUTES) * MINUTE_MS
        self.replicas = {name: Replica(name, self) for name in ("one", "two")}
        self.sent: list[tuple[Lane, str]] = []  # in the order in which receivers saw them
        self.news_comes("A", 6, "negative")
        self.a_replica_ticks("one")

    @property
    def minute(self) -> int:
        return self.now_ms // MINUTE_MS

    # -- what happens ---------------------------------------------------------------------------------

    @rule(ticker=st.sampled_from("AB"), count=st.integers(3, 7), label=st.sampled_from(("negative", "neutral")))
    def news_comes(self, ticker: str, count: int, label: str) -> None:
        first = self.news.next
        self.news.write(
            *(
                writing.scored(str(n), source=f"s{n % 3}", minute=self.minute - 1, label=label, tickers=(ticker,))
                for n in range(first, first + count)
            )
        )

    @rule(name=replicas)
    def ordinary_news_comes_for_a_while(self, name: str) -> None:
        for _ in range(7):
            self.time_passes(3)
            self.news_comes("B", 3, "neutral")
            self.a_replica_ticks(name)

    @rule(minutes=st.sampled_from((1, 2, 6)))
    def time_passes(self, minutes: int) -> None:
        self.now_ms += minutes * MINUTE_MS

    @rule(name=replicas)
    def a_replica_ticks(self, name: str) -> None:
        replica = self.replicas[name]
        lease = replica.leadership.lease()
        if lease is not None:
            replica.ticker.tick(self.minute, lease, self.now_ms)

    @rule(name=replicas, minutes=st.sampled_from((0, 1, 6)))
    def a_replica_freezes_between_lease_and_tick(self, name: str, minutes: int) -> None:
        self.replicas[name].asleep_with = self.replicas[name].leadership.lease()
        self.time_passes(minutes)
        self.a_replica_ticks("one" if name == "two" else "two")

    @rule(name=replicas)
    def a_frozen_replica_goes_on(self, name: str) -> None:
        replica = self.replicas[name]
        lease, replica.asleep_with = replica.asleep_with, None
        if lease is None:
            return
        try:
            report = replica.ticker.tick(self.minute, lease, self.now_ms)
        except Fenced:
            assert lease.token < self._token(), "nobody has taken its lease"
        else:
            assert report.skipped or lease.token == self._token(), "a replica without the lease has decided"

    @rule(name=replicas)
    def a_replica_starts_anew(self, name: str) -> None:
        self.replicas[name] = Replica(name, self)

    @rule(name=replicas)
    def a_replica_leaves(self, name: str) -> None:
        self.replicas[name].leadership.release()

    # -- what people do -------------------------------------------------------------------------------

    @rule(data=st.data(), owner=st.sampled_from(("ada", "bob")))
    def somebody_takes_an_alert_on(self, data: st.DataObject, owner: str) -> None:
        if number := self._any_alert(data):
            acknowledge(self.database, owner, [number], owner=owner, note="", now_ms=self.now_ms)

    @rule(data=st.data())
    def somebody_gives_an_alert_up(self, data: st.DataObject) -> None:
        if number := self._any_alert(data):
            unacknowledge(self.database, "ada", [number], note="", now_ms=self.now_ms)

    @rule(data=st.data(), verdict=st.sampled_from(Verdict))
    def somebody_ends_an_alert(self, data: st.DataObject, verdict: Verdict) -> None:
        if number := self._any_alert(data):
            close(self.database, "ada", [number], author="ada", verdict=verdict, reason="so it is", now_ms=self.now_ms)

    @rule(ticker=st.sampled_from("AB"), minutes=st.sampled_from((2, 7, 30)))
    def somebody_silences_a_company(self, ticker: str, minutes: int) -> None:
        add_silence(
            self.database,
            "ada",
            matchers=(Matcher.of(f"series=ticker:{ticker}"),),
            author="ada",
            comment="expected",
            starts_minute=None,
            ends_minute=self.minute + 1 + minutes,
            now_ms=self.now_ms,
        )

    @rule(number=st.integers(1, 3))
    def somebody_expires_a_silence(self, number: int) -> None:
        expire(self.database, "ada", [number], self.now_ms)

    def _any_alert(self, data: st.DataObject) -> int:
        with self.database.read() as connection:
            numbers = list(connection.scalars(select(alerts.c.id).order_by(alerts.c.id.desc())))
        return data.draw(st.sampled_from(numbers)) if numbers else 0

    # -- delivery -------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 5), data=st.data())
    def a_notifier_takes_what_is_due(self, count: int, data: st.DataObject) -> None:
        for lane, due in self._due(count, data):
            self._send(lane, due)

    @rule(data=st.data())
    def a_notifier_refuses(self, data: st.DataObject) -> None:
        for _, due in self._due(1, data):
            self.alerts.outbox.record_failure(due.id, "busy", self.now_ms + RETRY_MS)

    @rule(data=st.data())
    def a_replica_dies_between_sending_and_writing_that_down(self, data: st.DataObject) -> None:
        for lane, due in self._due(1, data):
            self.sent.append((lane, due.notification.key))

    def _due(self, count: int, data: st.DataObject) -> list[tuple[Lane, Due]]:
        lanes = self.alerts.outbox.lanes(self.now_ms)
        if not lanes:
            return []
        lane = data.draw(st.sampled_from(lanes))
        return [(lane, due) for due in self.alerts.outbox.due(self.now_ms, lane, count)]

    def _send(self, lane: Lane, due: Due) -> None:
        self.sent.append((lane, due.notification.key))
        self.alerts.outbox.record_sent(due.id, self.now_ms)

    # -- what holds -----------------------------------------------------------------------------------

    @invariant()
    def at_most_one_leads(self) -> None:
        assert sum(replica.leadership.leading for replica in self.replicas.values()) <= 1

    @invariant()
    def nothing_fires_twice(self) -> None:
        with self.database.read() as connection:
            states = connection.execute(select(alerts.c.series, alerts.c.state)).all()
            kinds = connection.execute(
                select(alert_events.c.alert_id, alert_events.c.transition).order_by(alert_events.c.id)
            ).all()
        open_by_series = Counter(series for series, state in states if state in ("pending", "firing"))
        assert max(open_by_series.values(), default=0) <= 1
        by_alert: dict[int, list[str]] = defaultdict(list)
        for alert_id, kind in kinds:
            by_alert[alert_id].append(kind)
        for history in by_alert.values():
            assert history.count("fired") <= 1
            assert history.count("resolved") <= 1 + history.count("reopened")
            for before, after in pairwise(history):
                assert (before == "resolved") == (after == "reopened"), "something happened to an alert that was over"

    @invariant()
    def a_receiver_hears_of_an_alert_in_order(self) -> None:
        with self.database.read() as connection:
            rows = connection.execute(
                select(notifications.c.idempotency_key, notifications.c.notifier, alert_events.c.alert_id,
                       notifications.c.event_id).join(alert_events, alert_events.c.id == notifications.c.event_id)
            ).all()  # fmt: skip
        event_of = {(key, notifier): (alert_id, event_id) for key, notifier, alert_id, event_id in rows}
        assert len(event_of) == len(rows), "one key for two decisions"
        newest: dict[tuple[Lane, int], int] = {}
        for lane, key in self.sent:
            alert_id, event_id = event_of[key, lane.notifier]
            assert event_id >= newest.get((lane, alert_id), 0), "an earlier event came after a later one"
            newest[lane, alert_id] = event_id

    @invariant()
    def nothing_is_told_against_the_word_of_people(self) -> None:
        with self.database.read() as connection:
            rows = connection.execute(
                select(alert_events.c.id, alert_events.c.alert_id, alert_events.c.minute, alert_events.c.transition,
                       alerts.c.series, notifications.c.receiver)
                .join(alert_events, alert_events.c.id == notifications.c.event_id)
                .join(alerts, alerts.c.id == alert_events.c.alert_id)
                .where(notifications.c.notifier == "log")
                .order_by(alert_events.c.id)
            ).all()  # fmt: skip
            standing = listed(connection, 0, over=True)
            owned = connection.execute(select(acknowledgements).order_by(acknowledgements.c.id)).all()
            ended = {row.alert_id: row.minute for row in connection.execute(select(closings))}
            came_back = connection.execute(
                select(alert_events.c.alert_id, alert_events.c.minute).where(alert_events.c.transition == "reopened")
            ).all()
        heard: dict[tuple[int, str], int | None] = {}
        for row in rows:
            before = heard.get((row.alert_id, row.receiver))
            over = row.transition == "resolved"
            heard[row.alert_id, row.receiver] = None if over else row.minute
            if over:
                assert before is not None, "an end was told to somebody who had not heard of the beginning"
                continue
            labels = payload.labels(RULE.name, row.series, RULE.severity)
            assert not any(silence.mutes(labels, row.minute) for silence in standing), "a silence was broken"
            back = [
                event.minute for event in came_back if (event.alert_id, event.minute <= row.minute) == (row[1], True)
            ]
            owners = [
                kept.owner
                for kept in owned
                if kept.alert_id == row.alert_id and max(back, default=-1) < kept.minute <= row.minute
            ]
            assert not (before is not None and owners and owners[-1]), "somebody had it, and it was repeated"
            assert row.minute < ended.get(row.alert_id, row.minute + 1), "it was ended, and told as firing"
            assert before is None or row.minute - before >= REPEAT_MINUTES, "repeated too early"

    @invariant()
    def what_fires_and_is_not_silenced_is_known_and_who_knows_hears_the_end(self) -> None:
        """After each minute that was decided; one that was not may yet come."""
        with self.database.read() as connection:
            progress = connection.scalar(select(leases.c.progress_minute))
            states = connection.execute(
                select(alerts.c.id, alerts.c.series, alerts.c.state).where(alerts.c.fired_minute.is_not(None))
            ).all()
            standing = listed(connection, 0, over=True)
            newest = connection.execute(
                select(alert_events.c.alert_id, notifications.c.receiver, func.max(alert_events.c.id).label("event"))
                .join(alert_events, alert_events.c.id == notifications.c.event_id)
                .group_by(alert_events.c.alert_id, notifications.c.receiver)
            ).all()
            kinds = {row.id: row.transition for row in connection.execute(select(alert_events))}
        if progress is None:
            return
        for number, series, state in states:
            told = {row.receiver: kinds[row.event] for row in newest if row.alert_id == number}
            labels = payload.labels(RULE.name, series, RULE.severity)
            muted = any(silence.mutes(labels, progress) for silence in standing)
            if state == "firing" and not muted:
                assert set(told) == {"desk", "risk"}, "it fires, and somebody does not know"
            if state == "resolved":
                assert set(told.values()) <= {"resolved"}, "it is over, and somebody was left with the beginning"

    def teardown(self) -> None:
        """Every receiver works again: nothing that was decided is left untold."""
        if not hasattr(self, "database"):
            return
        try:
            self.now_ms += RETRY_MS
            while lanes := self.alerts.outbox.lanes(self.now_ms):
                for lane in lanes:
                    for due in self.alerts.outbox.due(self.now_ms, lane):
                        self._send(lane, due)
            self.a_receiver_hears_of_an_alert_in_order()
            with self.database.read() as connection:
                rows = connection.execute(
                    select(notifications.c.receiver, notifications.c.notifier, notifications.c.idempotency_key)
                ).all()
            assert {(Lane(receiver, notifier), key) for receiver, notifier, key in rows} == set(self.sent)
        finally:
            self.database.close()
            self.folder.cleanup()

    def _token(self) -> int:
        with self.database.read() as connection:
            return connection.scalar(select(leases.c.token)) or 0


World.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLeaseAlertsAndOutbox = World.TestCase
