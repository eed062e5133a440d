"""Alerts of old news are kept, and marked: nobody is told of them.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INSTANT = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', {ms} / 1000.0, 'unixepoch')",
    "postgresql": "to_timestamp({ms} / 1000.0)",
}


def upgrade() -> None:
    op.add_column(
        "alerts",
        sa.Column(
            "stale", sa.Boolean(), nullable=False, server_default=sa.false(), comment="of old news: nobody was told"
        ),
    )
    op.execute("DROP VIEW v1_alerts")
    op.execute(f"CREATE VIEW v1_alerts AS {_view(', a.stale AS stale')}")


def downgrade() -> None:
    op.execute("DROP VIEW v1_alerts")
    op.drop_column("alerts", "stale")
    op.execute(f"CREATE VIEW v1_alerts AS {_view('')}")


def _view(more: str) -> str:
    columns = ", ".join(f"a.{name}" for name in ("id", "fingerprint", "rule", "series", "severity", "state", "title"))
    instants = ", ".join(
        f"{_at(f'a.{name}_minute')} AS {name}_at" for name in ("pending", "fired", "resolved", "reopened")
    )
    quiet = "(CASE WHEN a.state = 'firing' THEN a.quiet_minute END)"
    taken_on = "(CASE WHEN k.owner IS NOT NULL THEN k.at_ms END)"
    return f"""
        SELECT {columns}, {instants}, {_at(quiet)} AS recovering_since,
               k.owner AS owner, {_instant(taken_on)} AS acknowledged_at,
               c.verdict AS verdict, c.actor AS closed_by, c.reason AS closing_reason{more}
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
