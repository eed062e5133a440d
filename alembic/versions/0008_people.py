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
_DECIDED = "the first that was decided with it"


def upgrade() -> None:
    op.add_column(
        "alerts",
        sa.Column(
            "closed_negatives",
            sa.Float(),
            comment="somebody ended it at so many, and what raised it may not be over yet",
        ),
    )
    op.create_index("ix_alerts_closed_negatives", "alerts", ["closed_negatives"])
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


def downgrade() -> None:
    for table in ("closings", "comments", "acknowledgements", "silences"):
        op.drop_table(table)
    op.drop_index("ix_alerts_closed_negatives", "alerts")
    op.drop_column("alerts", "closed_negatives")


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
