"""Notifications keep how their sender wants channels to follow each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that are empty in rows from before: the operator's defaults count."""
    op.add_column("notifications", sa.Column("mode", sa.Text()))
    op.add_column("notifications", sa.Column("hedge_after", sa.Double()))
