"""What people do about alerts: what is kept, what is noted, what is said, and what pressing twice does."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from sqlalchemy import func, select

from sentiment_monitor.actions import alerts as actions
from sentiment_monitor.actions.outcomes import Acted, ActionOutcome
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.people import Acknowledgement, Closing, Deed, Saying, Verdict
from sentiment_monitor.errors import UsageError
from sentiment_monitor.store import people
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import acknowledgements, audit, closings, comments
from sentiment_monitor.times import MINUTE_MS
from writing import Alerts, alert, event

DECIDED = 27_974_481  # the newest minute
NOW = DECIDED * MINUTE_MS + 30_000
LATER = NOW + 60_000


@pytest.fixture
def alerted(database: Database) -> Database:
    """Alerts 1 and 2 fire, 3 is pending, 4 is over."""
    alerts = Alerts(database)
    lease = alerts.leases.acquire("me", NOW, 1_000)
    assert lease
    changes = [
        Change(alert(series="ticker:A"), event()),
        Change(alert(series="ticker:B"), event()),
        Change(alert(series="ticker:C", state=State.PENDING, fired_minute=None)),
        Change(alert(series="ticker:D", state=State.RESOLVED, resolved_minute=DECIDED)),
    ]
    alerts.apply(lease, DECIDED, changes, NOW)
    return database


def _audited(database: Database) -> list[tuple[int, str, str, str, object]]:
    with database.read() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id))
        return [(row.at_ms, row.actor, row.action, row.subject, json.loads(row.detail)) for row in rows]


def _outcomes(changes: Sequence[Acted]) -> list[tuple[int, str]]:
    return [(change.id, change.outcome) for change in changes]


def _said(database: Database, number: int = 1) -> list[Saying]:
    with database.read() as connection:
        return people.sayings(connection, number)


def _acknowledge(database: Database, *ids: int, owner: str = "ada", note: str = "on it", now: int = NOW) -> list[Acted]:
    return actions.acknowledge(database, "ann", ids, owner=owner, note=note, now_ms=now)


def _close(database: Database, *ids: int, verdict: Verdict = Verdict.RESOLVED, reason: str = "answered") -> list[Acted]:
    return actions.close(database, "ann", ids, author="ann", verdict=verdict, reason=reason, now_ms=NOW)


def test_who_takes_alerts_on_is_kept_and_noted_and_counts_from_the_next_minute_that_is_decided(
    alerted: Database,
) -> None:
    assert _outcomes(_acknowledge(alerted, 2, 1, 2, 3)) == [(2, "done"), (1, "done"), (3, "done")]
    with alerted.read() as connection:
        said = people.people(connection, DECIDED + 1, [1, 2, 3, 4])
    assert said.acknowledged == {number: Acknowledgement(number, DECIDED + 1, "ada", "on it") for number in (1, 2, 3)}
    assert Alerts(alerted).owners([1, 4]) == {1: "ada"}
    assert _said(alerted) == [Saying(NOW, "ann", Deed.ACKNOWLEDGED, "on it", "ada")]
    assert _audited(alerted) == [
        (NOW, "ann", "alert.acknowledge", f"alert:{number}", {"owner": "ada", "note": "on it"}) for number in (2, 1, 3)
    ]


def test_pressing_twice_takes_an_alert_on_once(alerted: Database) -> None:
    _acknowledge(alerted, 1)
    for note in ("on it", ""):
        (again,) = _acknowledge(alerted, 1, note=note, now=LATER)
        assert again == Acted(1, ActionOutcome.ALREADY, "ada has it already")
    assert len(_audited(alerted)) == len(_said(alerted)) == 1


def test_an_alert_can_be_taken_over_annotated_and_given_up(alerted: Database) -> None:
    _acknowledge(alerted, 1)
    _acknowledge(alerted, 1, owner="bob", note="", now=LATER)
    _acknowledge(alerted, 1, owner="bob", note="called", now=LATER)
    assert Alerts(alerted).owners([1]) == {1: "bob"}
    for outcome in (ActionOutcome.DONE, ActionOutcome.ALREADY):
        (change,) = actions.unacknowledge(alerted, "bob", [1], note="home", now_ms=LATER + 1)
        assert change.outcome is outcome
    assert Alerts(alerted).owners([1]) == {}
    assert [(saying.deed, saying.owner, saying.text) for saying in _said(alerted)] == [
        ("acknowledged", "ada", "on it"),
        ("acknowledged", "bob", ""),
        ("acknowledged", "bob", "called"),
        ("unacknowledged", None, "home"),
    ]
    history = Alerts(alerted).history(1)
    assert history is not None
    assert history.owner is None


def test_who_had_an_alert_before_it_was_over_does_not_have_it_when_it_is_back(alerted: Database) -> None:
    _acknowledge(alerted, 1)
    alerts = Alerts(alerted)
    lease = alerts.leases.acquire("me", NOW, 1_000)
    assert lease
    back = alert(id=1, reopened_minute=DECIDED + 5, reopenings=1)
    alerts.apply(lease, DECIDED + 5, [Change(back)], NOW)
    assert alerts.owners([1]) == {}
    history = alerts.history(1)
    assert history is not None
    assert (history.owner, [saying.owner for saying in history.said]) == (None, ["ada"])
    (again,) = _acknowledge(alerted, 1, now=NOW + 5 * MINUTE_MS)
    assert (again.outcome, alerts.owners([1])) == (ActionOutcome.DONE, {1: "ada"})


def test_what_is_over_or_was_never_there_is_named_and_the_others_are_done(alerted: Database) -> None:
    changes = _acknowledge(alerted, 4, 99, 1)
    assert changes[0] == Acted(4, ActionOutcome.OVER, "resolved 2023-03-10 17:21 UTC")
    assert _outcomes(changes) == [(4, "over"), (99, "unknown"), (1, "done")]
    assert _outcomes(_close(alerted, 4, 99)) == [(4, "over"), (99, "unknown")]
    assert [subject for *_, subject, _ in _audited(alerted)] == ["alert:1"]


@pytest.mark.parametrize("verdict", Verdict)
def test_an_alert_is_ended_once_by_one_verdict(alerted: Database, verdict: Verdict) -> None:
    assert _outcomes(_close(alerted, 1, verdict=verdict)) == [(1, "done")]
    with alerted.read() as connection:
        said = people.people(connection, DECIDED + 1, [1, 2])
    assert said.closed == {1: Closing(1, DECIDED + 1, "ann", verdict, "answered")}
    assert _outcomes(_close(alerted, 1, verdict=verdict)) == [(1, "already")]
    other = next(another for another in Verdict if another is not verdict)
    assert _close(alerted, 1, verdict=other) == [Acted(1, ActionOutcome.OVER, f"{verdict} by ann")]
    assert _acknowledge(alerted, 1) == [Acted(1, ActionOutcome.OVER, f"{verdict} by ann")]
    action = {"resolved": "alert.resolve", "dismissed": "alert.dismiss"}[verdict]
    assert [(name, detail) for _, _, name, _, detail in _audited(alerted)] == [
        (action, {"author": "ann", "reason": "answered"})
    ]
    assert _said(alerted) == [Saying(NOW, "ann", Deed(verdict), "answered")]


def test_a_comment_is_kept_with_any_alert_and_twice_the_same_is_one(alerted: Database) -> None:
    def comment(text: str, *ids: int) -> list[tuple[int, str]]:
        return _outcomes(actions.comment(alerted, "api", ids, author="ann", text=text, now_ms=NOW))

    assert comment(" as in May ", 1, 4, 99) == [(1, "done"), (4, "done"), (99, "unknown")]
    assert comment("as in May", 4) == [(4, "already")]
    assert comment("or June", 4) == comment("as in May", 4) == [(4, "done")]
    assert [saying.text for saying in _said(alerted, 4)] == ["as in May", "or June", "as in May"]
    assert {actor for _, actor, *_ in _audited(alerted)} == {"api"}


@pytest.mark.parametrize("text", ["", " \n", "x" * 4_001, "a\x00b", "a\ud800b"])
def test_words_that_cannot_be_kept_are_refused_and_nothing_is_written(alerted: Database, text: str) -> None:
    with pytest.raises(UsageError):
        _close(alerted, 1, verdict=Verdict.DISMISSED, reason=text)
    with pytest.raises(UsageError):
        actions.comment(alerted, "ann", [1], author="ann", text=text, now_ms=NOW)
    with pytest.raises(UsageError):
        _acknowledge(alerted, 1, owner=text)
    if text.strip():
        with pytest.raises(UsageError):
            _acknowledge(alerted, 1, note=text)
    with alerted.read() as connection:
        for table in (acknowledgements, comments, closings, audit):
            assert connection.scalar(select(func.count()).select_from(table)) == 0


def test_of_two_who_end_an_alert_at_once_the_first_is_kept(alerted: Database) -> None:
    with alerted.write() as connection:
        assert people.close(connection, 1, "ann", Verdict.RESOLVED, "", NOW)
        assert not people.close(connection, 1, "bob", Verdict.DISMISSED, "false", NOW)
    assert [saying.actor for saying in _said(alerted)] == ["ann"]
