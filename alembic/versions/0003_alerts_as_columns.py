"""An alert's state is columns, p-values are optional, notifiers have names, evidence has one shape.

Revision ID: 0003
Revises: 0002
"""

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INSTANT = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', {ms} / 1000.0, 'unixepoch')",
    "postgresql": "to_timestamp({ms} / 1000.0)",
}


_COMMENTS = {
    ("alerts", "state"): "pending, firing, resolved, dropped",
    ("alerts", "quiet_minute"): "firing, but nothing holds it since",
    ("alerts", "silent_minute"): "nothing can be said since",
    ("alerts", "resolved_minute"): "resolved or dropped",
    ("alerts", "decided_minute"): "of the last change",
    ("alert_events", "evidence"): "JSON: sentence, top stories, sources, copies, statistics",
    ("notifications", "notifier"): "its name; #0, #1: its place, from before there were names",
}
_COMMENTS_BEFORE = {
    ("alerts", "state"): "",
    ("alerts", "resolved_minute"): "",
    ("alerts", "updated_minute"): "",
    ("alerts", "state_json"): "the state machine's own value",
    ("alert_events", "evidence"): "JSON: statistics, top stories, sources, copies",
    ("notifications", "notifier"): "place in the receiver's list",
}


_INDEX_BEFORE = "ix_notifications_state_next_attempt_ms"
_INDEXES = {
    "ix_notifications_event_id": ["event_id"],
    "ix_notifications_state_receiver_notifier_next_attempt_ms_id": [
        *("state", "receiver", "notifier", "next_attempt_ms", "id"),
    ],
}


def _views(dialect: str) -> dict[str, str]:
    def at(minute: str) -> str:
        return _INSTANT[dialect].format(ms=f"({minute} * 60000)")

    return {
        "v1_alerts": f"""
            SELECT id, fingerprint, rule, series, severity, state, title, {at("pending_minute")} AS pending_at,
                   {at("fired_minute")} AS fired_at, {at("resolved_minute")} AS resolved_at
            FROM alerts WHERE fired_minute IS NOT NULL""",
        "v1_alert_events": f"""
            SELECT e.id, e.alert_id, {at("e.minute")} AS at, e.transition, e.reason, e.observed, e.volume,
                   e.expected, e.p_value, e.q_value, e.evidence, e.explanation
            FROM alert_events e""",
    }


def upgrade() -> None:
    # SQLite would make a table anew to change a column, and on the way empty those that refer to it: so the columns of
    # alerts and events come and go instead, and no view may look at one that goes.
    _drop_views()
    op.add_column("alerts", sa.Column("quiet_minute", sa.BigInteger(), nullable=True))
    op.add_column("alerts", sa.Column("silent_minute", sa.BigInteger(), nullable=True))
    for alert_id, text in _rows("SELECT id, state_json FROM alerts WHERE state = 'firing'"):
        _execute("UPDATE alerts SET quiet_minute = :q WHERE id = :id", q=_quiet(text), id=alert_id)
    op.drop_column("alerts", "state_json")
    _rename("alerts", "updated_minute", "decided_minute")
    for name in ("p_value", "q_value"):
        _replace("alert_events", name, sa.Column(f"new_{name}", sa.Float(), nullable=True), name)
    _rewrite_evidence(_as_one_shape)
    with op.batch_alter_table("notifications") as table:
        table.alter_column("notifier", type_=sa.String(64), postgresql_using="notifier::varchar(64)")
    op.execute("UPDATE notifications SET notifier = '#' || notifier")  # a place in a list, not a name
    op.drop_index(_INDEX_BEFORE, "notifications")
    for name, columns in _INDEXES.items():
        op.create_index(name, "notifications", columns)
    _comment(_COMMENTS)
    _make_views()


def downgrade() -> None:
    _drop_views()
    for name in _INDEXES:
        op.drop_index(name, "notifications")
    op.create_index(_INDEX_BEFORE, "notifications", ["state", "next_attempt_ms"])
    op.execute("UPDATE notifications SET notifier = CASE WHEN notifier LIKE '#%' THEN substr(notifier, 2) ELSE '0' END")
    with op.batch_alter_table("notifications") as table:
        table.alter_column("notifier", type_=sa.Integer(), postgresql_using="notifier::integer")
    _rewrite_evidence(_as_before)
    for name in ("p_value", "q_value"):
        before = sa.Column(f"new_{name}", sa.Float(), nullable=False, server_default="1")
        _replace("alert_events", name, before, f"coalesce({name}, 1)")
    _rename("alerts", "decided_minute", "updated_minute")
    op.add_column("alerts", sa.Column("state_json", sa.Text(), nullable=False, server_default="{}"))
    columns = "id, state, pending_minute, fired_minute, quiet_minute, resolved_minute, updated_minute"
    for alert_id, *state in _rows(f"SELECT {columns} FROM alerts"):
        _execute("UPDATE alerts SET state_json = :s WHERE id = :id", s=_state_json(*state), id=alert_id)
    _comment(_COMMENTS_BEFORE)
    op.drop_column("alerts", "silent_minute")
    op.drop_column("alerts", "quiet_minute")
    _make_views()


