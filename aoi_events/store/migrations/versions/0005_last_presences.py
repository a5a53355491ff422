"""The last presences of clients, so that a repeat of an old one is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that is empty in rows from before."""
    op.add_column("clients", sa.Column("presences", sa.Text()))
