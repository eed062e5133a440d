"""The tick loop: who leads, what is delivered, what ends the process, and history replayed as it was lived."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

import writing
from databases import migrated_sqlite
from sentiment_monitor.detect.rules import CountRule
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain.alerts import Notification, Telling
from sentiment_monitor.errors import DatabaseAway, Fenced
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.schema import alert_events, alerts
from sentiment_monitor.times import MINUTE_MS
from sentiment_monitor.watch.clocks import EventClock, LiveClock
from sentiment_monitor.watch.deliver import Delivery, Receivers
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.tick import Ticker
from writing import Alerts, alert, event, notification

NOW = 1_678_468_860_000
HOUR_MS = 3_600_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return (self.now - NOW) / 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Alerts]:
    database = migrated_sqlite(tmp_path / "a.sqlite")
    yield Alerts(database)
    database.close()


# -- leadership -------------------------------------------------------------------------------------


def test_of_two_holders_one_leads_until_its_lease_expires(store: Alerts, clock: Clock) -> None:
    one, two = (Leadership(store.leases, name, 60_000, clock, clock.monotonic) for name in ("one", "two"))
    first = one.lease()
    assert first is not None
    assert two.lease() is None
    clock.now += 59_999
    assert one.lease() is not None  # renewed
    clock.now += 59_999
    assert two.lease() is None
    clock.now += 1
    taken = two.lease()
    assert taken is not None
    assert taken.token > first.token
    assert (one.leading, two.leading) == (False, True)  # not longer than the lease, even unasked
    assert one.lease() is None
    with pytest.raises(Fenced):
        store.apply(first, 5, [], clock())


def test_a_leader_that_goes_lets_the_other_lead_at_once(store: Alerts, clock: Clock) -> None:
    one, two = (Leadership(store.leases, name, 60_000, clock) for name in ("one", "two"))
    two.release()  # leads nothing: nothing happens
    assert one.lease() is not None
    two.release()
    assert two.lease() is None
    one.release()
    one.release()
    assert two.lease() is not None


def _queue(store: Alerts, *places: tuple[str, str]) -> Lease:
    lease = store.leases.acquire("me", NOW, HOUR_MS)
    assert lease is not None
    queued = [
        notification(receiver=receiver, notifier=name, key=f"{receiver}-{name}", title="t", text="b")
        for receiver, name in places
    ]
    store.apply(lease, 1, [Change(alert(), event(minute=1), queued)], NOW)
    return lease


class Desk:
    """A notifier that takes everything, or hangs until it is closed."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs
        self.reached = threading.Event()
        self.closed = threading.Event()

    def send(self, notification: Notification, now_ms: int) -> None:
        self.reached.set()
        if self.hangs:
            self.closed.wait(60)

    def access(self) -> str:
        return ""

    def close(self) -> None:
        self.closed.set()


# -- live -------------------------------------------------------------------------------------------


class FakeTicker:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.minutes: list[int] = []
        self.ticked = threading.Event()

    def tick(self, minute: int, lease: Lease, now_ms: int, **_: object) -> Any:
        from sentiment_monitor.watch.tick import TickReport

        self.minutes.append(minute)
        self.ticked.set()
        if self.error:
            raise self.error
        return TickReport(minute)


def _live(
    store: Alerts,
    ticker: FakeTicker,
    failed: Callable[[BaseException], None],
    *,
    holder: str = "me",
    every_seconds: float = 0.05,
) -> LiveClock:
    def now() -> int:
        return NOW

    leadership = Leadership(store.leases, holder, 60_000, now)
    return LiveClock(
        cast(Ticker, ticker),
        Delivery(
            store.outbox,
            {"desk": {"log": Desk()}},
            leadership,
            now_ms=now,
            give_up_ms=HOUR_MS,
            every_seconds=every_seconds,
        ),
        leadership,
        store.database,
        now_ms=now,
        failed=failed,
    )


def test_the_live_clock_ticks_at_once_delivers_and_gives_the_lease_away(store: Alerts) -> None:
    _queue(store, ("desk", "log"))
    store.leases.release(Lease("detect", 1, None))
    failures: list[BaseException] = []
    ticker = FakeTicker()
    live = _live(store, ticker, failures.append)
    live.start()
    assert ticker.ticked.wait(10)
    deadline = time.monotonic() + 10
    while store.outbox.queued() and time.monotonic() < deadline:
        time.sleep(0.01)
    live.stop()
    assert ticker.minutes[0] == NOW // MINUTE_MS
    assert (store.outbox.queued(), failures) == (0, [])
    assert store.leases.acquire("other", NOW, 1) is not None