def _comment(comments: dict[tuple[str, str], str]) -> None:
    if op.get_bind().dialect.name == "postgresql":  # SQLite has none
        for (table, column), text in comments.items():
            op.alter_column(table, column, comment=text or None)


def _drop_views() -> None:
    for name in ("v1_alert_events", "v1_alerts"):
        op.execute(f"DROP VIEW {name}")


def _make_views() -> None:
    for name, query in _views(op.get_bind().dialect.name).items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def _replace(table: str, name: str, column: sa.Column[Any], value: str) -> None:
    """Puts a new column, filled with ``value``, in the place of the one called ``name``."""
    op.add_column(table, column)
    op.execute(f"UPDATE {table} SET {column.name} = {value}")
    op.drop_column(table, name)
    _rename(table, column.name, name)


def _rename(table: str, name: str, new: str) -> None:
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {name} TO {new}")


def _rows(query: str) -> list[Any]:
    return list(op.get_bind().execute(sa.text(query)))


def _execute(statement: str, **values: object) -> None:
    op.get_bind().execute(sa.text(statement), values)


def _quiet(text: str) -> int | None:
    try:
        minute = json.loads(text).get("quiet_minute")
    except (ValueError, AttributeError):
        return None
    return minute if isinstance(minute, int) else None


def _state_json(state: str, pending: int, fired: int | None, quiet: int | None, ended: int | None, decided: int) -> str:
    value = {
        "status": "normal" if state == "dropped" else state,
        "evaluated_minute": decided,
        "pending_minute": pending if state in ("pending", "firing") else None,
        "started_minute": fired,
        "quiet_minute": quiet,
        "notified_minute": fired,
        "ended_minute": ended if fired is not None else None,
    }
    return json.dumps(value)


def _rewrite_evidence(rewritten: Any) -> None:
    for event_id, text in _rows("SELECT id, evidence FROM alert_events"):
        try:
            evidence = rewritten(json.loads(text, parse_constant=lambda name: None))
        except (AttributeError, KeyError, OSError, OverflowError, TypeError, ValueError):
            evidence = {"sentence": "What this rests on cannot be read any more."}  # changed by hand: we write no such
        new = json.dumps(evidence, ensure_ascii=False)
        _execute("UPDATE alert_events SET evidence = :e WHERE id = :id", e=new, id=event_id)


def _as_one_shape(evidence: dict[str, Any]) -> dict[str, Any]:
    """Top stories as receivers get them; of the statistics the numbers."""
    numbers = {
        name: value
        for name, value in (evidence.get("statistics") or {}).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return {
        "sentence": str(evidence.get("sentence") or ""),
        "top_stories": [_top_story(story) for story in evidence.get("top_stories") or []],
        "sources": [str(source) for source in evidence.get("sources") or []],
        "copies": int(evidence.get("copies") or 0),
        "statistics": numbers,
    }


def _top_story(story: dict[str, Any]) -> dict[str, Any]:
    published = datetime.fromtimestamp(int(story.get("published_ms") or 0) // 1000, UTC)
    return {
        **{name: str(story.get(name) or "") for name in ("id", "headline", "source", "url")},
        "published_at": published.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "p_negative": float(story.get("negative") or 0.0),
        "copies": int(story.get("copies") or 0),
    }


def _as_before(evidence: dict[str, Any]) -> dict[str, Any]:
    def before(story: dict[str, Any]) -> dict[str, Any]:
        published_ms = round(datetime.fromisoformat(story["published_at"]).timestamp() * 1000)
        kept = {name: value for name, value in story.items() if name not in ("published_at", "p_negative")}
        return {**kept, "published_ms": published_ms, "negative": story["p_negative"]}

    return {**evidence, "top_stories": [before(story) for story in evidence.get("top_stories") or []]}
