"""Delivery: what is sent, what is tried again, what fails, and that no receiver waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from sqlalchemy import update

from databases import migrated_sqlite
from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import DatabaseAway
from sentiment_monitor.notify.contract import DeliveryLater, Notifier, NotifierRefused, NotifyRejected
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.schema import notifications
from sentiment_monitor.store.stops import Lane
from sentiment_monitor.telemetry.metrics import TickLoop
from sentiment_monitor.watch.deliver import Delivery
from sentiment_monitor.watch.lease import Leadership
from writing import Alerts, alert, event, notification

NOW = 1_678_468_860_000
HOUR_MS = 3_600_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Alerts]:
    database = migrated_sqlite(tmp_path / "a.sqlite")
    yield Alerts(database)
    database.close()


class Desk:
    """A notifier that does what it is told to."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.got: list[Notification] = []
        self.key = "key"

    def send(self, notification: Notification, now_ms: int) -> None:
        self.got.append(notification)
        if self.answers and (answer := self.answers.pop(0)):
            raise answer

    def access(self) -> str:
        return self.key

    def close(self) -> None:
        pass


class Hanging(Desk):
    """A receiver that takes a notification and says nothing until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.closed = threading.Event()

    def send(self, notification: Notification, now_ms: int) -> None:
        self.got.append(notification)
        self.reached.set()
        assert self.closed.wait(60)
        raise DeliveryLater("it was closed")

    def close(self) -> None:
        self.closed.set()


def _lease(store: Alerts) -> Leadership:
    return Leadership(store.leases, "me", 60_000, lambda: NOW)


def _queue(store: Alerts, *lanes: tuple[str, str], series: str = "all") -> None:
    """Notifications of an alert that fires."""
    lease = _lease(store).lease()
    assert lease is not None
    told = [
        notification(receiver=receiver, notifier=name, key=f"{series}-{receiver}-{name}") for receiver, name in lanes
    ]
    store.apply(lease, 1, [Change(alert(series=series), event(minute=1), told)], NOW)


def _states(store: Alerts) -> list[tuple[str, str, int, str | None]]:
    return [
        (record.receiver, record.state, record.attempts, record.last_error)
        for kept in store.fired_since(0)
        if kept.id is not None and (history := store.history(kept.id))
        for record in history.deliveries
    ]


def _never(error: BaseException) -> None:
    """Says so when the service would fail: an error in a thread fails the test."""
    raise error


class Post:
    """A delivery, and what came of it."""

    def __init__(
        self,
        store: Alerts,
        receivers: Mapping[str, Mapping[str, Notifier]],
        clock: Callable[[], int] = lambda: NOW,
        *,
        leadership: Leadership | None = None,
        every_seconds: float = 0.02,
    ) -> None:
        self.metrics = TickLoop()
        self.delivery = Delivery(
            store.outbox,
            receivers,
            leadership or _lease(store),
            now_ms=clock,
            give_up_ms=HOUR_MS,
            every_seconds=every_seconds,
            metrics=self.metrics,
        )

    def deliver(self) -> int:
        """Sends what is due; how many were taken."""
        before = self.sent()
        self.delivery.drain(30)
        return self.sent() - before

    def sent(self) -> int:
        return int(self.metrics.value("deliveries_total", result="sent") or 0)


def _until(condition: Callable[[], bool], seconds: float = 20) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen"
        time.sleep(0.005)
    return time.monotonic() - began


# -- one notifier -----------------------------------------------------------------------------------


def test_what_is_due_is_handed_over_once(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "log"))
    desk = Desk()
    post = Post(store, {"desk": {"log": desk}}, clock)
    assert post.deliver() == 1
    assert post.deliver() == 0
    (got,) = desk.got
    assert (got.key, got.receiver, got.title, got.text) == ("all-desk-log", "desk", "title", "text")
    assert got.body == b"{}"


def test_a_receiver_that_is_away_is_tried_again_later_with_the_same_key(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "log"))
    desk = Desk(DeliveryLater("busy"), DeliveryLater("busy"))
    post = Post(store, {"desk": {"log": desk}}, clock)
    assert post.deliver() == 0
    assert post.deliver() == 0  # not due yet
    assert len(desk.got) == 1
    clock.now += 2_000
    assert post.deliver() == 0
    clock.now += 4_000
    assert post.deliver() == 1
    assert {got.key for got in desk.got} == {"all-desk-log"}
    assert len({got.body for got in desk.got}) == 1
    assert _states(store) == [("desk", "sent", 3, None)]


def test_a_wait_that_the_receiver_asked_for_is_kept(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "log"))
    post = Post(store, {"desk": {"log": Desk(DeliveryLater("slow down", 600))}}, clock)
    post.deliver()
    clock.now += 599_999
    assert post.deliver() == 0
    clock.now += 1
    assert post.deliver() == 1


def test_a_refusal_is_final_and_a_long_outage_is_given_up(store: Alerts, clock: Clock) -> None:
    _queue(store, ("a", "log"), ("b", "log"))
    away = Desk(*[DeliveryLater("x")] * 99)
    post = Post(store, {"a": {"log": Desk(NotifyRejected("refused", "401"))}, "b": {"log": away}}, clock)
    post.deliver()
    assert _states(store)[0][:3] == ("a", "failed", 1)
    for _ in range(99):
        clock.now += 15 * 60_000
        post.deliver()
    assert _states(store)[1][1] == "failed"
    assert store.outbox.queued() == 0


def test_a_clock_that_is_ahead_for_a_moment_makes_nothing_fail_for_good(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "log"))
    desk = Desk(DeliveryLater("down"))
    post = Post(store, {"desk": {"log": desk}}, clock)
    clock.now += 48 * HOUR_MS
    post.deliver()
    assert _states(store) == [("desk", "queued", 1, "down")]
    clock.now += 2_000
    assert post.deliver() == 1


def test_one_receiver_that_fails_does_not_keep_the_others_waiting(store: Alerts, clock: Clock) -> None:
    _queue(store, ("a", "log"), ("b", "log"), ("b", "pager"))
    log, pager = Desk(), Desk()
    away = Desk(DeliveryLater("x"))
    assert Post(store, {"a": {"log": away}, "b": {"log": log, "pager": pager}}, clock).deliver() == 2
    assert (len(log.got), len(pager.got)) == (1, 1)


def test_a_notifier_with_a_bug_fails_alone_and_its_message_is_told_to_nobody(store: Alerts, clock: Clock) -> None:
    _queue(store, ("a", "log"), ("b", "log"))
    buggy = Desk(OverflowError("https://hooks/SECRET"))
    assert Post(store, {"a": {"log": buggy}, "b": {"log": Desk()}}, clock).deliver() == 1
    (_, state, attempts, error), _ = _states(store)
    assert (state, attempts) == ("queued", 1)
    assert error is not None
    assert "OverflowError" in error
    assert "SECRET" not in error


# -- a receiver that does not let us in --------------------------------------------------------------


def _refused_then(*answers: Exception | None) -> Desk:
    return Desk(NotifierRefused("hook answered 403"), *answers)


def test_a_notifier_that_is_not_let_in_stands_still_loudly_and_nobody_else_does(store: Alerts, clock: Clock) -> None:
    for n in range(3):
        _queue(store, ("desk", "hook"), ("desk", "log"), series=f"ticker:{n}")
    desk, log = _refused_then(), Desk()
    post = Post(store, {"desk": {"hook": desk, "log": log}}, clock)
    with structlog.testing.capture_logs() as logs:
        assert post.deliver() == 3
        clock.now += 48 * HOUR_MS
        assert post.deliver() == 0
    assert (len(desk.got), len(log.got)) == (1, 3)
    (said,) = [line for line in logs if line["event"] == "notifier.stopped"]
    assert (said["log_level"], said["receiver"], said["notifier"], said["error"]) == (
        "error", "desk", "hook", "hook answered 403",
    )  # fmt: skip
    assert "monitor notify resume desk" in said["hint"]
    assert post.metrics.value("notifier_stopped", receiver="desk", notifier="hook") == 1
    assert post.metrics.value("notifier_stopped", receiver="desk", notifier="log") == 0
    assert post.metrics.value("deliveries_total", result="refused") == 1
    assert [(state, attempts) for _, state, attempts, _ in _states(store) if state != "sent"] == [
        ("queued", 1), ("queued", 0), ("queued", 0),
    ]  # fmt: skip
    (stop,) = store.outbox.stops()
    assert (stop.lane, stop.error) == (Lane("desk", "hook"), "hook answered 403")
    assert "key" not in stop.access.split(":")


def test_other_settings_let_it_go_on_in_the_running_process(store: Alerts, clock: Clock) -> None:
    """As when a secret's file is replaced."""
    for n in range(3):
        _queue(store, ("desk", "hook"), series=f"ticker:{n}")
    desk = _refused_then()
    post = Post(store, {"desk": {"hook": desk}}, clock)
    post.deliver()
    desk.key = "another"
    with structlog.testing.capture_logs() as logs:
        assert post.deliver() == 3
    (said,) = [line for line in logs if line["event"] == "notifier.resumed"]
    assert (said["waiting"], said["given_up"]) == (3, 0)
    assert post.metrics.value("notifier_stopped", receiver="desk", notifier="hook") == 0
    assert (store.outbox.stops(), store.outbox.queued()) == ([], 0)


