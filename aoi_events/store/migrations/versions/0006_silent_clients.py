"""Clients that nothing was heard of for very long are found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an index of the clients that have not ended, by when they were last heard of."""
    current = sa.text("retired_at IS NULL")
    op.create_index(
        "clients_silent",
        "clients",
        ["seen_at"],
        postgresql_where=current,
        sqlite_where=current,
    )
