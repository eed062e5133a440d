"""Replaying dead letters: once the cause is mended, an ingest process reads their records again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sentiment_monitor.domain.news import UNREADABLE_BATCH
from sentiment_monitor.store import audit, dead_letters, replays
from sentiment_monitor.store.database import Connection, Database
from sentiment_monitor.store.dead_letters import LetterState
from sentiment_monitor.store.replays import Requested
from sentiment_monitor.times import MINUTE_MS, clock


class ReplayOutcome(StrEnum):
    """Of one replay."""

    REQUESTED = "requested"  # it waits for an ingest process
    REPLAYED = "replayed"  # read again, and stored
    UNREADABLE = "unreadable"  # read again, and refused again
    ALREADY_REPLAYED = "already_replayed"  # before this was asked
    NO_MESSAGE = "no_message"  # its bytes are a batch that nobody can read
    UNKNOWN = "unknown"  # there is no such dead letter


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of one dead letter."""

    id: int
    outcome: ReplayOutcome
    detail: str = ""  # for people


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What was asked for: the letters that wait now, with how often each had been read before, and the others."""

    attempts: dict[int, int]
    settled: tuple[Replay, ...] = ()


Requester = Callable[[str, Sequence[int]], ReplayRequest]
"""``request_replay`` with all but the actor and the numbers filled in."""


def request_replay(database: Database, actor: str, ids: Sequence[int], now_ms: int) -> ReplayRequest:
    """Asks for dead letters to be read again: marks and audits them in one transaction.

    Whichever ingest process sees it first reads them, in the order in which they came, by the settings it runs with.
    It stores the stories and that the letter is replayed in one transaction, so none is stored twice. One that waits
    already is not audited again.
    """
    numbers = list(dict.fromkeys(ids))
    with database.write() as connection:
        asked = replays.request(connection, numbers, now_ms)
        if asked:
            audit.note(connection, [_entry(letter, actor, now_ms) for letter in asked])
        states = dead_letters.states(connection, numbers)
    waiting = {number: state.attempts for number, state in states.items() if state.requested}
    return ReplayRequest(
        waiting, tuple(_settled(number, states.get(number)) for number in numbers if number not in waiting)
    )


def replays_of(connection: Connection, request: ReplayRequest) -> list[Replay]:
    """What has become by now of the letters that a request left waiting, in their order."""
    states = dead_letters.states(connection, list(request.attempts))
    return [_judged(number, states.get(number), before) for number, before in request.attempts.items()]


def _judged(number: int, state: LetterState | None, before: int) -> Replay:
    if state is not None and not state.requested and state.replayed_ms is None and state.attempts > before:
        return Replay(number, ReplayOutcome.UNREADABLE, f"{state.code}: {state.detail}")
    if state is not None and state.replayed_ms is not None:
        return Replay(number, ReplayOutcome.REPLAYED)
    return _settled(number, state)


def _settled(number: int, state: LetterState | None) -> Replay:
    if state is None:
        return Replay(number, ReplayOutcome.UNKNOWN, "there is no such dead letter")
    if state.replayed_ms is not None:
        at = clock(state.replayed_ms // MINUTE_MS)
        return Replay(number, ReplayOutcome.ALREADY_REPLAYED, f"at {at} UTC")
    if state.code == UNREADABLE_BATCH:
        return Replay(number, ReplayOutcome.NO_MESSAGE, "a batch that cannot be read has no message to read again")
    return Replay(number, ReplayOutcome.REQUESTED, "waits for an ingest process")


def _entry(letter: Requested, actor: str, now_ms: int) -> audit.Entry:
    detail = {"code": letter.code, "topic": letter.topic, "partition": letter.partition, "offset": letter.offset}
    return audit.Entry(now_ms, actor, "dead_letter.replay", f"dead_letter:{letter.id}", detail)
