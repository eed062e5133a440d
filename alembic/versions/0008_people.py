"""What people say about alerts: silences, acknowledgements, comments, closings.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ALERTS = (
    ("closed_negatives", sa.Float(), True, "somebody ended it at so many, and what raised it may not be over yet"),
    ("reopened_minute", sa.BigInteger(), True, "it was resolved, and fires again since"),
    ("reopenings", sa.Integer(), False, "how often that was so"),
)
_INDEXED = ("closed_negatives", "resolved_minute")
_INSTANT = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', {ms} / 1000.0, 'unixepoch')",
    "postgresql": "to_timestamp({ms} / 1000.0)",
}
_DECIDED = "the first that was decided with it"


def upgrade() -> None:
    for name, kind, nullable, comment in _ALERTS:
        default = None if nullable else "0"
        op.add_column("alerts", sa.Column(name, kind, nullable=nullable, server_default=default, comment=comment))
    for name in _INDEXED:
        op.create_index(f"ix_alerts_{name}", "alerts", [name])
    op.create_table(
        "silences",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column(
            "matchers", sa.Text(), nullable=False, comment="JSON: matchers as people write them, all of which must fit"
        ),
        sa.Column("starts_minute", sa.BigInteger(), nullable=False),
        sa.Column(
            "ends_minute", sa.BigInteger(), nullable=False, comment="exclusive; earlier once somebody has expired it"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    op.create_index("ix_silences_ends_minute", "silences", ["ends_minute"])
    op.create_table(
        "acknowledgements",
        *_about_an_alert("acknowledgements"),
        sa.Column("minute", sa.BigInteger(), nullable=False, comment=_DECIDED),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(200), comment="null: given up again, nobody has it"),
        sa.Column("note", sa.Text(), nullable=False),
        comment="who has taken an alert on; the newest row of an alert counts",
    )
    op.create_index("ix_acknowledgements_alert_id", "acknowledgements", ["alert_id"])
    op.create_table(
        "comments",
        *_about_an_alert("comments"),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_index("ix_comments_alert_id", "comments", ["alert_id"])
    op.create_table(
        "closings",
        *_about_an_alert("closings"),
        sa.Column("minute", sa.BigInteger(), nullable=False, comment=_DECIDED),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False, comment="resolved, dismissed"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.UniqueConstraint("alert_id", name=op.f("uq_closings_alert_id")),
        comment="who ended an alert before its own time; the next tick does it",
    )
    op.execute("DROP VIEW v1_alerts")
    op.execute(f"CREATE VIEW v1_alerts AS {_view()}")


def downgrade() -> None:
    op.execute("DROP VIEW v1_alerts")
    for table in ("closings", "comments", "acknowledgements", "silences"):
        op.drop_table(table)
    for name in _INDEXED:
        op.drop_index(f"ix_alerts_{name}", "alerts")
    for name, *_ in _ALERTS:
        op.drop_column("alerts", name)
    op.execute(f"CREATE VIEW v1_alerts AS SELECT {_columns()} FROM alerts a WHERE a.fired_minute IS NOT NULL")


def _columns() -> str:
    """What the view had before."""
    columns = ("id", "fingerprint", "rule", "series", "severity", "state", "title")
    instants = (f"{_at(f'a.{name}_minute')} AS {name}_at" for name in ("pending", "fired", "resolved"))
    return ", ".join((*(f"a.{name}" for name in columns), *instants))


def _view() -> str:
    quiet = "(CASE WHEN a.state = 'firing' THEN a.quiet_minute END)"
    taken_on = "(CASE WHEN k.owner IS NOT NULL THEN k.at_ms END)"
    return f"""
        SELECT {_columns()}, {_at("a.reopened_minute")} AS reopened_at, {_at(quiet)} AS recovering_since,
               k.owner AS owner, {_instant(taken_on)} AS acknowledged_at,
               c.verdict AS verdict, c.actor AS closed_by, c.reason AS closing_reason
        FROM alerts a
        LEFT JOIN acknowledgements k
               ON k.id = (SELECT max(newest.id) FROM acknowledgements newest WHERE newest.alert_id = a.id)
               AND k.minute > coalesce(a.reopened_minute, -1)
        LEFT JOIN closings c ON c.alert_id = a.id
        WHERE a.fired_minute IS NOT NULL"""


def _at(minute: str) -> str:
    return _instant(f"({minute} * 60000)")


def _instant(ms: str) -> str:
    return _INSTANT[op.get_bind().dialect.name].format(ms=ms)


def _about_an_alert(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("alert_id", _KEY, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], ondelete="CASCADE", name=op.f(f"fk_{table}_alert_id_alerts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]
