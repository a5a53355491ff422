"""Released deliveries are found by batch, so that a batch is claimed as a whole."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an index of what was released and not looked at yet: few rows."""
    released = sa.text("released = true")
    op.create_index(
        "deliveries_released",
        "deliveries",
        ["client", "batch", "order"],
        postgresql_where=released,
        sqlite_where=released,
    )
