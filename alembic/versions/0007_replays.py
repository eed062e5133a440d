"""Dead letters are read again by the service itself: which wait for that, and how often it was tried.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COUNTS = {"taken": "readings begun since it was asked for", "attempts": "how often it was read again"}
_INDEX = "ix_dead_letters_requested_ms"


def upgrade() -> None:
    op.add_column(
        "dead_letters",
        sa.Column("requested_ms", sa.BigInteger(), comment="asked to be read again, and not yet; null: nobody waits"),
    )
    for name, comment in _COUNTS.items():
        op.add_column(
            "dead_letters", sa.Column(name, sa.Integer(), server_default="0", nullable=False, comment=comment)
        )
    op.create_index(_INDEX, "dead_letters", ["requested_ms"])
    _comment("read again and stored; null: not yet")


def downgrade() -> None:
    _comment("sent again; null: never")
    op.drop_index(_INDEX, "dead_letters")
    for name in reversed(_COUNTS):
        op.drop_column("dead_letters", name)
    op.drop_column("dead_letters", "requested_ms")


def _comment(replayed: str) -> None:
    if op.get_bind().dialect.name == "postgresql":  # SQLite has none
        op.alter_column("dead_letters", "replayed_ms", comment=replayed)
