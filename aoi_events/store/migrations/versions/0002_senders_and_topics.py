"""Tokens that are bound to a sender, topics, and what did not fit a backlog."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that may be empty, one index of rows that have the new one, and one table."""
    name = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    op.add_column("applications", sa.Column("sender_key", sa.Text()))
    op.add_column("applications", sa.Column("replaced", sa.Text()))
    op.add_column("deliveries", sa.Column("topic", name))
    topics = sa.text("topic IS NOT NULL AND settled_at IS NULL")
    op.create_index(
        "deliveries_topic",
        "deliveries",
        ["client", "fingerprint", "sender", "topic"],
        postgresql_where=topics,
        sqlite_where=topics,
    )
    op.create_table(
        "losses",
        sa.Column("client", name, nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client"], ["clients.id"], name="losses_client_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client", name="losses_pkey"),
    )
