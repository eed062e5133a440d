"""What people do about alerts: take one on, give it up, end it, remark something.

Nothing here changes an alert: only the leader does, and each tick reads what people have said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sentiment_monitor.actions import wording
from sentiment_monitor.actions.outcomes import Acted, ActionOutcome
from sentiment_monitor.domain.alert_states import OPEN_STATES
from sentiment_monitor.domain.people import Verdict
from sentiment_monitor.store import audit, people
from sentiment_monitor.store.database import Connection, Database
from sentiment_monitor.store.people import AlertStanding
from sentiment_monitor.times import clock

Act = Callable[[Connection, int, AlertStanding], Acted]


def acknowledge(
    database: Database, actor: str, ids: Sequence[int], *, owner: str, note: str, now_ms: int
) -> list[Acted]:
    """Says who has these alerts: they are not repeated and not escalated any more, and their end is told.

    Somebody else may take an alert over. The same owner with another note is noted; with the same one nothing is.
    Raises UsageError for an owner or a note that cannot be kept, DatabaseAway.
    """
    owner, note = wording.name("owner", owner), wording.text("note", note)

    def act(connection: Connection, number: int, standing: AlertStanding) -> Acted:
        held = standing.acknowledgement
        if held is not None and held.owner == owner and note in ("", held.note):
            return Acted(number, ActionOutcome.ALREADY, f"{owner} has it already")
        people.acknowledge(connection, number, actor, owner, note, now_ms)
        return Acted(number, ActionOutcome.DONE, f"acknowledged: {owner} has it")

    return _act(database, actor, ids, "alert.acknowledge", {"owner": owner, "note": note}, now_ms, act)


def unacknowledge(database: Database, actor: str, ids: Sequence[int], *, note: str, now_ms: int) -> list[Acted]:
    """Gives these alerts up: they are repeated and escalated again.

    Raises UsageError for a note that cannot be kept, DatabaseAway.
    """
    note = wording.text("note", note)

    def act(connection: Connection, number: int, standing: AlertStanding) -> Acted:
        if standing.acknowledgement is None:
            return Acted(number, ActionOutcome.ALREADY, "nobody has it")
        people.acknowledge(connection, number, actor, None, note, now_ms)
        return Acted(number, ActionOutcome.DONE, f"given up: {standing.acknowledgement.owner} had it")

    return _act(database, actor, ids, "alert.unacknowledge", {"note": note}, now_ms, act)


def close(
    database: Database, actor: str, ids: Sequence[int], *, author: str, verdict: Verdict, reason: str, now_ms: int
) -> list[Acted]:
    """Ends these alerts: the next tick does, and tells whoever was told of them.

    What raised one does not raise it again. Somebody who dismisses one as false must say why. Raises UsageError for
    words that cannot be kept, DatabaseAway.
    """
    author = wording.name("author", author)
    reason = wording.text("reason", reason, required=verdict is Verdict.DISMISSED)

    def act(connection: Connection, number: int, standing: AlertStanding) -> Acted:
        if not people.close(connection, number, author, verdict, reason, now_ms):
            return Acted(number, ActionOutcome.ALREADY, f"{verdict} already")
        return Acted(number, ActionOutcome.DONE, f"{verdict}: it ends with the next tick")

    action = {Verdict.RESOLVED: "alert.resolve", Verdict.DISMISSED: "alert.dismiss"}[verdict]
    return _act(database, actor, ids, action, {"author": author, "reason": reason}, now_ms, act, verdict=verdict)


def comment(database: Database, actor: str, ids: Sequence[int], *, author: str, text: str, now_ms: int) -> list[Acted]:
    """Keeps a remark with these alerts, over or not.

    Raises UsageError for words that cannot be kept, DatabaseAway.
    """
    author, text = wording.name("author", author), wording.text("comment", text, required=True)

    def act(connection: Connection, number: int, standing: AlertStanding) -> Acted:
        if not people.comment(connection, number, author, text, now_ms):
            return Acted(number, ActionOutcome.ALREADY, "that is its newest comment already")
        return Acted(number, ActionOutcome.DONE, "comment kept")

    return _act(database, actor, ids, "alert.comment", {"author": author, "text": text}, now_ms, act, also_over=True)


def _act(
    database: Database,
    actor: str,
    ids: Sequence[int],
    action: str,
    detail: dict[str, str],
    now_ms: int,
    act: Act,
    *,
    also_over: bool = False,
    verdict: Verdict | None = None,
) -> list[Acted]:
    """Acts on each alert that can still be acted on, and notes what changed, in one transaction."""
    numbers = list(dict.fromkeys(ids))
    with database.write() as connection:
        known = people.standings(connection, numbers)
        changes = [
            (None if also_over else _in_the_way(number, known[number], verdict))
            or act(connection, number, known[number])
            if number in known
            else Acted(number, ActionOutcome.UNKNOWN, "there is no such alert")
            for number in numbers
        ]
        entries = [
            audit.Entry(now_ms, actor, action, f"alert:{change.id}", detail)
            for change in changes
            if change.outcome is ActionOutcome.DONE
        ]
        if entries:
            audit.note(connection, entries)
    return changes


def _in_the_way(number: int, standing: AlertStanding, verdict: Verdict | None) -> Acted | None:
    """Why nothing can be done about an alert; None: something can."""
    closing = standing.closing
    if closing is not None and closing.verdict is verdict:
        return Acted(number, ActionOutcome.ALREADY, f"{verdict} already, by {closing.actor}")
    if closing is not None:
        return Acted(number, ActionOutcome.OVER, f"{closing.verdict} by {closing.actor}")
    if standing.state not in OPEN_STATES:
        return Acted(number, ActionOutcome.OVER, f"{standing.state} {clock(standing.ended_minute)} UTC")
    return None
