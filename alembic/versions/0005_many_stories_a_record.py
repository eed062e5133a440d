"""A record may hold several stories, each with its place in it; fields that could not be read are counted.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_DATE = {
    "sqlite": "date(day * 86400, 'unixepoch')",
    "postgresql": "date '1970-01-01' + day::integer",
}


def upgrade() -> None:
    op.add_column(
        "stories",
        sa.Column("kafka_part", sa.Integer(), comment="place within its record, from 0; null: the record is the story"),
    )
    op.add_column(
        "dead_letters",
        sa.Column("kafka_part", sa.Integer(), comment="place of the story within the record, from 0; null: the record"),
    )
    op.create_table(
        "dropped_fields",
        sa.Column(
            "day", sa.BigInteger(), autoincrement=False, nullable=False, comment="days since 1970, UTC, of receipt"
        ),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("field", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column(
            "stories",
            sa.BigInteger(),
            nullable=False,
            comment="stories read without the field, or with part of it",
        ),
        sa.Column("example", sa.Text(), nullable=False, comment="what the field held, of one of them"),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "source", "field", "reason", name=op.f("pk_dropped_fields")),
        comment="fields of messages that could not be read; their stories are stored",
    )
    date = _DATE[op.get_bind().dialect.name]
    op.execute(
        f"CREATE VIEW v1_dropped_fields AS SELECT {date} AS day, source, field, reason, stories, example"
        " FROM dropped_fields"
    )


def downgrade() -> None:
    op.execute("DROP VIEW v1_dropped_fields")
    op.drop_table("dropped_fields")
    op.drop_column("dead_letters", "kafka_part")
    op.drop_column("stories", "kafka_part")