def test_a_restart_tries_again_only_with_other_settings(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "hook"))
    Post(store, {"desk": {"hook": _refused_then()}}, clock).deliver()
    same = Desk()
    restarted = Post(store, {"desk": {"hook": same}}, clock)
    assert (restarted.deliver(), restarted.deliver(), same.got) == (0, 0, [])
    assert restarted.metrics.value("notifier_stopped", receiver="desk", notifier="hook") == 1
    other = Desk()
    other.key = "another"
    assert Post(store, {"desk": {"hook": other}}, clock).deliver() == 1
    assert [got.key for got in other.got] == ["all-desk-hook"]


def test_somebody_may_have_it_try_again_and_it_stops_anew(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "hook"))
    desk = _refused_then(NotifierRefused("still 403"))
    post = Post(store, {"desk": {"hook": desk}}, clock)
    post.deliver()
    for taken in (0, 1):
        clock.now += 1_000
        (stop,) = store.outbox.stops()
        assert store.outbox.resume(stop.lane, stop.since_ms, 0)
        assert store.outbox.resume(stop.lane, stop.since_ms, 0) is None
        assert post.deliver() == taken
    assert len(desk.got) == 3


def test_what_grew_old_while_its_notifier_stood_still_is_given_up_and_says_so(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "hook"), series="ticker:old")
    desk = _refused_then()
    post = Post(store, {"desk": {"hook": desk}}, clock)
    post.deliver()
    desk.key = "another"
    clock.now += HOUR_MS + 1
    assert post.deliver() == 0
    ((_, state, attempts, error),) = _states(store)
    assert (state, attempts, error) == (
        "failed", 1, "too_old: its notifier stood still for longer than detect.give_up_hours",
    )  # fmt: skip


