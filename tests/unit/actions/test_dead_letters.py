"""Asking for dead letters to be read again: what is marked, what is noted, what is said."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select, update

from sentiment_monitor.actions.dead_letters import Replay, ReplayOutcome, replays_of, request_replay
from sentiment_monitor.store import dead_letters
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import audit
from sentiment_monitor.store.schema import dead_letters as letters
from writing import NOW, Desk, dead

LATER = NOW + 3_600_000


@pytest.fixture
def filled(database: Database) -> Database:
    Desk(database).write(dead=[dead(0, key=b"k"), dead(1, code="not_utf8"), dead(2)])
    return database


def _audited(database: Database) -> list[tuple[int, str, str, str, object]]:
    with database.read() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id))
        return [(row.at_ms, row.actor, row.action, row.subject, json.loads(row.detail)) for row in rows]


def _waiting(database: Database) -> list[int]:
    with database.read() as connection:
        return [letter.id for letter in dead_letters.recent(connection, 9) if letter.requested_ms is not None][::-1]


def _set(database: Database, number: int, **values: object) -> None:
    with database.write() as connection:
        connection.execute(update(letters).where(letters.c.id == number).values(**values))


def test_a_request_marks_letters_and_notes_who_asked(filled: Database) -> None:
    request = request_replay(filled, "ann", [3, 1, 3, 99], LATER)
    assert request.settled == (Replay(99, ReplayOutcome.UNKNOWN, "there is no such dead letter"),)
    assert _waiting(filled) == [1, 3]
    assert _audited(filled) == [
        (LATER, "ann", "dead_letter.replay", f"dead_letter:{number}",
         {"code": "not_json", "topic": "news", "partition": 0, "offset": number - 1})
        for number in (1, 3)
    ]  # fmt: skip
    with filled.read() as connection:
        assert [replay.outcome for replay in replays_of(connection, request)] == [ReplayOutcome.REQUESTED] * 2


def test_whoever_asks_for_one_that_waits_waits_with_the_others(filled: Database) -> None:
    request_replay(filled, "ann", [1], NOW)
    request = request_replay(filled, "bob", [1, 2], LATER)
    assert (list(request.attempts), request.settled) == ([1, 2], ())
    assert [(actor, subject) for _, actor, _, subject, _ in _audited(filled)] == [
        ("ann", "dead_letter:1"), ("bob", "dead_letter:2"),
    ]  # fmt: skip


def test_one_that_is_stored_is_not_asked_for_again(filled: Database) -> None:
    _set(filled, 1, replayed_ms=LATER)
    request = request_replay(filled, "ann", [1], LATER)
    assert request.settled == (Replay(1, ReplayOutcome.ALREADY_REPLAYED, "at 2023-03-10 18:21 UTC"),)
    assert (request.attempts, _waiting(filled), _audited(filled)) == ({}, [], [])


def test_a_batch_that_nobody_can_read_is_not_asked_for(filled: Database) -> None:
    """Its bytes are no message: what they would be called instead says less than what is known."""
    _set(filled, 1, code="unreadable_batch", detail="offsets 42 to 51: the checksum does not match")
    request = request_replay(filled, "ann", [1], LATER)
    assert [(replay.id, replay.outcome) for replay in request.settled] == [(1, ReplayOutcome.NO_MESSAGE)]
    assert (request.attempts, _waiting(filled), _audited(filled)) == ({}, [], [])


def test_an_earlier_failure_is_not_taken_for_the_outcome(filled: Database) -> None:
    _set(filled, 1, attempts=4, code="bad_time", detail="long ago")
    request = request_replay(filled, "ann", [1], LATER)

    def outcome() -> Replay:
        with filled.read() as connection:
            (replay,) = replays_of(connection, request)
        return replay

    assert outcome().outcome is ReplayOutcome.REQUESTED
    _set(filled, 1, attempts=5, requested_ms=None, detail="again")
    assert outcome() == Replay(1, ReplayOutcome.UNREADABLE, "bad_time: again")
    _set(filled, 1, attempts=6, replayed_ms=LATER)
    assert outcome() == Replay(1, ReplayOutcome.REPLAYED)


def test_a_long_name_of_an_actor_is_cut(filled: Database) -> None:
    request_replay(filled, "a" * 300, [1], NOW)
    assert [actor for _, actor, _, _, _ in _audited(filled)] == ["a" * 200]


def test_a_letter_without_a_time_of_its_own_bears_that_of_its_arrival(filled: Database) -> None:
    _set(filled, 1, timestamp_ms=None)
    with filled.read() as connection:
        kept = dead_letters.kept(connection, 1)
    assert kept
    assert kept.record.timestamp_ms == NOW


def test_thousands_are_asked_for_at_once(database: Database) -> None:
    Desk(database).write(dead=[dead(n) for n in range(1_500)])
    request = request_replay(database, "ann", range(1, 1_501), NOW)
    assert (len(request.attempts), len(_audited(database))) == (1_500, 1_500)
