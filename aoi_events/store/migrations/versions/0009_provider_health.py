"""Channel workers note how their providers are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; it is empty until a channel worker runs."""
    name = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    op.create_table(
        "health",
        sa.Column("channel", name, nullable=False),
        sa.Column("worker", name, nullable=False),
        sa.Column("provider", name, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "worker", "provider", name="health_pkey"),
    )