def test_a_stopped_notifier_that_left_the_settings_fails_like_any(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "hook"))
    Post(store, {"desk": {"hook": _refused_then()}}, clock).deliver()
    Post(store, {"desk": {"log": Desk()}}, clock).deliver()
    assert [state for _, state, _, _ in _states(store)] == ["failed"]
    assert store.outbox.stops() == []


def test_only_the_leader_lets_a_stopped_notifier_go_on(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "hook"))
    Post(store, {"desk": {"hook": _refused_then()}}, clock).deliver()
    other = Desk()
    other.key = "another"
    follower = Leadership(store.leases, "another", 60_000, lambda: NOW)
    Post(store, {"desk": {"hook": other}}, clock, leadership=follower).deliver()
    assert (len(store.outbox.stops()), other.got) == (1, [])


# -- notifiers are known by their names --------------------------------------------------------------


def test_what_is_queued_goes_to_the_notifier_of_that_name_wherever_it_stands(store: Alerts) -> None:
    _queue(store, ("desk", "pager"))
    pager, chat = Desk(), Desk()
    assert Post(store, {"desk": {"chat": chat, "pager": pager}}).deliver() == 1  # chat stands first since the edit
    assert (len(chat.got), len(pager.got)) == (0, 1)


def test_a_notifier_that_left_the_settings_fails_with_the_reason(store: Alerts) -> None:
    for n in range(70):
        _queue(store, ("gone", "log"), ("desk", "pager"), ("desk", "log"), series=f"ticker:{n}")
    with structlog.testing.capture_logs() as logs:
        assert Post(store, {"desk": {"log": Desk()}}).deliver() == 70
    failed = [(state, error) for _, state, _, error in _states(store) if state != "sent"]
    assert len(failed) == 140
    for state, error in failed:
        assert state == "failed"
        assert error is not None
        assert "no_such_notifier: " in error
        assert "no longer has a notifier" in error
    said = [line for line in logs if line["event"] == "notification.failed"]
    assert {(line["log_level"], line["receiver"], line["notifier"]) for line in said} == {
        ("error", "gone", "log"), ("error", "desk", "pager"),
    }  # fmt: skip


def test_what_was_queued_by_place_before_there_were_names_goes_to_the_notifier_at_that_place(store: Alerts) -> None:
    _queue(store, ("desk", "#1"), ("desk", "#2"), ("desk", "log"))
    log, pager = Desk(), Desk()
    assert Post(store, {"desk": {"log": log, "pager": pager}}).deliver() == 2
    assert ([got.key for got in pager.got], len(log.got)) == (["all-desk-#1"], 1)
    assert [state for _, state, _, _ in _states(store)] == ["sent", "failed", "sent"]


