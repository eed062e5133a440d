"""Replaying dead letters: what is sent, what is noted, and what a crash between the two leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import select

from sentiment_monitor.actions.dead_letters import Replay, ReplayOutcome, replay
from sentiment_monitor.domain.news import Position, Record
from sentiment_monitor.errors import BrokerAway
from sentiment_monitor.store import dead_letters
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.dead_letters import KeptRecord
from sentiment_monitor.store.schema import audit
from writing import NOW, TOPIC, Desk, dead

LATER = NOW + 3_600_000


class Broker:
    """Takes what is published; ``away`` takes nothing, ``crash`` takes it and the process ends before it knows."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.away = False
        self.crash = False
        self.refused = b""
        self.meanwhile: Callable[[], object] = lambda: None

    def publish(self, records: Sequence[Record]) -> list[str | None]:
        if self.away:
            raise BrokerAway("nobody answers")
        self.records += [record for record in records if record.value != self.refused]
        if self.crash:
            raise KeyboardInterrupt
        self.meanwhile()
        return ["too large" if record.value == self.refused else None for record in records]


@pytest.fixture
def filled(database: Database) -> Database:
    letters = [dead(0, value=b"{1}", key=b"k"), dead(1, value=b"\xff", code="not_utf8"), dead(2, value=b"{3}")]
    Desk(database).write(dead=letters)
    return database


def _replay(database: Database, broker: Broker, *ids: int, actor: str = "ann") -> list[Replay]:
    def refusal(letter: KeptRecord) -> str | None:
        return "not_utf8: still" if letter.record.value == b"\xff" else None

    return replay(database, actor, ids, refusal=refusal, publish=broker.publish, now_ms=LATER)


def _audited(database: Database) -> list[tuple[int, str, str, str, object]]:
    with database.read() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id))
        return [(row.at_ms, row.actor, row.action, row.subject, json.loads(row.detail)) for row in rows]


def _waiting(database: Database, code: str | None = None) -> list[int]:
    with database.read() as connection:
        return dead_letters.not_replayed(connection, code)


def test_a_record_is_sent_as_it_was_marked_and_audited(filled: Database) -> None:
    broker = Broker()
    assert _replay(filled, broker, 3, 1) == [
        Replay(3, ReplayOutcome.REPLAYED, "onto topic news"), Replay(1, ReplayOutcome.REPLAYED, "onto topic news"),
    ]  # fmt: skip
    assert broker.records == [
        Record(Position(TOPIC, 0, 0), b"k", b"{1}", NOW), Record(Position(TOPIC, 0, 2), None, b"{3}", NOW),
    ], "in the order in which they came"  # fmt: skip
    assert _waiting(filled) == [2]
    assert _audited(filled) == [
        (LATER, "ann", "dead_letter.replay", f"dead_letter:{number}",
         {"code": "not_json", "topic": TOPIC, "partition": 0, "offset": number - 1})
        for number in (1, 3)
    ]  # fmt: skip
    with filled.read() as connection:
        assert {letter.id: letter.replayed_ms for letter in dead_letters.recent(connection, 9)} == {
            1: LATER, 2: None, 3: LATER,
        }  # fmt: skip


def test_what_would_only_come_back_is_not_sent(filled: Database) -> None:
    broker = Broker()
    assert _replay(filled, broker, 2, 2, 99) == [
        Replay(2, ReplayOutcome.UNREADABLE, "not_utf8: still"),
        Replay(99, ReplayOutcome.UNKNOWN, "there is no such dead letter"),
    ]
    assert (broker.records, _audited(filled), _waiting(filled, "not_utf8")) == ([], [], [2])


def test_a_second_replay_sends_nothing(filled: Database) -> None:
    broker = Broker()
    _replay(filled, broker, 1)
    (again,) = _replay(filled, broker, 1)
    assert again == Replay(1, ReplayOutcome.ALREADY_REPLAYED, "at 2023-03-10 18:21 UTC")
    assert (len(broker.records), len(_audited(filled))) == (1, 1)


def test_while_the_broker_is_away_nothing_is_marked(filled: Database) -> None:
    broker = Broker()
    broker.away = True
    with pytest.raises(BrokerAway):
        _replay(filled, broker, 1, 3)
    assert (_waiting(filled), _audited(filled)) == ([1, 2, 3], [])


def test_one_that_the_broker_refuses_keeps_no_other_back(filled: Database) -> None:
    broker = Broker()
    broker.refused = b"{1}"
    assert _replay(filled, broker, 1, 3) == [
        Replay(1, ReplayOutcome.REFUSED, "too large"), Replay(3, ReplayOutcome.REPLAYED, "onto topic news"),
    ]  # fmt: skip
    assert (_waiting(filled), [subject for _, _, _, subject, _ in _audited(filled)]) == ([1, 2], ["dead_letter:3"])
    assert [outcome.outcome for outcome in _replay(filled, broker, 1)] == [ReplayOutcome.REFUSED]
    assert len(_audited(filled)) == 1


def test_what_another_process_marked_meanwhile_is_audited_once(filled: Database) -> None:
    broker, other = Broker(), Broker()
    broker.meanwhile = lambda: _replay(filled, other, 1, actor="bob")
    first, third = _replay(filled, broker, 1, 3)
    assert (first.outcome, "another replay" in first.detail) == (ReplayOutcome.REPLAYED, True)
    assert third == Replay(3, ReplayOutcome.REPLAYED, "onto topic news")
    assert [(actor, subject) for _, actor, _, subject, _ in _audited(filled)] == [
        ("bob", "dead_letter:1"), ("ann", "dead_letter:3"),
    ]  # fmt: skip


def test_a_long_name_of_an_actor_is_cut(filled: Database) -> None:
    _replay(filled, Broker(), 1, actor="a" * 300)
    assert [actor for _, actor, _, _, _ in _audited(filled)] == ["a" * 200]


def test_a_crash_between_sending_and_marking_loses_nothing(filled: Database) -> None:
    broker = Broker()
    broker.crash = True
    with pytest.raises(KeyboardInterrupt):
        _replay(filled, broker, 1)
    broker.crash = False
    assert [outcome.outcome for outcome in _replay(filled, broker, 1)] == [ReplayOutcome.REPLAYED]
    assert [record.value for record in broker.records] == [b"{1}", b"{1}"]  # the second is a duplicate of its story


def test_a_letter_without_a_time_of_its_own_bears_that_of_its_arrival(database: Database) -> None:
    letter = dead(value=b"{}")
    Desk(database).write(dead=[type(letter)(Record(Position(TOPIC, 0, 0), None, b"{}", -1), "bad_time", "")])
    with database.read() as connection:
        (kept,) = dead_letters.kept(connection, [1])
    assert kept.record.timestamp_ms == NOW
