"""Notifiers that stand still because their receiver does not let us in.

Revision ID: 0011
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stopped_notifiers",
        sa.Column("receiver", sa.String(64), nullable=False),
        sa.Column("notifier", sa.String(64), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False, comment="what the receiver said when it did not let us in"),
        sa.Column("access", sa.String(160), nullable=False, comment="salted hash of the settings that it refused"),
        sa.PrimaryKeyConstraint("receiver", "notifier", name="pk_stopped_notifiers"),
        comment="nothing is delivered by these until their settings change or somebody resumes them",
    )


def downgrade() -> None:
    op.drop_table("stopped_notifiers")
