"""What people say about alerts: silences, acknowledgements, closings. Rows are added; only a silence's end moves."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import BindParameter, Connection, Row, Select, Table, bindparam, func, insert, select, update

from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.domain.people import Acknowledgement, Closing, Deed, People, Saying, Silence, Verdict
from sentiment_monitor.store.database import insert_new
from sentiment_monitor.store.schema import acknowledgements, alerts, closings, comments, leases, silences
from sentiment_monitor.times import MINUTE_MS

_log = structlog.get_logger()

# Each tick asks these. To make a statement costs several times as much as to run it on a small database.
_ASKED_FOR: BindParameter[Any] = bindparam("alert_ids", expanding=True)
_SILENCES = select(silences).order_by(silences.c.ends_minute.desc(), silences.c.id.desc())
_STANDING = _SILENCES.where(silences.c.ends_minute > bindparam("minute"))
_ACKNOWLEDGED = (
    select(acknowledgements)
    .join(alerts, alerts.c.id == acknowledgements.c.alert_id)
    .where(
        acknowledgements.c.id.in_(
            select(func.max(acknowledgements.c.id))
            .where(acknowledgements.c.alert_id.in_(_ASKED_FOR))
            .group_by(acknowledgements.c.alert_id)
            .scalar_subquery()
        ),
        acknowledgements.c.minute > func.coalesce(alerts.c.reopened_minute, -1),
    )
)
_CLOSED = select(closings).where(closings.c.alert_id.in_(_ASKED_FOR))


def people(connection: Connection, minute: int, alert_ids: Collection[int]) -> People:
    """What the tick at ``minute`` must respect: silences that are not over, and what was said of these alerts.

    An acknowledgement or a closing counts from the first tick that sees it, whatever the clock said.
    """
    rows = connection.execute(_STANDING, {"minute": minute})
    standing = tuple(silence for silence in map(_silence, rows) if silence.matchers)
    if not alert_ids:
        return People(standing)
    return People(standing, acknowledged(connection, alert_ids), closed(connection, alert_ids))


@dataclass(frozen=True, slots=True)
class Recorded:
    """Everything people have said, oldest first; an acknowledgement without an owner takes the one before back."""

    silences: tuple[Silence, ...]
    acknowledgements: tuple[Acknowledgement, ...]
    closings: tuple[Closing, ...]


def recorded(connection: Connection) -> Recorded:
    """What people have said until now, of whichever alert."""
    owned = connection.execute(select(acknowledgements).order_by(acknowledgements.c.id))
    return Recorded(
        tuple(silence for silence in listed(connection, 0, over=True) if silence.matchers),
        tuple(Acknowledgement(row.alert_id, row.minute, row.owner or "", row.note) for row in owned),
        tuple(map(_closing, connection.execute(select(closings).order_by(closings.c.id)))),
    )


def listed(connection: Connection, minute: int, *, over: bool = False, limit: int | None = None) -> list[Silence]:
    """Silences that are not over at ``minute``, or with ``over`` all of them; the one that ends last first.

    One that cannot be read any more has no matchers, and mutes nothing.
    """
    query = (_SILENCES if over else _STANDING).limit(limit)
    return [_silence(row) for row in connection.execute(query, {} if over else {"minute": minute})]


def numbered(connection: Connection, number: int) -> Silence | None:
    """One silence; None when there is none."""
    row = connection.execute(select(silences).where(silences.c.id == number)).one_or_none()
    return None if row is None else _silence(row)


def sayings(connection: Connection, alert_id: int) -> list[Saying]:
    """Everything that people said about an alert, oldest first."""
    words = []
    for row in connection.execute(_of(acknowledgements, alert_id)):
        deed = Deed.UNACKNOWLEDGED if row.owner is None else Deed.ACKNOWLEDGED
        words.append(Saying(row.at_ms, row.actor, deed, row.note, row.owner))
    for row in connection.execute(_of(comments, alert_id)):
        words.append(Saying(row.at_ms, row.author, Deed.COMMENTED, row.text))
    for row in connection.execute(_of(closings, alert_id)):
        words.append(Saying(row.at_ms, row.actor, Deed(row.verdict), row.reason))
    return sorted(words, key=lambda saying: saying.at_ms)


def acknowledged(connection: Connection, alert_ids: Collection[int]) -> dict[int, Acknowledgement]:
    """Of those of the alerts that somebody has, who and since when.

    Who took an alert on before it was over and came back does not have it any more: nobody may be looking.
    """
    rows = connection.execute(_ACKNOWLEDGED, {"alert_ids": list(alert_ids)})
    return {
        row.alert_id: Acknowledgement(row.alert_id, row.minute, row.owner, row.note)
        for row in rows
        if row.owner is not None
    }


def closed(connection: Connection, alert_ids: Collection[int]) -> dict[int, Closing]:
    """Of those of the alerts that somebody has ended, who and how."""
    rows = connection.execute(_CLOSED, {"alert_ids": list(alert_ids)})
    return {row.alert_id: _closing(row) for row in rows}


def _closing(row: Row[Any]) -> Closing:
    return Closing(row.alert_id, row.minute, row.actor, Verdict(row.verdict), row.reason)


# -- for whoever says something --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AlertStanding:
    """How an alert stands before somebody says something about it."""

    state: State
    ended_minute: int | None
    acknowledgement: Acknowledgement | None
    closing: Closing | None


def standings(connection: Connection, alert_ids: Collection[int]) -> dict[int, AlertStanding]:
    """Of those of the alerts that there are."""
    owned, ended = acknowledged(connection, alert_ids), closed(connection, alert_ids)
    rows = connection.execute(
        select(alerts.c.id, alerts.c.state, alerts.c.resolved_minute).where(alerts.c.id.in_(alert_ids))
    )
    return {
        number: AlertStanding(State(state), minute, owned.get(number), ended.get(number))
        for number, state, minute in rows
    }


def undecided_minute(connection: Connection, now_ms: int) -> int:
    """The first minute that can be decided with what is said now: the one after the last that was decided.

    Where nothing has been decided, or only by a clock that is ahead of ours, the present.
    """
    present = now_ms // MINUTE_MS
    decided: int | None = connection.scalar(select(func.max(leases.c.progress_minute)))
    return present if decided is None else min(decided, present) + 1


def acknowledge(connection: Connection, alert_id: int, actor: str, owner: str | None, note: str, now_ms: int) -> None:
    """Somebody has an alert from now on; None: nobody."""
    connection.execute(
        insert(acknowledgements).values(
            alert_id=alert_id,
            at_ms=now_ms,
            minute=undecided_minute(connection, now_ms),
            actor=actor,
            owner=owner,
            note=note,
        )
    )


def close(connection: Connection, alert_id: int, actor: str, verdict: Verdict, reason: str, now_ms: int) -> bool:
    """Somebody ends an alert; False, and nothing written, when somebody has done so before."""
    row = {
        "alert_id": alert_id,
        "at_ms": now_ms,
        "minute": undecided_minute(connection, now_ms),
        "actor": actor,
        "verdict": verdict,
        "reason": reason,
    }
    return connection.scalar(insert_new(connection, closings).values(row).returning(closings.c.id)) is not None


def comment(connection: Connection, alert_id: int, author: str, text: str, now_ms: int) -> bool:
    """Somebody remarks something; False, and nothing written, when that is what was remarked last."""
    newest = connection.execute(
        select(comments.c.author, comments.c.text)
        .where(comments.c.alert_id == alert_id)
        .order_by(comments.c.id.desc())
        .limit(1)
    ).one_or_none()
    if newest == (author, text):
        return False
    connection.execute(insert(comments).values(alert_id=alert_id, at_ms=now_ms, author=author, text=text))
    return True


def add_silence(connection: Connection, draft: Silence, now_ms: int) -> int:
    """Stores a silence, whatever number it bears, and gives it its own."""
    number: int = connection.execute(
        insert(silences)
        .values(
            at_ms=now_ms,
            author=draft.author,
            comment=draft.comment,
            matchers=json.dumps([str(matcher) for matcher in draft.matchers], ensure_ascii=False),
            starts_minute=draft.starts_minute,
            ends_minute=draft.ends_minute,
        )
        .returning(silences.c.id)
    ).scalar_one()
    return number


def end_silence(connection: Connection, number: int, minute: int) -> None:
    """A silence ends at ``minute``, also one that would have begun later."""
    connection.execute(update(silences).where(silences.c.id == number).values(ends_minute=minute))


def _of(table: Table, alert_id: int) -> Select[Any]:
    return select(table).where(table.c.alert_id == alert_id).order_by(table.c.id)


def _silence(row: Row[Any]) -> Silence:
    return Silence(row.id, _matchers(row.matchers), row.starts_minute, row.ends_minute, row.author, row.comment)


@functools.lru_cache(maxsize=1_000)
def _matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers of a silence; none, and it mutes nothing, for what somebody's hand has damaged."""
    try:
        return tuple(Matcher.of(written) for written in json.loads(text))
    except (TypeError, ValueError) as error:
        _log.warning("silence.unreadable", matchers=text, error=str(error))
        return ()
