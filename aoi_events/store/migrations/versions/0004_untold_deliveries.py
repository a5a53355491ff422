"""Settled deliveries that were not told yet are found by client."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an index of hardly any rows."""
    untold = sa.text("settled_at IS NOT NULL AND deadline IS NOT NULL")
    op.create_index(
        "deliveries_untold",
        "deliveries",
        ["client"],
        postgresql_where=untold,
        sqlite_where=untold,
    )
