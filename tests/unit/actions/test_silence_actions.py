"""Silences: what may be muted and when, what is kept, and what ending one does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from sentiment_monitor.actions.outcomes import Acted, ActionOutcome
from sentiment_monitor.actions.silences import LONGEST_MINUTES, add_silence, expire, matchers_of
from sentiment_monitor.domain.people import Silence, SilenceState
from sentiment_monitor.errors import UsageError
from sentiment_monitor.store import people
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import advance
from sentiment_monitor.store.schema import audit, silences
from sentiment_monitor.times import MINUTE_MS
from writing import Alerts

PRESENT = 27_974_481
NOW = PRESENT * MINUTE_MS + 30_000
KESTREL = matchers_of(["series=ticker:KSTR", "severity!=critical"])


def _add(database: Database, **values: Any) -> Silence:
    usual: dict[str, Any] = {
        "matchers": KESTREL, "author": "ann", "comment": "results", "starts_minute": None,
        "ends_minute": PRESENT + 120, "now_ms": NOW,
    }  # fmt: skip
    return add_silence(database, "ann", **(usual | values))


def _decide(database: Database, minute: int) -> None:
    alerts = Alerts(database)
    lease = alerts.leases.acquire("me", NOW, 1_000)
    assert lease
    with database.write() as connection:
        advance(connection, lease, minute)


def _standing(database: Database, minute: int = PRESENT) -> tuple[Silence, ...]:
    with database.read() as connection:
        return people.people(connection, minute, []).silences


def test_a_silence_is_kept_as_it_was_written_and_noted(database: Database) -> None:
    silence = _add(database)
    assert silence == Silence(1, KESTREL, PRESENT, PRESENT + 120, "ann", "results")
    assert _standing(database) == (silence,)
    assert _standing(database, PRESENT + 119) == (silence,)
    assert _standing(database, PRESENT + 120) == ()
    with database.read() as connection:
        (row,) = connection.execute(select(audit)).all()
    assert (row.at_ms, row.actor, row.action, row.subject) == (NOW, "ann", "silence.add", "silence:1")
    assert json.loads(row.detail) == {
        "matchers": ['series="ticker:KSTR"', 'severity!="critical"'], "from": "2023-03-10 17:21",
        "until": "2023-03-10 19:21", "author": "ann", "comment": "results",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("decided", "asked", "begins"),
    [
        (PRESENT - 1, None, PRESENT),
        (PRESENT, None, PRESENT + 1),  # this minute has been told already
        (PRESENT, PRESENT, PRESENT + 1),
        (PRESENT, PRESENT + 60, PRESENT + 60),
        (PRESENT - 500, None, PRESENT),  # nobody decides
        (PRESENT + 3, None, PRESENT + 1),  # by a clock that is ahead
    ],
)
def test_a_silence_begins_with_the_first_minute_that_it_can_mute(
    database: Database, decided: int, asked: int | None, begins: int
) -> None:
    _decide(database, decided)
    assert _add(database, starts_minute=asked).starts_minute == begins


def test_pressing_twice_is_one_silence(database: Database) -> None:
    first = _add(database)
    _decide(database, PRESENT)
    assert _add(database) == first
    assert _add(database, comment="other").id == 2
    assert _add(database, ends_minute=PRESENT + 300).id == 3
    expire(database, "ann", [1], NOW)
    assert _add(database).id == 4


@pytest.mark.parametrize(
    "values",
    [
        {"ends_minute": PRESENT},
        {"ends_minute": PRESENT + 5, "starts_minute": PRESENT + 5},
        {"ends_minute": PRESENT + LONGEST_MINUTES + 1},
        {"ends_minute": 10**10},  # in a year that has no name
        {"ends_minute": 10**10, "starts_minute": 10**10 - 5},
        {"comment": " "},
        {"author": ""},
        {"author": "x" * 201},
    ],
)
def test_a_silence_that_cannot_be_meant_is_refused(database: Database, values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        _add(database, **values)
    assert _standing(database) == ()


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ([], "at least one matcher"),
        (["series"], "is no matcher"),
        (["ticker=KSTR"], "alerts have no label ticker; they have alertname"),
        (['series=~"("'], "not a regular expression"),
        (["series!=x"], "would mute every alert"),
        (['series=~".*"', "severity!=info"], "would mute every alert"),
        (["series=x"] * 21, "more than 20"),
        (["series=\x00"], "holds a character that is none"),
    ],
)
def test_matchers_that_cannot_be_meant_are_refused(written: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        matchers_of(written)


def test_whoever_means_all_may_say_so() -> None:
    assert matchers_of(['alertname=~".+"'])[0].fits({"alertname": "company-hour"})


def test_a_silence_that_is_expired_ends_with_the_next_minute_and_stays(database: Database) -> None:
    running, waiting = _add(database), _add(database, starts_minute=PRESENT + 60, comment="later")
    _decide(database, PRESENT + 10)
    now_ms = NOW + 10 * MINUTE_MS
    outcomes = expire(database, "ann", [running.id, waiting.id, 9, running.id], now_ms)
    assert [(change.id, change.outcome) for change in outcomes] == [(1, "done"), (2, "done"), (9, "unknown")]
    assert expire(database, "ann", [1], now_ms) == [Acted(1, ActionOutcome.ALREADY, "it was over 2023-03-10 17:32 UTC")]
    assert _standing(database, PRESENT + 10) == tuple(
        replace(silence, ends_minute=PRESENT + 11) for silence in (waiting, running)
    )
    assert _standing(database, PRESENT + 11) == ()
    with database.read() as connection:
        kept = people.listed(connection, PRESENT + 11, over=True)
        notes = connection.execute(select(audit.c.action, audit.c.subject).order_by(audit.c.id)).all()
    assert [(silence.id, silence.state(PRESENT + 11)) for silence in kept] == [
        (2, SilenceState.EXPIRED), (1, SilenceState.EXPIRED),
    ]  # fmt: skip
    assert notes[2:] == [("silence.expire", "silence:1"), ("silence.expire", "silence:2")]


@pytest.mark.parametrize("damaged", ["", "7", '["series"]', '["series=~\\"(\\""]'])
def test_a_silence_that_cannot_be_read_any_more_mutes_nothing(database: Database, damaged: str) -> None:
    _add(database)
    sound = _add(database, matchers=matchers_of(["series=all"]))
    with database.write() as connection:
        connection.execute(update(silences).where(silences.c.id == 1).values(matchers=damaged))
    assert _standing(database) == (sound,)
