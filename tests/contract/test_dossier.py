"""All that is known of one alert: one behaviour on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, insert

from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Evidence
from sentiment_monitor.domain.dossier import Dossier, Step
from sentiment_monitor.domain.payload import PayloadAlert, PayloadSentiment, encode, group
from sentiment_monitor.domain.people import Deed
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.dossier import MOST, dossier
from sentiment_monitor.store.schema import alert_events, comments
from writing import Alerts, Desk, alert, event, notification, scored

NOW = 1_678_468_860_000
FIRED = 10_000


@pytest.fixture
def store(database: Database) -> Alerts:
    """Stories of a company: one of each hour before, three in the last, the same copied, and a calm one after."""
    Desk(database).write(
        *(
            scored(str(hour), f"Word {hour}", minute=FIRED - 60 * hour - 30, tickers=("A",), label="neutral")
            for hour in range(1, 9)
        ),
        scored("first", "Depositors queue", minute=FIRED - 50, tickers=("A",), label="negative", url="https://x/1"),
        scored("calm", "Branch opens", minute=FIRED - 55, tickers=("A",), label="positive"),
        scored("copy", "Depositors queue", minute=FIRED - 40, tickers=("A",), label="negative", source="other"),
        scored("second", "Shares sink", minute=FIRED - 10, tickers=("A",), label="negative"),
        scored("other", "Not of the company", minute=FIRED - 59, tickers=("B",), label="negative"),
        scored("after", "Bank reassures", minute=FIRED + 70, tickers=("A",), label="positive"),
        scored("newest", "Elsewhere", minute=FIRED + 200, tickers=("B",)),
    )
    return Alerts(database)


def _raise(store: Alerts, *events: Any, **values: Any) -> Dossier:
    lease = store.leases.acquire("me", NOW, 60_000)
    assert lease is not None
    values = {"pending_minute": FIRED, "fired_minute": FIRED, **values}
    heard = [] if events[0].transition is Kind.PENDING else [notification()]  # nobody is told of what waits
    store.apply(lease, FIRED, [Change(alert(**values), events[0], heard)], NOW)
    (kept,) = store.listing() or store.listing(state="pending")
    for follower in events[1:]:
        store.apply(lease, follower.minute, [Change(alert(id=kept.id, **values), follower)], NOW)
    history = store.history(kept.id or 0)
    assert history is not None
    with store.database.read() as connection:
        return dossier(connection, history)


def _fired(window: int = 60, **values: Any) -> Any:
    return event(minute=FIRED, evidence=Evidence(sentence="bad news", window_minutes=window), **values)


def test_what_was_seen_stands_beside_what_the_decisions_of_then_expected(store: Alerts) -> None:
    over = event(minute=FIRED + 120, transition=Kind.RESOLVED, expected=0.75)
    found = _raise(store, _fired(expected=0.25), over, state=State.RESOLVED, resolved_minute=FIRED + 120)
    assert [(step.minute, step.minutes) for step in found.steps] == [(FIRED + 60 * n, 60) for n in range(-8, 2)]
    assert [(step.negative, step.stories) for step in found.steps] == [(0, 1)] * 7 + [(2, 3), (0, 0), (0, 1)]
    assert [step.expected for step in found.steps] == [0.25] * 9 + [0.75]
    assert found.now == Step(FIRED + 141, 60, 0, 0, 0.75)


def test_the_first_story_is_the_earliest_bad_one_of_the_window_and_its_copies_are_counted(store: Alerts) -> None:
    found = _raise(store, _fired())
    assert found.first_story is not None
    assert (found.first_story.headline, found.first_story.copies) == ("Depositors queue", 1)
    assert found.first_story.url == "https://x/1"
    assert found.cause is not None
    assert found.cause.evidence.sentence == "bad news"


def test_one_that_goes_on_is_shown_up_to_now_and_not_for_ever(store: Alerts) -> None:
    assert [step.minute for step in _raise(store, _fired()).steps][-1] == FIRED + 180
    Desk(store.database).write(scored("late", minute=FIRED + 60 * 1_000))
    history = store.history(1)
    assert history is not None
    with store.database.read() as connection:
        assert len(dossier(connection, history).steps) == MOST


def test_a_window_that_was_not_kept_is_read_from_what_receivers_were_told(store: Alerts) -> None:
    told = PayloadAlert(
        status="firing", labels={"alertname": "r"}, annotations={}, startsAt="", endsAt="", generatorURL="",
        fingerprint="",
        sentiment=PayloadSentiment(
            rule="r", series="ticker:A", window_minutes=120, observed=2, expected=0, p_value=None, q_value=None,
            effect=0, volume=3, expected_share=0, top_stories=(), sources=(), copies_collapsed=0, reason="fired",
        ),
    )  # fmt: skip
    lease = store.leases.acquire("me", NOW, 60_000)
    assert lease is not None
    body = encode(group("desk", [told]))
    fired = alert(pending_minute=FIRED, fired_minute=FIRED)
    store.apply(lease, FIRED, [Change(fired, _fired(0), [notification(body=body)])], NOW)
    history = store.history(1)
    assert history is not None
    with store.database.read() as connection:
        assert dossier(connection, history).now.minutes == 120


def test_without_any_of_that_a_step_is_an_hour_and_without_events_there_is_no_cause(store: Alerts) -> None:
    assert _raise(store, _fired(0)).now.minutes == 60
    with store.database.write() as connection:
        connection.execute(delete(alert_events))
    history = store.history(1)
    assert history is not None
    with store.database.read() as connection:
        bare = dossier(connection, history)
    assert bare.cause is None
    assert {step.expected for step in bare.steps} == {0.0}


def test_one_that_is_pending_is_shown_from_its_first_spike(store: Alerts) -> None:
    pending = event(minute=FIRED, transition=Kind.PENDING, evidence=Evidence(window_minutes=60))
    found = _raise(store, pending, state=State.PENDING, fired_minute=None)
    assert found.cause is not None
    assert found.cause.transition is Kind.PENDING
    assert found.steps[7].negative == 2
    assert found.similar == ()


def test_what_people_said_belongs_to_it(store: Alerts) -> None:
    _raise(store, _fired())
    with store.database.write() as connection:
        connection.execute(insert(comments).values(alert_id=1, at_ms=NOW, author="ann", text="called the desk"))
    history = store.history(1)
    assert history is not None
    with store.database.read() as connection:
        (saying,) = dossier(connection, history).history.said
    assert (saying.deed, saying.text) == (Deed.COMMENTED, "called the desk")
