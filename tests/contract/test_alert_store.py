"""Alert state, lease and outbox: one behaviour on SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.alerts import AlertChange, AlertEvent, Outgoing
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from writing import Alerts

NOW = 1_678_468_860_000
TTL = 60_000
OUT = Outgoing("desk", 0, "key-1", "{}", "title", "body")
EVENT = AlertEvent("fired", "spike_burst", 5, 9, 0.5, 1e-6, 1e-5, '{"a": 1}', "because", [OUT])
FIRED = AlertChange(None, "f1", "rule", "ticker:A", "critical", "firing", "{}", "A fires", 100, 100, None, EVENT)


@pytest.fixture
def store(database: Database) -> Alerts:
    return Alerts(database)


@pytest.fixture
def lease(store: Alerts) -> Lease:
    found = store.leases.acquire("me", NOW, TTL)
    assert found is not None
    return found


def test_one_holder_at_a_time_and_renewal_keeps_the_token(store: Alerts, lease: Lease) -> None:
    assert store.leases.acquire("you", NOW + TTL - 1, TTL) is None
    again = store.leases.acquire("me", NOW + 1, TTL)
    assert again is not None
    assert again.token == lease.token
    assert store.leases.acquire("you", NOW + TTL, TTL) is None  # renewed above


def test_an_expired_lease_goes_to_the_next_with_a_higher_token(store: Alerts, lease: Lease) -> None:
    taken = store.leases.acquire("you", NOW + TTL, TTL)
    assert taken is not None
    assert taken.token == lease.token + 1
    assert store.leases.acquire("me", NOW + TTL, TTL) is None


def test_a_released_lease_is_free_at_once_and_a_lost_one_cannot_be_released(store: Alerts, lease: Lease) -> None:
    store.leases.release(lease)
    taken = store.leases.acquire("you", NOW, TTL)
    assert taken is not None
    store.leases.release(lease)
    assert store.leases.acquire("me", NOW, TTL) is None


def test_a_holder_that_lost_its_lease_stores_nothing(store: Alerts, lease: Lease) -> None:
    assert store.leases.acquire("you", NOW + TTL, TTL) is not None
    with pytest.raises(Fenced):
        store.apply(lease, 100, [FIRED], NOW)
    assert store.open() == []
    assert store.outbox.due(NOW) == []
    following = store.leases.acquire("you", NOW + TTL, TTL)
    assert following is not None
    assert following.progress_minute is None


def test_alert_event_notification_and_progress_are_one_transaction(store: Alerts, lease: Lease) -> None:
    twice = replace(FIRED, series="ticker:B")  # the same idempotency key: refused
    with pytest.raises(Exception, match=r"(?i)unique"):
        store.apply(lease, 100, [FIRED, twice], NOW)
    assert store.open() == []
    renewed = store.leases.acquire("me", NOW, TTL)
    assert renewed is not None
    assert renewed.progress_minute is None
    store.apply(lease, 100, [FIRED], NOW)
    assert [alert.series for alert in store.open()] == ["ticker:A"]
    renewed = store.leases.acquire("me", NOW, TTL)
    assert renewed is not None
    assert renewed.progress_minute == 100


def test_an_alert_is_followed_from_firing_to_resolved(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [FIRED], NOW)
    (alert,) = store.open()
    assert (alert.state, alert.fired_minute, alert.updated_minute) == ("firing", 100, 100)
    moved = replace(FIRED, alert_id=alert.id, state_json='{"moved": 1}', event=None)
    store.apply(lease, 101, [moved], NOW)
    assert store.open()[0].state_json == '{"moved": 1}'
    over = replace(
        moved, state="resolved", resolved_minute=200, event=replace(EVENT, transition="resolved", outgoing=())
    )
    store.apply(lease, 200, [over], NOW)
    assert store.open() == []
    assert [alert.id for alert in store.fired_since(200)] == [alert.id]
    assert store.fired_since(201) == []
    shown = store.show(alert.id)
    assert shown is not None
    assert [event["transition"] for event in shown[1]] == ["fired", "resolved"]
    assert [row["idempotency_key"] for row in shown[2]] == ["key-1"]
    assert store.show(alert.id + 1) is None


def test_the_same_transition_of_a_minute_cannot_be_stored_twice(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [FIRED], NOW)
    (alert,) = store.open()
    again = replace(FIRED, alert_id=alert.id, event=replace(EVENT, outgoing=()))
    with pytest.raises(Exception, match=r"(?i)unique"):
        store.apply(lease, 100, [again], NOW)


def test_listing_is_newest_first_and_leaves_out_what_never_fired(store: Alerts, lease: Lease) -> None:
    quiet = replace(FIRED, event=None)
    pending = replace(quiet, series="p", state="pending", fired_minute=None)
    later = replace(quiet, series="later", fired_minute=300)
    store.apply(lease, 300, [quiet, pending, later], NOW)
    assert [alert.series for alert in store.listing()] == ["later", "ticker:A"]
    assert [alert.series for alert in store.listing(limit=1)] == ["later"]
    assert [alert.series for alert in store.listing(state="pending")] == ["p"]
    assert store.listing(state="resolved") == []


def test_a_notification_is_due_until_it_is_sent_or_given_up(store: Alerts, lease: Lease) -> None:
    outgoing = [OUT, replace(OUT, notifier=1, idempotency_key="key-2"), replace(OUT, idempotency_key="key-3")]
    store.apply(lease, 100, [replace(FIRED, event=replace(EVENT, outgoing=outgoing))], NOW)
    assert store.outbox.due(NOW - 1) == []
    one, two, three = store.outbox.due(NOW)
    assert (one.receiver, one.payload, one.attempts, one.created_ms) == ("desk", "{}", 0, NOW)
    assert store.outbox.queued() == 3
    store.outbox.record_sent(one.id, NOW + 1)
    store.outbox.record_failure(two.id, "e" * 5_000, NOW + 500)
    store.outbox.record_failure(three.id, "gone", None)
    assert store.outbox.due(NOW + 499) == []
    (again,) = store.outbox.due(NOW + 500)
    assert (again.id, again.attempts) == (two.id, 1)
    assert store.outbox.queued() == 1
    shown = store.show(store.open()[0].id)
    assert shown is not None
    assert [(row["state"], row["attempts"]) for row in shown[2]] == [("sent", 1), ("queued", 1), ("failed", 1)]
    assert len(shown[2][1]["last_error"]) == 1_000
    assert [one.id for one in store.outbox.due(NOW + 500, limit=1)] == [two.id]


def test_a_notifier_is_told_of_an_alert_in_order_and_others_do_not_wait(store: Alerts, lease: Lease) -> None:
    both = [OUT, replace(OUT, notifier=1, idempotency_key="key-2")]
    store.apply(lease, 100, [replace(FIRED, event=replace(EVENT, outgoing=both))], NOW)
    (alert,) = store.open()
    fired, other = store.outbox.due(NOW)
    store.outbox.record_failure(fired.id, "busy", NOW + 900)
    store.outbox.record_sent(other.id, NOW)
    after = [replace(one, idempotency_key=f"{one.idempotency_key}-over") for one in both]
    over = replace(
        FIRED,
        alert_id=alert.id,
        state="resolved",
        resolved_minute=101,
        event=replace(EVENT, transition="resolved", outgoing=after),
    )
    store.apply(lease, 101, [over], NOW)
    assert [one.idempotency_key for one in store.outbox.due(NOW)] == ["key-2-over"]
    assert [one.idempotency_key for one in store.outbox.due(NOW + 900)] == ["key-1", "key-2-over"]
    store.outbox.record_failure(fired.id, "gone", None)
    assert [one.idempotency_key for one in store.outbox.due(NOW)] == ["key-1-over", "key-2-over"]