def _put_off(store: Alerts) -> None:
    """As after three attempts that failed."""
    with store.database.write() as connection:
        connection.execute(update(notifications).values(next_attempt_ms=NOW + 600_000, attempts=3))


def test_the_end_of_an_alert_does_not_overtake_its_beginning_that_was_queued_by_place(
    store: Alerts, clock: Clock
) -> None:
    _queue(store, ("desk", "#0"))
    _put_off(store)
    (firing,) = store.open()
    over = Change(
        replace(firing, state=State.RESOLVED, resolved_minute=2),
        event(transition=Kind.RESOLVED, minute=2),
        [notification(receiver="desk", notifier="webhook", key="over")],
    )
    leadership = _lease(store)
    lease = leadership.lease()
    assert lease is not None
    store.apply(lease, 2, [over], NOW)
    desk = Desk()
    post = Post(store, {"desk": {"webhook": desk}}, clock, leadership=leadership)
    assert post.deliver() == 0
    clock.now += 600_000
    assert leadership.lease() is not None
    assert post.deliver() == 2
    assert [got.key for got in desk.got] == ["all-desk-#0", "over"]


def test_what_waits_under_a_place_that_has_no_notifier_fails_when_delivery_starts(store: Alerts) -> None:
    _queue(store, ("desk", "#1"), ("gone", "#0"))
    _put_off(store)
    with structlog.testing.capture_logs() as logs:
        assert Post(store, {"desk": {"log": Desk()}}).deliver() == 0
    assert [(state, attempts) for _, state, attempts, _ in _states(store)] == [("failed", 4), ("failed", 4)]
    assert {
        (line["receiver"], line["notifier"], line["notifications"])
        for line in logs
        if line["event"] == "notification.failed"
    } == {("desk", "#1", 1), ("gone", "#0", 1)}


def test_what_was_queued_by_place_is_left_to_the_leader(store: Alerts) -> None:
    _queue(store, ("desk", "#0"))
    follower = Leadership(store.leases, "another", 60_000, lambda: NOW)
    assert Post(store, {"desk": {"log": Desk()}}, leadership=follower).deliver() == 0
    assert store.outbox.places() == [Lane("desk", "#0")]
    assert Post(store, {"desk": {"log": Desk()}}).deliver() == 1


# -- receivers do not wait for one another -----------------------------------------------------------


def test_nobody_waits_for_a_receiver_that_hangs(store: Alerts) -> None:
    hanging, healthy = Hanging(), Desk()
    post = Post(store, {"dead": {"log": hanging, "other": Desk()}, "desk": {"log": healthy}}, every_seconds=60)
    post.delivery.start(_never)
    try:
        for n in range(60):  # more than are asked for at a time
            _queue(store, ("dead", "log"), series=f"ticker:{n}")
        post.delivery.wake()
        assert hanging.reached.wait(10)
        for n in range(6):
            _queue(store, ("dead", "log"), ("dead", "other"), ("desk", "log"), series=f"source:{n}")
            post.delivery.wake()
            assert _until(lambda n=n: len(healthy.got) == n + 1) < 1  # type: ignore[misc]
        _until(lambda: post.sent() == 12)
    finally:
        began = time.monotonic()
        post.delivery.stop(0.1)
    assert time.monotonic() - began < 2
    assert len(hanging.got) == 1
    assert store.outbox.queued() == 66


def test_one_receiver_is_told_one_thing_at_a_time_and_of_the_end_after_the_beginning(store: Alerts) -> None:
    class Slow(Desk):
        def __init__(self) -> None:
            super().__init__(*([None, DeliveryLater("busy")] * 6))
            self.inside = self.most_inside = 0

        def send(self, notification: Notification, now_ms: int) -> None:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            time.sleep(0.005)
            self.inside -= 1
            super().send(notification, now_ms)

    slow = Slow()
    post = Post(store, {"desk": {"log": slow}}, lambda: int(time.time() * 1000) - before + NOW, every_seconds=0.01)
    before = int(time.time() * 1000)
    post.delivery.start(_never)
    leadership = _lease(store)
    for n in range(6):
        _queue(store, ("desk", "log"), series=f"ticker:{n}")
        lease = leadership.lease()
        assert lease is not None
        (firing,) = (kept for kept in store.open() if kept.series == f"ticker:{n}")
        over = Change(
            alert(id=firing.id, series=firing.series, state=State.RESOLVED, resolved_minute=2),
            event(transition=Kind.RESOLVED, minute=2),
            [notification(receiver="desk", notifier="log", key=f"ticker:{n}-over")],
        )
        store.apply(lease, 2, [over], NOW)
        post.delivery.wake()
    _until(lambda: store.outbox.queued() == 0, 60)
    post.delivery.stop(5)
    assert slow.most_inside == 1
    taken = [got.key for got, answer in zip(slow.got, ([None, 1] * 6 + [None] * 99), strict=False) if answer is None]
    for n in range(6):
        assert taken.index(f"ticker:{n}-desk-log") < taken.index(f"ticker:{n}-over")


