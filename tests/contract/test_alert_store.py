"""Alert state, lease and outbox: one behaviour on SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.event import listen, remove

from sentiment_monitor.domain.alert_states import Kind, Listed, State
from sentiment_monitor.domain.alerts import Evidence, TopStory
from sentiment_monitor.domain.people import Verdict
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store import people
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.schema import alert_events
from sentiment_monitor.store.stops import Lane, Resumed, Stop
from writing import Alerts, alert, event, notification

NOW = 1_678_468_860_000
TTL = 60_000
OUT = notification()
LOG, WEBHOOK = Lane("desk", "log"), Lane("desk", "webhook")
FIRED = Change(alert(), event(), [OUT])


def _moved(change: Change, **values: Any) -> Change:
    """The same change of an alert with other values, and no event."""
    return Change(replace(change.alert, **values))


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
    assert store.due(NOW) == []
    following = store.leases.acquire("you", NOW + TTL, TTL)
    assert following is not None
    assert following.progress_minute is None


def test_alert_event_notification_and_progress_are_one_transaction(store: Alerts, lease: Lease) -> None:
    refused = replace(FIRED, alert=alert(series="ticker:B", title=None))
    with pytest.raises(Exception, match=r"(?i)null"):
        store.apply(lease, 100, [FIRED, refused], NOW)
    assert store.open() == []
    renewed = store.leases.acquire("me", NOW, TTL)
    assert renewed is not None
    assert renewed.progress_minute is None
    store.apply(lease, 100, [FIRED], NOW)
    assert [kept.series for kept in store.open()] == ["ticker:A"]
    renewed = store.leases.acquire("me", NOW, TTL)
    assert renewed is not None
    assert renewed.progress_minute == 100


def test_an_alert_is_followed_from_firing_to_resolved(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [FIRED], NOW)
    (firing,) = store.open()
    assert (firing.state, firing.fired_minute, firing.decided_minute) == (State.FIRING, 100, 100)
    quiet = replace(firing, quiet_minute=101, silent_minute=102)
    store.apply(lease, 102, [Change(quiet)], NOW)
    assert store.open() == [replace(quiet, decided_minute=102)]
    over = replace(quiet, state=State.RESOLVED, resolved_minute=200)
    store.apply(lease, 200, [Change(over, event(transition=Kind.RESOLVED, minute=200))], NOW)
    assert store.open() == []
    assert [kept.id for kept in store.fired_since(200)] == [firing.id]
    assert store.fired_since(201) == []
    assert firing.id is not None
    history = store.history(firing.id)
    assert history is not None
    assert [step.transition for step in history.events] == [Kind.FIRED, Kind.RESOLVED]
    assert [record.key for record in history.deliveries] == ["key-1"]
    assert store.history(firing.id + 1) is None


def test_an_alert_that_came_back_is_kept_so_and_what_ended_lately_by_itself_is_known(
    store: Alerts, lease: Lease
) -> None:
    store.apply(lease, 100, [FIRED, Change(alert(series="ticker:B"), event())], NOW)
    first, second = store.open()
    over = [replace(kept, state=State.RESOLVED, resolved_minute=200) for kept in (first, second)]
    store.apply(lease, 200, [Change(kept, event(transition=Kind.RESOLVED, minute=200)) for kept in over], NOW)
    assert second.id is not None
    with store.database.write() as connection:
        people.close(connection, second.id, "ann", Verdict.RESOLVED, "", NOW)
    assert [kept.id for kept in store.ended_since(200)] == [first.id]
    assert store.ended_since(201) == []
    back = replace(over[0], state=State.FIRING, resolved_minute=None, reopened_minute=300, reopenings=1)
    store.apply(lease, 300, [Change(back, event(transition=Kind.REOPENED, minute=300))], NOW)
    assert store.open() == [replace(back, decided_minute=300)]
    assert store.ended_since(200) == []


def test_a_new_alert_ends_the_watch_over_what_somebody_ended_of_its_series(store: Alerts, lease: Lease) -> None:
    ended = alert(state=State.RESOLVED, resolved_minute=101, closed_negatives=6.0)
    other = replace(ended, series="ticker:B")
    store.apply(lease, 101, [Change(ended), Change(other)], NOW)
    assert [(kept.series, kept.lingering) for kept in store.open()] == [("ticker:A", True), ("ticker:B", True)]
    store.apply(lease, 102, [FIRED], NOW)
    assert [(kept.series, kept.lingering) for kept in store.open()] == [("ticker:B", True), ("ticker:A", False)]


def test_what_an_event_rests_on_comes_back_as_it_was(store: Alerts, lease: Lease) -> None:
    story = TopStory("7", 'Mill – 银行 \\ "halts"', "wire", "https://news.example/7", "2026-03-04T23:39:00Z", 0.93, 2)
    evidence = Evidence("5 of 9", (story,), ("wire", "ledger"), 2, {"p_count": 1e-9})
    unmeasured = event(evidence=evidence, p_value=None, q_value=None)
    store.apply(lease, 100, [replace(FIRED, event=unmeasured)], NOW)
    (kept,) = store.open()
    assert kept.id is not None
    history = store.history(kept.id)
    assert history is not None
    assert [replace(step, id=None) for step in history.events] == [unmeasured]
    assert store.newest_events([kept.id]) == {kept.id: history.events[0]}


def test_the_book_knows_when_each_receiver_was_told_last(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [replace(FIRED, notifications=[OUT, notification(key="k2", receiver="risk")])], NOW)
    (firing,) = store.open()
    again = Change(firing, event(transition=Kind.REPEATED, minute=150), [notification(key="k3")])
    store.apply(lease, 150, [again], NOW)
    store.apply(lease, 160, [replace(FIRED, alert=alert(series="ticker:B"), notifications=())], NOW)
    other = next(kept for kept in store.open() if kept.series == "ticker:B")
    assert firing.id is not None
    assert other.id is not None
    assert store.told([firing.id, other.id]) == {firing.id: {"desk": 150, "risk": 100}}


def test_the_same_transition_of_a_minute_is_stored_and_told_once(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [FIRED], NOW)
    (firing,) = store.open()
    again = Change(firing, event(explanation="decided again after a clock went back"), [notification(key="key-2")])
    store.apply(lease, 100, [again], NOW)
    assert firing.id is not None
    history = store.history(firing.id)
    assert history is not None
    assert [step.explanation for step in history.events] == ["because"]
    assert [record.key for record in history.deliveries] == ["key-1"]


def test_another_alert_of_the_same_minute_is_told_though_its_key_has_been_used(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [FIRED], NOW)
    (first,) = store.open()
    store.apply(lease, 101, [Change(replace(first, state=State.RESOLVED, resolved_minute=101))], NOW)
    store.apply(lease, 100, [FIRED], NOW)  # the clock went back, and the spike fires again
    (second,) = store.open()
    assert second.id is not None
    history = store.history(second.id)
    assert history is not None
    (record,) = history.deliveries
    assert (len(record.key), record.key == "key-1", record.state) == (32, False, "queued")


def test_the_newest_telling_is_the_one_stored_last_whatever_the_clock_said(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [FIRED], NOW)
    (firing,) = store.open()
    assert firing.id is not None
    ahead = Change(firing, event(transition=Kind.REPEATED, minute=9_000), [notification(key="ahead")])
    store.apply(lease, 9_000, [ahead], NOW)
    back = Change(firing, event(transition=Kind.REPEATED, minute=160), [notification(key="back")])
    store.apply(lease, 160, [back], NOW)
    assert store.told([firing.id]) == {firing.id: {"desk": 160}}


def test_what_nobody_could_hand_over_has_not_been_told(store: Alerts, lease: Lease) -> None:
    both = [OUT, notification(key="k2", receiver="risk")]
    store.apply(lease, 100, [replace(FIRED, notifications=both)], NOW)
    (firing,) = store.open()
    assert firing.id is not None
    gone, refused = store.due(NOW)
    store.outbox.record_failure(gone.id, "no_such_notifier: receiver desk has no notifier log any more", None)
    store.outbox.record_failure(refused.id, "refused: 401", None)
    assert store.told([firing.id]) == {firing.id: {"risk": 100}}


@pytest.mark.parametrize("damaged", ["", "[]", "null", '{"top_stories": 5}', '{"top_stories": [{"headline": null}]}'])
def test_evidence_that_cannot_be_read_costs_the_evidence_and_not_the_alert(
    store: Alerts, database: Database, lease: Lease, damaged: str
) -> None:
    store.apply(lease, 100, [FIRED], NOW)
    (firing,) = store.open()
    assert firing.id is not None
    with database.write() as connection:
        connection.execute(update(alert_events).values(evidence=damaged))
    assert "cannot be read" in store.newest_events([firing.id])[firing.id].evidence.sentence


def test_listing_is_newest_first_and_leaves_out_what_never_fired(store: Alerts, lease: Lease) -> None:
    quiet = _moved(FIRED)
    pending = _moved(FIRED, series="p", state=State.PENDING, fired_minute=None)
    later = _moved(FIRED, series="later", fired_minute=300)
    store.apply(lease, 300, [quiet, pending, later], NOW)
    assert [kept.series for kept in store.listing()] == ["later", "ticker:A"]
    assert [kept.series for kept in store.listing(limit=1)] == ["later"]
    assert [kept.series for kept in store.listing(state=State.PENDING)] == ["p"]
    assert store.listing(state=State.RESOLVED) == []


def test_what_recovers_is_listed_as_such_and_still_among_what_fires(store: Alerts, lease: Lease) -> None:
    calm = _moved(FIRED, series="calm", quiet_minute=101)
    over = _moved(FIRED, series="over", state=State.RESOLVED, quiet_minute=101, resolved_minute=110)
    store.apply(lease, 110, [FIRED, calm, over], NOW)
    assert [kept.series for kept in store.listing(state=Listed.RECOVERING)] == ["calm"]
    assert {kept.series for kept in store.listing(state=Listed.FIRING)} == {"calm", "ticker:A"}
    assert set(Listed) == {*State, "recovering"}


def test_a_notification_is_due_until_it_is_sent_or_given_up(store: Alerts, lease: Lease) -> None:
    notifications = [OUT, replace(OUT, notifier="webhook", key="key-2"), replace(OUT, key="key-3")]
    store.apply(lease, 100, [replace(FIRED, notifications=notifications)], NOW)
    assert store.due(NOW - 1) == []
    first, second, third = store.due(NOW)
    assert (first.notification, first.attempts, first.created_ms) == (OUT, 0, NOW)
    assert store.outbox.queued() == 3
    store.outbox.record_sent(first.id, NOW + 1)
    store.outbox.record_failure(second.id, "e" * 5_000, NOW + 500)
    store.outbox.record_failure(third.id, "gone", None)
    assert store.due(NOW + 499) == []
    (again,) = store.due(NOW + 500)
    assert (again.id, again.attempts) == (second.id, 1)
    assert store.outbox.queued() == 1
    (firing,) = store.open()
    assert firing.id is not None
    history = store.history(firing.id)
    assert history is not None
    states = [(record.state, record.attempts) for record in history.deliveries]
    assert states == [("sent", 1), ("queued", 1), ("failed", 1)]
    assert len(history.deliveries[1].last_error or "") == 1_000
    assert store.outbox.lanes(NOW + 499) == []
    assert store.outbox.lanes(NOW + 500) == [WEBHOOK]


def test_a_notifier_is_told_of_an_alert_in_order_and_others_do_not_wait(store: Alerts, lease: Lease) -> None:
    both = [OUT, replace(OUT, notifier="webhook", key="key-2")]
    store.apply(lease, 100, [replace(FIRED, notifications=both)], NOW)
    (firing,) = store.open()
    fired, other = store.due(NOW)
    store.outbox.record_failure(fired.id, "busy", NOW + 900)
    store.outbox.record_sent(other.id, NOW)
    after = [replace(told, key=f"{told.key}-over") for told in both]
    over = replace(firing, state=State.RESOLVED, resolved_minute=101)
    store.apply(lease, 101, [Change(over, event(transition=Kind.RESOLVED, minute=101), after)], NOW)

    def due(now_ms: int) -> list[str]:
        return [due.notification.key for due in store.due(now_ms)]

    assert due(NOW) == ["key-2-over"]
    assert due(NOW + 900) == ["key-1", "key-2-over"]
    store.outbox.record_failure(fired.id, "gone", None)
    assert due(NOW) == ["key-1-over", "key-2-over"]


def test_each_notifier_has_a_lane_of_its_own_in_the_order_of_its_notifications(store: Alerts, lease: Lease) -> None:
    for n in range(4):
        told = [replace(OUT, key=f"log-{n}"), replace(OUT, notifier="webhook", key=f"webhook-{n}")]
        store.apply(lease, 100 + n, [Change(alert(series=f"ticker:{n}"), event(minute=100 + n), told)], NOW + n)
    assert sorted(store.outbox.lanes(NOW)) == [LOG, WEBHOOK]
    assert [due.notification.key for due in store.outbox.due(NOW + 9, WEBHOOK, limit=3)] == [
        "webhook-0", "webhook-1", "webhook-2",
    ]  # fmt: skip
    for due in store.outbox.due(NOW + 9, LOG):
        store.outbox.record_failure(due.id, "away", NOW + 1_000)
    assert store.outbox.lanes(NOW + 9) == [WEBHOOK]
    store.outbox.record_sent(store.outbox.due(NOW + 9, WEBHOOK)[0].id, NOW + 9)
    store.outbox.rename(WEBHOOK, "pager")
    assert store.outbox.lanes(NOW + 9) == [Lane("desk", "pager")]
    assert [due.notification.key for due in store.outbox.due(NOW + 9, Lane("desk", "pager"))] == [
        "webhook-1", "webhook-2", "webhook-3",
    ]  # fmt: skip
    first = store.history(1)
    assert first is not None
    assert [record.notifier for record in first.deliveries] == ["log", "webhook"]  # what was sent is told as it was


def test_what_was_delivered_stays_so_and_what_failed_may_yet_be_delivered(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [replace(FIRED, notifications=[OUT, replace(OUT, key="key-2")])], NOW)
    sent, failed = store.due(NOW)
    store.outbox.record_sent(sent.id, NOW)
    assert not store.outbox.record_failure(sent.id, "timed out", None)
    assert not store.outbox.record_failure(sent.id, "timed out", NOW + 500)
    assert store.outbox.record_failure(failed.id, "refused", None)
    assert not store.outbox.record_failure(failed.id, "timed out", NOW + 500)
    assert store.due(NOW + 500) == []
    store.outbox.record_sent(failed.id, NOW + 600)
    history = store.history(1)
    assert history is not None
    assert [(record.state, record.attempts, record.sent_ms, record.last_error) for record in history.deliveries] == [
        ("sent", 1, NOW, None),
        ("sent", 2, NOW + 600, None),
    ]


def test_all_that_is_queued_for_a_notifier_can_be_refused_and_what_it_has_got_stays(
    store: Alerts, lease: Lease
) -> None:
    told = [OUT, replace(OUT, notifier="webhook", key="key-2"), replace(OUT, key="key-3"), replace(OUT, key="key-4")]
    store.apply(lease, 100, [replace(FIRED, notifications=told)], NOW)
    sent, _, later, _ = store.due(NOW)
    store.outbox.record_sent(sent.id, NOW)
    store.outbox.record_failure(later.id, "away", NOW + 900)
    assert store.outbox.refuse(LOG, "gone") == 2
    assert store.outbox.lanes(NOW + 900) == [WEBHOOK]
    assert store.outbox.refuse(LOG, "gone") == 0


def test_a_stopped_notifier_has_nothing_due_and_goes_on_in_order_when_it_is_resumed(
    store: Alerts, lease: Lease
) -> None:
    told = [OUT, replace(OUT, notifier="webhook", key="key-2"), replace(OUT, key="key-3")]
    store.apply(lease, 100, [replace(FIRED, notifications=told)], NOW)
    first, _, third = store.due(NOW)
    stop = Stop(LOG, NOW + 5, "answered 403", "salt:hash")
    store.outbox.stop(first.id, stop)
    store.outbox.stop(first.id, replace(stop, since_ms=NOW + 6))  # by a process that led before
    assert store.outbox.stops() == [stop]
    assert store.outbox.lanes(NOW + 900) == [WEBHOOK]
    assert store.outbox.due(NOW + 900, LOG) == []
    count, other = store.outbox.counts()
    assert (count.lane, count.queued, count.sent, count.failed, count.last_sent_ms) == (LOG, 2, 0, 0, None)
    assert other.lane == WEBHOOK
    assert store.outbox.resume(LOG, NOW + 6, 0) is None  # that is another stop
    assert store.outbox.resume(LOG, NOW + 5, 0) == Resumed(waiting=2, given_up=0)
    assert sorted(due.id for due in store.outbox.due(NOW + 900, LOG)) == [first.id, third.id]


def test_what_is_older_than_a_resumption_allows_fails_and_the_rest_is_delivered(store: Alerts, lease: Lease) -> None:
    store.apply(lease, 100, [replace(FIRED, notifications=[OUT])], NOW)
    (due,) = store.due(NOW)
    store.outbox.stop(due.id, Stop(LOG, NOW, "answered 403", "salt:hash"))
    assert store.outbox.resume(LOG, NOW, NOW + 1) == Resumed(waiting=0, given_up=1)
    (record,) = store.outbox.log(9, receiver="desk", state="failed")
    assert (record.key, record.last_error and record.last_error[:8]) == (OUT.key, "too_old:")
    assert store.outbox.log(9, notifier="webhook") == store.outbox.log(9, state="sent") == []


def test_places_are_told_from_names_due_or_not(store: Alerts, lease: Lease) -> None:
    told = [replace(OUT, notifier=name, key=name) for name in ("#0", "log", "#1")]
    store.apply(lease, 100, [replace(FIRED, notifications=told)], NOW)
    first, *_ = store.due(NOW)
    store.outbox.record_failure(first.id, "away", NOW + 900)
    assert sorted(store.outbox.places()) == [Lane("desk", "#0"), Lane("desk", "#1")]


def test_what_is_due_is_found_along_indexes_however_much_is_queued(store: Alerts) -> None:
    if not store.database.is_sqlite:
        pytest.skip("PostgreSQL plans by what it has counted")
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if "notifications" in statement:
            asked.append((statement, parameters))

    listen(store.database.engine, "before_cursor_execute", note)
    store.outbox.due(NOW, LOG)
    store.told([1])
    store.unheard_ends(1_000_000)
    remove(store.database.engine, "before_cursor_execute", note)
    assert len(asked) == 4
    with store.database.read() as connection:
        for statement, parameters in asked:
            steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            assert not [step for step in steps if step.startswith("SCAN") and "anon" not in step], steps
            assert any("ix_notification_alerts_" in step for step in steps), steps
