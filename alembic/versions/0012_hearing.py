"""What each message tells of which alerts, what is held back and why, and which briefings were given.

A notification may tell of several alerts, or of none. Those stored before tell of the alert of their event.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("notifications") as table:
        table.alter_column("event_id", existing_type=_KEY, nullable=True, comment="null: a briefing")
    op.create_table(
        "notification_alerts",
        sa.Column("notification_id", _KEY, nullable=False),
        sa.Column("alert_id", _KEY, nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False, comment="of the decision"),
        sa.Column(
            "cause", sa.String(16), nullable=False, comment="why it is told; named: beside the others of a group"
        ),
        sa.Column("severity", sa.String(16), nullable=False, comment="the gravest that was told of its series"),
        sa.PrimaryKeyConstraint("notification_id", "alert_id", name=op.f("pk_notification_alerts")),
        sa.ForeignKeyConstraint(
            ["notification_id"],
            ["notifications.id"],
            name=op.f("fk_notification_alerts_notification_id_notifications"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_notification_alerts_alert_id_alerts"), ondelete="CASCADE"
        ),
        comment="the alerts of which a notification tells",
    )
    op.create_index(
        "ix_notification_alerts_alert_id_notification_id", "notification_alerts", ["alert_id", "notification_id"]
    )
    op.create_index("ix_notification_alerts_minute", "notification_alerts", ["minute"])
    op.create_table(
        "held_back",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("alert_id", _KEY, nullable=False),
        sa.Column("receiver", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, comment="whose silence, which other alert, until when"),
        sa.Column("since_minute", sa.BigInteger(), nullable=False),
        sa.Column("until_minute", sa.BigInteger(), comment="exclusive; null: it still is"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_held_back")),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_held_back_alert_id_alerts"), ondelete="CASCADE"
        ),
        comment="why a receiver was not told of an alert, and for how long",
    )
    op.create_index("ix_held_back_alert_id", "held_back", ["alert_id"])
    op.create_table(
        "briefings",
        sa.Column("receiver", sa.String(64), nullable=False),
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False, comment="for which it was due"),
        sa.PrimaryKeyConstraint("receiver", "minute", name=op.f("pk_briefings")),
    )
    op.execute(
        "INSERT INTO notification_alerts (notification_id, alert_id, minute, cause, severity) "
        "SELECT notifications.id, alerts.id, alert_events.minute, alert_events.transition, alerts.severity "
        "FROM notifications JOIN alert_events ON alert_events.id = notifications.event_id "
        "JOIN alerts ON alerts.id = alert_events.alert_id"
    )


def downgrade() -> None:
    op.drop_table("briefings")
    op.drop_table("held_back")
    op.drop_table("notification_alerts")
    op.execute("DELETE FROM notifications WHERE event_id IS NULL")
    with op.batch_alter_table("notifications") as table:
        table.alter_column("event_id", existing_type=_KEY, nullable=False, comment=None)