# -- who delivers, and for how long ------------------------------------------------------------------


def test_only_the_leader_delivers(store: Alerts) -> None:
    _queue(store, ("desk", "log"))
    desk = Desk()
    follower = Leadership(store.leases, "another", 60_000, lambda: NOW)
    post = Post(store, {"desk": {"log": desk}}, leadership=follower)
    post.delivery.start(_never)
    time.sleep(0.2)
    post.delivery.stop(0.2)
    assert (desk.got, store.outbox.queued()) == ([], 1)


def test_a_process_that_has_lost_the_lease_sends_nothing_more(store: Alerts) -> None:
    for n in range(3):
        _queue(store, ("desk", "log"), series=f"ticker:{n}")
    leadership = _lease(store)

    class Losing(Desk):
        def send(self, notification: Notification, now_ms: int) -> None:
            super().send(notification, now_ms)
            leadership.release()
            assert Leadership(store.leases, "another", 60_000, lambda: NOW).lease()

    desk = Losing()
    Post(store, {"desk": {"log": desk}}, leadership=leadership).deliver()
    assert (len(desk.got), store.outbox.queued()) == (1, 2)


def test_an_attempt_that_fails_late_takes_nothing_back_from_another_process_that_has_delivered(store: Alerts) -> None:
    _queue(store, ("desk", "log"))

    class Late(Desk):
        def send(self, notification: Notification, now_ms: int) -> None:
            (due,) = store.outbox.due(NOW, Lane("desk", "log"))
            store.outbox.record_sent(due.id, NOW)
            raise NotifyRejected("refused", "401")

    post = Post(store, {"desk": {"log": Late()}})
    post.deliver()
    assert _states(store) == [("desk", "sent", 1, None)]
    assert not post.metrics.value("deliveries_total", result="failed")


def test_in_a_hurry_nothing_new_is_begun_and_nothing_lost(store: Alerts, clock: Clock) -> None:
    _queue(store, ("desk", "log"), ("desk", "pager"))
    post = Post(store, {"desk": {"log": Desk(), "pager": Desk()}}, clock)
    post.delivery.hurry(0)
    post.delivery.hurry(60)  # a hurry is not taken back
    assert post.deliver() == 0
    assert store.outbox.queued() == 2
    post = Post(store, {"desk": {"log": Desk(), "pager": Desk()}}, clock)
    post.delivery.hurry(60)
    assert post.deliver() == 2


def test_a_stop_sends_what_is_due_and_cuts_what_hangs(store: Alerts) -> None:
    _queue(store, ("dead", "log"), ("desk", "log"))
    hanging = Hanging()
    post = Post(store, {"dead": {"log": hanging}, "desk": {"log": Desk()}}, every_seconds=60)
    post.delivery.stop(0.3)
    assert hanging.closed.is_set()
    assert [state for _, state, _, _ in _states(store)] == ["queued", "sent"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("deliver")]


def test_an_outage_of_the_database_is_waited_out(store: Alerts, monkeypatch: pytest.MonkeyPatch) -> None:
    _queue(store, ("desk", "log"))
    lanes, away = store.outbox.lanes, [DatabaseAway("gone")] * 3

    def lanes_or_away(now_ms: int) -> list[Lane]:
        if away:
            raise away.pop()
        return lanes(now_ms)

    monkeypatch.setattr(store.outbox, "lanes", lanes_or_away)
    post = Post(store, {"desk": {"log": Desk()}})
    post.delivery.start(_never)
    _until(lambda: store.outbox.queued() == 0)
    post.delivery.stop(1)


@pytest.mark.parametrize("broken", ["lanes", "record_sent"])
def test_a_bug_in_delivery_ends_the_service(store: Alerts, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def bug(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    _queue(store, ("desk", "log"))
    monkeypatch.setattr(store.outbox, broken, bug)
    failures: list[BaseException] = []
    post = Post(store, {"desk": {"log": Desk()}})
    post.delivery.start(failures.append)
    _until(lambda: bool(failures))
    monkeypatch.undo()
    post.delivery.stop(1)
    assert {type(error) for error in failures} == {ZeroDivisionError}
