"""A submission may be several of its provider's messages, each with receipts of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the names that providers gave from the submissions to a table of their own."""
    name = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    op.create_table(
        "provider_messages",
        sa.Column("delivery", name, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("provider", name, nullable=False),
        sa.Column("message", name, nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint(
            "delivery", "step", "attempt", "part", name="provider_messages_pkey"
        ),
    )
    op.create_index("provider_messages_at", "provider_messages", ["at"])
    op.create_index("provider_messages_name", "provider_messages", ["provider", "message"])
    op.execute(
        """
        INSERT INTO provider_messages
        SELECT delivery, step, attempt, 1, 1, provider, provider_message, client, at, false
          FROM submissions WHERE provider_message IS NOT NULL
        """
    )
    op.drop_index("submissions_provider", "submissions")
    op.execute("ALTER TABLE submissions DROP COLUMN provider_message")
