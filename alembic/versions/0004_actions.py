"""An audit of what people change; dead letters know their record's own time, and whether they were sent again.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False, comment="a user of the command line's machine, or api"),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, comment="JSON"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        comment="who changed what, in the transaction of the change",
    )
    with op.batch_alter_table("dead_letters") as table:
        table.add_column(
            sa.Column("timestamp_ms", sa.BigInteger(), comment="the record's own time; null where it is not known")
        )
        table.add_column(sa.Column("replayed_ms", sa.BigInteger(), comment="sent again; null: never"))


def downgrade() -> None:
    with op.batch_alter_table("dead_letters") as table:
        table.drop_column("replayed_ms")
        table.drop_column("timestamp_ms")
    op.drop_table("audit")
