"""The schema of version 0.1.0."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def where(condition: str) -> dict[str, Any]:
    """The arguments of a partial index, for both databases."""
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def upgrade() -> None:
    """Create every table."""
    name = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
    counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "clients",
        sa.Column("id", name, nullable=False),
        sa.Column("secret_hash", name, nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("identity", name, nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("sequence_hash", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("returns", sa.BigInteger(), nullable=False),
        sa.Column("presence", sa.Text()),
        sa.Column("retired_at", sa.BigInteger()),
        sa.Column("retired_reason", sa.Text()),
        sa.Column("replaced", sa.Text()),
        sa.Column("unpublished_since", sa.BigInteger()),
        sa.Column("presences", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="clients_pkey"),
        sa.UniqueConstraint("secret_hash", name="clients_secret_hash_key"),
    )
    op.create_index("clients_identity", "clients", ["identity", "registered_at"])
    op.create_index("clients_retired", "clients", ["retired_at"], **where("retired_at IS NOT NULL"))
    op.create_index("clients_silent", "clients", ["seen_at"], **where("retired_at IS NULL"))
    op.create_index(
        "clients_unpublished",
        "clients",
        ["unpublished_since"],
        **where("unpublished_since IS NOT NULL"),
    )
    op.create_index(
        "clients_unused", "clients", ["registered_at"], **where("epoch = 0 AND sequence = 0")
    )
    op.create_table(
        "deliveries",
        sa.Column("order", counted, sa.Identity(always=False), nullable=False),
        sa.Column("id", name, nullable=False),
        sa.Column("sender", name, nullable=False),
        sa.Column("notification", name, nullable=False),
        sa.Column("client", name, nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("storable", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("planned_at", sa.BigInteger()),
        sa.Column("returns", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.Text()),
        sa.Column("channel", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("stored_at", sa.BigInteger()),
        sa.Column("settled_at", sa.BigInteger()),
        sa.Column("supersedes", sa.Text()),
        sa.Column("deadline", sa.BigInteger()),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.Column("idle", sa.Boolean(), nullable=False),
        sa.Column("deferred", sa.Boolean(), nullable=False),
        sa.Column("awaits_provider", sa.Boolean(), nullable=False),
        sa.Column("batch", sa.BigInteger()),
        sa.Column("ledger", sa.Text(), nullable=False),
        sa.Column("story", sa.Text(), nullable=False),
        sa.Column("topic", name),
        sa.UniqueConstraint("id", name="deliveries_id_key"),
        sa.CheckConstraint(
            "(settled_at IS NULL) = (state IN ('sending', 'stored'))", name="settled"
        ),
        sa.CheckConstraint(
            "deadline IS NOT NULL OR (settled_at IS NOT NULL AND published)", name="watched"
        ),
        sa.PrimaryKeyConstraint("order", name="deliveries_pkey"),
        sqlite_autoincrement=True,
    )
    op.create_index("deliveries_done", "deliveries", ["settled_at"], **where("deadline IS NULL"))
    op.create_index(
        "deliveries_due", "deliveries", ["deadline", "order"], **where("deadline IS NOT NULL")
    )
    op.create_index(
        "deliveries_held_back", "deliveries", ["order"], **where("awaits_provider = true")
    )
    op.create_index("deliveries_notification", "deliveries", ["notification", "sender"])
    op.create_index(
        "deliveries_open", "deliveries", ["client", "order"], **where("settled_at IS NULL")
    )
    op.create_index(
        "deliveries_released",
        "deliveries",
        ["client", "batch", "order"],
        **where("released = true"),
    )
    op.create_index(
        "deliveries_topic",
        "deliveries",
        ["client", "fingerprint", "sender", "topic"],
        **where("topic IS NOT NULL AND settled_at IS NULL"),
    )
    op.create_index(
        "deliveries_unpublished",
        "deliveries",
        ["client"],
        **where("settled_at IS NOT NULL AND deadline IS NOT NULL"),
    )
    op.create_table(
        "health",
        sa.Column("channel", name, nullable=False),
        sa.Column("worker", name, nullable=False),
        sa.Column("provider", name, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger()),
        sa.Column("until", sa.BigInteger()),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "worker", "provider", name="health_pkey"),
    )
    op.create_table(
        "notifications",
        sa.Column("sender", name, nullable=False),
        sa.Column("id", name, nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text()),
        sa.Column("urgency", sa.Text(), nullable=False),
        sa.Column("ttl", sa.BigInteger(), nullable=False),
        sa.Column("deliveries", sa.Text(), nullable=False),
        sa.Column("rejected", sa.Text(), nullable=False),
        sa.Column("tombstone", sa.Boolean(), nullable=False),
        sa.Column("mode", sa.Text()),
        sa.Column("hedge_after", sa.Double()),
        sa.PrimaryKeyConstraint("sender", "id", name="notifications_pkey"),
    )
    op.create_index(
        "notifications_bare", "notifications", ["accepted_at"], **where("deliveries = '[]'")
    )
    op.create_table(
        "parked",
        sa.Column("id", name, nullable=False),
        sa.Column("parked_at", sa.BigInteger(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("sender", name, nullable=False),
        sa.Column("code", name, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("replayable", sa.Boolean(), nullable=False),
        sa.Column("obstacle", sa.Text()),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="parked_pkey"),
    )
    op.create_index("parked_newest", "parked", ["parked_at", "id"])
    op.create_index("parked_sender", "parked", ["sender", "code"])
    op.create_table(
        "parked_counts",
        sa.Column("sender", name, nullable=False),
        sa.Column("code", name, nullable=False),
        sa.Column("skipped", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sender", "code", name="parked_counts_pkey"),
    )
    op.create_table(
        "parked_senders",
        sa.Column("sender", name, nullable=False),
        sa.PrimaryKeyConstraint("sender", name="parked_senders_pkey"),
    )
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
    op.create_table(
        "submissions",
        sa.Column("delivery", name, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("provider", name, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("delivery", "step", "attempt", name="submissions_pkey"),
    )
    op.create_index("submissions_at", "submissions", ["at"])
    op.create_table(
        "applications",
        sa.Column("client", name, nullable=False),
        sa.Column("app_key", name, nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("registered", sa.Boolean(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_reason", sa.Text()),
        sa.Column("sender_key", sa.Text()),
        sa.Column("replaced", sa.Text()),
        sa.ForeignKeyConstraint(
            ["client"], ["clients.id"], name="applications_client_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client", "app_key", name="applications_pkey"),
    )
    op.create_table(
        "backlogs",
        sa.Column("client", name, nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client"], ["clients.id"], name="backlogs_client_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client", name="backlogs_pkey"),
    )
    op.create_table(
        "challenges",
        sa.Column("id", counted, sa.Identity(always=False), nullable=False),
        sa.Column("client", name, nullable=False),
        sa.Column("channel", name, nullable=False),
        sa.Column("address", name, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client"], ["clients.id"], name="challenges_client_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="challenges_pkey"),
        sqlite_autoincrement=True,
    )
    op.create_index("challenges_address", "challenges", ["channel", "address", "at"])
    op.create_index("challenges_at", "challenges", ["at"])
    op.create_index("challenges_client", "challenges", ["client", "at"])
    op.create_table(
        "channels",
        sa.Column("client", name, nullable=False),
        sa.Column("type", name, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("largest_content", sa.BigInteger()),
        sa.Column("address", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("detail", sa.Text()),
        sa.Column("changed_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["client"], ["clients.id"], name="channels_client_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client", "type", name="channels_pkey"),
    )
    op.create_table(
        "losses",
        sa.Column("client", name, nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.Column("reported", sa.BigInteger(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client"], ["clients.id"], name="losses_client_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client", name="losses_pkey"),
    )
    op.create_table(
        "proofs",
        sa.Column("client", name, nullable=False),
        sa.Column("channel", name, nullable=False),
        sa.Column("address", name, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("wrong", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger()),
        sa.Column("proved_at", sa.BigInteger()),
        sa.Column("proved_until", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["client"], ["clients.id"], name="proofs_client_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client", "channel", "address", name="proofs_pkey"),
    )
    op.create_index("proofs_address", "proofs", ["channel", "address"])
    op.create_index("proofs_due", "proofs", ["deadline"], **where("deadline IS NOT NULL"))
    op.create_index(
        "proofs_proved", "proofs", ["channel", "address"], unique=True, **where("state = 'proved'")
    )
