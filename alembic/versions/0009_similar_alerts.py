"""What similar alerts are recognised by: a vector of each alert, and what its stories are about.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "alert_vectors",
        sa.Column("alert_id", _KEY, autoincrement=False, nullable=False),
        sa.Column(
            "classifier", sa.String(200), nullable=False, comment="whose vector it is: only those of one are compared"
        ),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "vector",
            sa.LargeBinary(),
            nullable=False,
            comment="little-endian 16-bit floats; empty: the classifier has none",
        ),
        sa.Column(
            "traits",
            sa.Text(),
            nullable=False,
            comment="JSON: companies, groups and topics of its most telling stories",
        ),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], ondelete="CASCADE", name=op.f("fk_alert_vectors_alert_id_alerts")
        ),
        sa.PrimaryKeyConstraint("alert_id", "classifier", name=op.f("pk_alert_vectors")),
        comment="what similar alerts are recognised by",
    )


def downgrade() -> None:
    op.drop_table("alert_vectors")