def test_what_is_still_queued_is_delivered_at_the_stop(store: Alerts) -> None:
    ticker = FakeTicker()
    live = _live(store, ticker, lambda error: None, every_seconds=60)
    live.start()
    assert ticker.ticked.wait(10)
    store.leases.release(Lease("detect", 1, None))
    _queue(store, ("desk", "log"))
    store.leases.release(Lease("detect", 2, None))
    live.stop()
    assert store.outbox.queued() == 0


def test_an_error_of_a_job_is_reported_so_that_the_process_ends(store: Alerts) -> None:
    failed = threading.Event()
    failures: list[BaseException] = []

    def report(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    live = _live(store, FakeTicker(ZeroDivisionError("a bug")), report)
    live.start()
    assert failed.wait(10)
    live.stop()
    assert [type(error) for error in failures] == [ZeroDivisionError]


@pytest.mark.parametrize("error", [DatabaseAway("gone"), Fenced("taken")])
def test_an_outage_or_a_lost_lease_is_no_failure(store: Alerts, error: Exception) -> None:
    failures: list[BaseException] = []
    ticker = FakeTicker(error)
    live = _live(store, ticker, failures.append)
    live.start()
    assert ticker.ticked.wait(10)
    live.stop()
    assert failures == []


def test_without_the_lease_nothing_is_decided_or_delivered(store: Alerts) -> None:
    _queue(store, ("desk", "log"))  # "me" leads
    ticker = FakeTicker()
    live = _live(store, ticker, lambda error: None, holder="other")
    live.start()
    time.sleep(0.2)
    live.stop()
    assert ticker.minutes == []
    assert store.outbox.queued() == 1


# -- history ----------------------------------------------------------------------------------------

START = 27_974_400  # a full hour
RULES = (
    CountRule(name="short", dimensions=("ticker", "all"), window_minutes=10, baseline_days=1, warmup_minutes=120,
         min_negative=2, min_sources=1, keep_firing_minutes=15, max_staleness_minutes=30),
    CountRule(name="long", dimensions=("ticker",), window_minutes=60, baseline_days=1, warmup_minutes=180,
         for_minutes=3, min_negative=3, min_sources=2, keep_firing_minutes=0, max_staleness_minutes=60),
)  # fmt: skip


class World:
    """One database with its writer, ticker and clock."""

    def __init__(self, folder: Path) -> None:
        self.database = migrated_sqlite(folder / "world.sqlite")
        self.alerts = Alerts(self.database)
        self.desk = writing.Desk(self.database)
        self.leadership = Leadership(self.alerts.leases, "me", HOUR_MS, lambda: NOW)
        routes = Routes({rule.name: Telling(("desk",), repeat_minutes=40) for rule in RULES}, {"desk": ("log",)})
        self.ticker = Ticker(
            database=self.database, alerts=self.alerts, rules=RULES, routes=routes, external_url="", names={}
        )

    def write(self, stories: Sequence[tuple[int, str, str, str]]) -> None:
        self.desk.write(
            *(
                writing.scored(str(n), source=source, minute=START + minute, label=label, tickers=(ticker,))
                for n, (minute, ticker, source, label) in enumerate(stories, self.desk.next)
            )
        )

    def delivery(self, receivers: Receivers) -> Delivery:
        return Delivery(self.alerts.outbox, receivers, self.leadership, now_ms=lambda: NOW, give_up_ms=HOUR_MS)

    def clock(self, delivery: Delivery | None = None) -> EventClock:
        return EventClock(
            self.ticker,
            delivery or self.delivery({}),
            self.leadership,
            self.database,
            rules=RULES,
            now_ms=lambda: NOW,
        )

    def decided(self) -> list[tuple[str, str, int, str]]:
        with self.database.read() as connection:
            rows = connection.execute(
                select(alerts.c.rule, alerts.c.series, alert_events.c.minute, alert_events.c.transition).join(
                    alert_events, alert_events.c.alert_id == alerts.c.id
                )
            )
            return sorted((rule, series, minute - START, kind) for rule, series, minute, kind in rows)


_burst = st.tuples(st.integers(150, 460), st.integers(2, 8), st.sampled_from("AB"), st.integers(1, 4))


@st.composite
def _days(draw: st.DrawFn) -> list[tuple[int, str, str, str]]:
    """Eight hours of quiet news with bursts of bad news and pauses."""
    quiet = draw(st.lists(st.integers(0, 480), min_size=10, max_size=60))
    told = [(minute, "ABCD"[n % 4], "xyz"[n % 3], "neutral") for n, minute in enumerate(quiet)]
    for begin, count, ticker, gap in draw(st.lists(_burst, max_size=4)):
        told += [(begin + n * gap, ticker, "xyz"[n % 3], "negative") for n in range(count)]
    return sorted(told)


@settings(
    max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)  # shrinking takes minutes
@given(history=_days(), data=st.data())
def test_a_replay_decides_what_ticking_every_minute_decided(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, str, str, str]], data: st.DataObject
) -> None:
    end = history[-1][0] + 1
    live, replayed = (World(tmp_path_factory.mktemp("world")) for _ in range(2))
    live.write(history)
    lease = live.alerts.leases.acquire("me", NOW, HOUR_MS)
    assert lease is not None
    for minute in range(START, START + end + 1):
        live.ticker.tick(minute, lease, NOW)
        lease = replace(lease, progress_minute=minute)  # what taking it anew would say
    clock = replayed.clock()
    cuts = sorted(data.draw(st.sets(st.integers(1, len(history)), max_size=6)) | {len(history)})
    before = 0
    for cut in cuts:
        replayed.write(history[before:cut])
        before = cut
        if data.draw(st.booleans()):
            clock = replayed.clock()  # a restart
        clock.advance(START + history[cut - 1][0])
    clock.advance(START + end)
    assert replayed.decided() == live.decided()
    for world in (live, replayed):
        world.database.close()


