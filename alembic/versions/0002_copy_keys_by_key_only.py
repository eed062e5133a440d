"""Copy keys are found and removed by key alone: no foreign key, no index on the story.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FOREIGN_KEY = "fk_copy_keys_story_id_stories"
_INDEX = "ix_copy_keys_story_id"
_TABLE = {"sqlite_with_rowid": False}  # SQLite makes the table anew and would forget it


def upgrade() -> None:
    with op.batch_alter_table("copy_keys", table_kwargs=_TABLE) as table:
        table.drop_index(_INDEX)
        table.drop_constraint(_FOREIGN_KEY, type_="foreignkey")


def downgrade() -> None:
    op.execute("DELETE FROM copy_keys WHERE story_id NOT IN (SELECT id FROM stories)")
    with op.batch_alter_table("copy_keys", table_kwargs=_TABLE) as table:
        table.create_foreign_key(_FOREIGN_KEY, "stories", ["story_id"], ["id"], ondelete="CASCADE")
        table.create_index(_INDEX, ["story_id"])
