"""Provider messages: what finds one whose receipt spells its ID in another way.

Rows from before have neither; their receipts are matched by the exact ID, as before.
"""

from __future__ import annotations

from contextlib import nullcontext

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and an index on the folded ID; may be repeated after an interruption.

    On PostgreSQL the index is built while workers write; an interruption leaves the columns, and an
    index that is of no use.
    """
    context = op.get_context()
    beside_workers = context.dialect.name == "postgresql"
    name = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    for column in (
        sa.Column("address", sa.Text(), nullable=False, server_default=""),
        sa.Column("folded", name, nullable=False, server_default=""),
    ):
        op.add_column("provider_messages", column, if_not_exists=beside_workers or None)
    with context.autocommit_block() if beside_workers else nullcontext():
        if beside_workers:
            op.execute("DROP INDEX CONCURRENTLY IF EXISTS provider_messages_folded")
        op.create_index(
            "provider_messages_folded",
            "provider_messages",
            ["provider", "folded"],
            postgresql_concurrently=True,
        )
