"""A copy counts as a story for the companies that no earlier story of its cluster names.

Copies stored before count as they did: for nobody.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "stories",
        sa.Column(
            "counts_for",
            sa.Text(),
            nullable=False,
            server_default=sa.text("''"),
            comment="tickers of a copy in whose series it counts as a story",
        ),
    )


def downgrade() -> None:
    op.drop_column("stories", "counts_for")
