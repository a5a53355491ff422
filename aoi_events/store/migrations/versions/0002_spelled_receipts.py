"""Provider messages: what finds one whose receipt spells its ID in another way.

Rows from before have neither; their receipts are matched by the exact ID, as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and an index on the folded ID."""
    name = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    address = sa.Column("address", sa.Text(), nullable=False, server_default="")
    folded = sa.Column("folded", name, nullable=False, server_default="")
    op.add_column("provider_messages", address)
    op.add_column("provider_messages", folded)
    op.create_index("provider_messages_folded", "provider_messages", ["provider", "folded"])
