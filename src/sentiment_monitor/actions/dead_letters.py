"""Replaying dead letters: once the cause is mended, their records go onto their topics again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sentiment_monitor.domain.news import Record
from sentiment_monitor.store import audit, dead_letters
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.dead_letters import KeptRecord
from sentiment_monitor.times import MINUTE_MS, clock


class ReplayOutcome(StrEnum):
    """Of one replay."""

    REPLAYED = "replayed"
    ALREADY_REPLAYED = "already_replayed"  # nothing was sent: if it failed again, that is another dead letter
    UNREADABLE = "unreadable"  # nothing was sent: it would only come back
    REFUSED = "refused"  # the broker did not take it
    UNKNOWN = "unknown"  # there is no such dead letter


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of one dead letter."""

    id: int
    outcome: ReplayOutcome
    detail: str = ""  # for people


Replayer = Callable[[str, Sequence[int]], list[Replay]]
"""``replay`` with all but the actor and the numbers filled in."""


def replay(
    database: Database,
    actor: str,
    ids: Sequence[int],
    *,
    refusal: Callable[[KeptRecord], str | None],
    publish: Callable[[Sequence[Record]], Sequence[str | None]],
    now_ms: int,
) -> list[Replay]:
    """Publishes the records of dead letters again; those sent are marked and audited in one transaction.

    ``refusal`` says why the service would not take one now (None: it would); such a one is not sent. ``publish``
    gets them in the order in which they came, and says for each why the broker did not take it (None: acknowledged), or
    raises: nothing is marked then. A crash between the two leaves them unmarked; sent a second time they are duplicates
    of the same stories, which change nothing unless a newer version without a revision came between.
    """
    with database.read() as connection:
        kept = {letter.id: letter for letter in dead_letters.kept(connection, ids)}
    replay_by_id = {number: _judged(number, kept.get(number), refusal) for number in dict.fromkeys(ids)}
    sent = [letter for letter in kept.values() if replay_by_id[letter.id].outcome is ReplayOutcome.REPLAYED]
    if sent:
        reasons = publish([letter.record for letter in sent])
        acknowledged = []
        for letter, reason in zip(sent, reasons, strict=True):
            if reason is None:
                acknowledged.append(letter)
            else:
                replay_by_id[letter.id] = Replay(letter.id, ReplayOutcome.REFUSED, reason)
        for number in _noted(database, actor, acknowledged, now_ms):
            detail = f"{replay_by_id[number].detail}; another replay sent it at the same time"
            replay_by_id[number] = replace(replay_by_id[number], detail=detail)
    return list(replay_by_id.values())


def _noted(database: Database, actor: str, acknowledged: Sequence[KeptRecord], now_ms: int) -> list[int]:
    """Marks and audits what was sent; returns those that another replay had marked meanwhile."""
    if not acknowledged:
        return []
    with database.write() as connection:
        marked = dead_letters.mark_replayed(connection, [letter.id for letter in acknowledged], now_ms)
        if marked:
            audit.note(connection, [_entry(letter, actor, now_ms) for letter in acknowledged if letter.id in marked])
    return [letter.id for letter in acknowledged if letter.id not in marked]


def _judged(number: int, letter: KeptRecord | None, refusal: Callable[[KeptRecord], str | None]) -> Replay:
    if letter is None:
        return Replay(number, ReplayOutcome.UNKNOWN, "there is no such dead letter")
    if letter.replayed_ms is not None:
        return Replay(number, ReplayOutcome.ALREADY_REPLAYED, f"at {clock(letter.replayed_ms // MINUTE_MS)} UTC")
    if reason := refusal(letter):
        return Replay(number, ReplayOutcome.UNREADABLE, reason)
    return Replay(number, ReplayOutcome.REPLAYED, f"onto topic {letter.record.position.topic}")


def _entry(letter: KeptRecord, actor: str, now_ms: int) -> audit.Entry:
    position = letter.record.position
    detail = {"code": letter.code, "topic": position.topic, "partition": position.partition, "offset": position.offset}
    return audit.Entry(now_ms, actor, "dead_letter.replay", f"dead_letter:{letter.id}", detail)
