"""Back to the present after a clock that ran ahead, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

import writing
from sentiment_monitor.domain.alert_states import Kind
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.schema import alert_events, leases, notifications
from sentiment_monitor.store.set_back import set_back
from writing import Alerts

NOW = 1_678_468_860_000
DAY_MS = 86_400_000


@pytest.fixture
def store(database: Database) -> Alerts:
    return Alerts(database)


@pytest.fixture
def lease(store: Alerts) -> Lease:
    lease = store.leases.acquire("me", NOW, 60_000)
    assert lease is not None
    return lease


def test_what_was_to_be_delivered_tomorrow_is_due_when_the_clock_is_right_again(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [Change(writing.alert(), writing.event(), [writing.notification()])], NOW + DAY_MS)
    set_back(store.database, lease, 50, NOW)
    with store.database.read() as connection:
        assert connection.scalars(select(notifications.c.next_attempt_ms)).all() == [NOW]


def test_what_failed_under_a_clock_that_was_ahead_is_tried_again(store: Alerts, lease: Lease) -> None:
    told = [writing.notification(key=f"key-{n}") for n in range(3)]
    store.apply(lease, 100, [Change(writing.alert(series="ticker:A"), writing.event(), told[:1])], NOW - DAY_MS)
    store.apply(lease, 101, [Change(writing.alert(series="ticker:B"), writing.event(), told[1:2])], NOW - DAY_MS)
    store.apply(lease, 102, [Change(writing.alert(series="ticker:C"), writing.event(), told[2:])], NOW + DAY_MS)
    refused, given_up, decided_ahead = store.due(NOW + DAY_MS)
    store.outbox.record_failure(refused.id, "refused", None)  # when the clock was right
    store.outbox.record_failure(given_up.id, "away", NOW + DAY_MS)
    store.outbox.record_failure(given_up.id, "away", None)
    store.outbox.record_failure(decided_ahead.id, "refused", None)
    set_back(store.database, lease, 50, NOW)
    assert [(due.notification.key, due.attempts) for due in store.due(NOW)] == [("key-1", 2), ("key-2", 1)]


def test_a_beginning_that_failed_is_not_told_after_the_end(store: Alerts, lease: Lease) -> None:
    both = [writing.notification(), writing.notification(notifier="pager", key="key-2")]
    store.apply(lease, 100, [Change(writing.alert(), writing.event(), both)], NOW + DAY_MS)
    for due in store.due(NOW + DAY_MS):
        store.outbox.record_failure(due.id, "away", None)
    (alert,) = store.open()
    over = Change(alert, writing.event(transition=Kind.RESOLVED, minute=101), [writing.notification(key="key-3")])
    store.apply(lease, 101, [over], NOW + DAY_MS)
    (end,) = store.due(NOW + DAY_MS)
    store.outbox.record_sent(end.id, NOW + DAY_MS)
    set_back(store.database, lease, 50, NOW)
    assert [due.notification.notifier for due in store.due(NOW)] == ["pager"]


def test_who_has_lost_the_lease_sets_nothing_back(store: Alerts, lease: Lease) -> None:
    with store.database.write() as connection:
        connection.execute(update(leases).values(token=lease.token + 1, progress_minute=7))
    with pytest.raises(Fenced):
        set_back(store.database, lease, 3, NOW)
    with store.database.read() as connection:
        assert connection.scalar(select(leases.c.progress_minute)) == 7


def test_a_lease_that_was_set_back_is_as_good_as_before_and_its_old_token_is_not(store: Alerts, lease: Lease) -> None:
    present = set_back(store.database, lease, 3, NOW)
    assert store.leases.acquire("me", NOW, 60_000) == present
    store.apply(present, 4, [], NOW)
    with pytest.raises(Fenced):
        store.apply(lease, 5, [], NOW)


def test_a_minute_that_is_decided_a_second_time_tells_nobody_twice_of_one_alert(store: Alerts, lease: Lease) -> None:
    fires = Change(writing.alert(), writing.event(), [writing.notification()])
    store.apply(lease, 100, [fires], NOW)
    (alert,) = store.open()
    again = Change(alert, writing.event(), [writing.notification()])  # the same transition of the same alert
    store.apply(set_back(store.database, lease, 99, NOW), 100, [again], NOW)
    with store.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(alert_events)) == 1
    resolved = Change(alert, writing.event(transition=Kind.RESOLVED, minute=101), [writing.notification(key="key-2")])
    lease = Lease(lease.name, lease.token + 1, 100)
    store.apply(lease, 101, [resolved], NOW)
    # A new alert with the decision of the old one: its receiver heard that the old one is over, and hears of this.
    store.apply(set_back(store.database, lease, 99, NOW), 100, [fires], NOW)
    with store.database.read() as connection:
        *before, newest = connection.scalars(select(notifications.c.idempotency_key).order_by("id"))
    assert before == ["key-1", "key-2"]
    assert newest not in before
