"""Sessions that were taken over from, and ends of clients that are to be told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that may be empty, and an index of the rows that have the second."""
    op.add_column("clients", sa.Column("replaced", sa.Text()))
    op.add_column("clients", sa.Column("untold_since", sa.BigInteger()))
    untold = sa.text("untold_since IS NOT NULL")
    op.create_index(
        "clients_untold",
        "clients",
        ["untold_since"],
        postgresql_where=untold,
        sqlite_where=untold,
    )