def test_the_histories_above_do_fire_and_resolve(tmp_path: Path) -> None:
    world = World(tmp_path)
    quiet = [(n * 5, "ABCD"[n % 4], "xyz"[n % 3], "neutral") for n in range(96)]
    world.write(sorted([*quiet, *((200 + n, "A", "xyz"[n % 3], "negative") for n in range(6))]))
    clock = world.clock()
    clock.advance(START + 400)
    kinds = {kind for _, _, _, kind in world.decided()}
    assert {"fired", "resolved"} <= kinds
    decided = world.decided()
    clock.advance(START + 400)
    clock.advance(START + 300)  # nothing is decided twice, or backwards
    clock.advance(None)
    assert world.decided() == decided
    world.database.close()


def test_history_does_not_wait_for_a_receiver(tmp_path: Path) -> None:
    world = World(tmp_path)
    quiet = [(n * 5, "ABCD"[n % 4], "xyz"[n % 3], "neutral") for n in range(96)]
    desk = Desk(hangs=True)
    delivery = world.delivery({"desk": {"log": desk}})
    delivery.start(lambda error: None)
    clock = world.clock(delivery)
    world.write(sorted([*quiet, *((200 + n, "A", "xyz"[n % 3], "negative") for n in range(6))]))
    clock.advance(START + 210)
    assert desk.reached.wait(10)
    clock.advance(START + 400)
    assert not desk.closed.is_set()  # the first delivery still hangs
    assert {"fired", "resolved"} <= {kind for _, _, _, kind in world.decided()}
    began = time.monotonic()
    delivery.stop(0.1)
    assert time.monotonic() - began < 2
    world.database.close()


def test_a_replay_that_is_stopped_ends_between_two_minutes_and_the_next_one_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    stopped, whole = (World(tmp_path_factory.mktemp("world")) for _ in range(2))
    quiet = [(n * 5, "ABCD"[n % 4], "xyz"[n % 3], "neutral") for n in range(96)]
    history = sorted([*quiet, *((200 + n, "A", "xyz"[n % 3], "negative") for n in range(6))])
    for world in (stopped, whole):
        world.write(history)
    whole.clock().finish()
    fired = [minute for _, _, minute, kind in whole.decided() if kind == "fired"]
    assert fired, "no alert was open"

    clock = stopped.clock()
    tick = stopped.ticker.tick
    minutes: list[int] = []

    def tick_and_stop(minute: int, *arguments: Any, **options: Any) -> Any:
        minutes.append(minute - START)
        if minute - START >= fired[0] + 3:
            clock.stop()
        return tick(minute, *arguments, **options)

    stopped.ticker.tick = tick_and_stop  # type: ignore[method-assign]
    clock.finish()
    assert minutes[-1] == fired[0] + 3
    stopped.ticker.tick = tick  # type: ignore[method-assign]
    stopped.clock().finish()
    assert stopped.decided() == whole.decided()
    for world in (stopped, whole):
        world.database.close()


@pytest.mark.parametrize("freed", [True, False])
def test_without_the_lease_history_waits_until_it_is_free_or_it_is_told_to_stop(
    tmp_path: Path, freed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiment_monitor.watch.clocks._WAIT_SECONDS", 0.02)
    world = World(tmp_path)
    world.write([(n, "A", "x", "negative") for n in range(20)])
    other = world.alerts.leases.acquire("another", NOW, HOUR_MS)
    assert other is not None
    clock = world.clock()
    thread = threading.Thread(target=clock.advance, args=(START + 30,), daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    if freed:
        world.alerts.leases.release(other)
    else:
        clock.stop()
    thread.join(30)
    assert not thread.is_alive()
    lease = world.alerts.leases.acquire("me" if freed else "another", NOW, HOUR_MS)
    assert lease is not None
    assert lease.progress_minute == (START + 30 if freed else None)
    world.database.close()
