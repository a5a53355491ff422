"""The schema of version 0.1.0."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAME: Final = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
_COUNTED: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

Columns = list[sa.Column[Any]]


def keys(*names: str) -> Columns:
    """Names that are the primary key, or the first columns of it."""
    return [sa.Column(name, _NAME, primary_key=True) for name in names]


def key_numbers(*names: str) -> Columns:
    """Numbers that are the last columns of the primary key."""
    return [sa.Column(name, sa.BigInteger(), primary_key=True) for name in names]


def serial(name: str) -> Columns:
    """A primary key that the database counts."""
    return [sa.Column(name, _COUNTED, sa.Identity(always=False), primary_key=True)]


def client(**options: Any) -> Columns:
    """The client that the row belongs to, and is deleted with."""
    owner = sa.ForeignKey("clients.id", ondelete="CASCADE")
    return [sa.Column("client", _NAME, owner, nullable=False, **options)]


def names(*columns: str) -> Columns:
    """Texts that are compared octet by octet."""
    return [sa.Column(column, _NAME, nullable=False) for column in columns]


def texts(*columns: str, nullable: bool = False) -> Columns:
    """Texts, JSON among them."""
    return [sa.Column(column, sa.Text(), nullable=nullable) for column in columns]


def numbers(*columns: str, nullable: bool = False) -> Columns:
    """Whole numbers, times in microseconds among them."""
    return [sa.Column(column, sa.BigInteger(), nullable=nullable) for column in columns]


def booleans(*columns: str) -> Columns:
    """Truth values."""
    return [sa.Column(column, sa.Boolean(), nullable=False) for column in columns]


def index(name: str, *columns: str, where: str | None = None, unique: bool = False) -> sa.Index:
    """An index; with ``where`` a partial one, on both databases."""
    condition = None if where is None else sa.text(where)
    return sa.Index(
        name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition
    )


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "clients",
        *keys("id"),
        *names("secret_hash"),
        *texts("device"),
        *names("identity"),
        *numbers("registered_at", "seen_at", "sequence"),
        *texts("sequence_hash"),
        *numbers("epoch", "returns"),
        *texts("presence", nullable=True),
        *numbers("retired_at", nullable=True),
        *texts("retired_reason", "replaced", nullable=True),
        *numbers("unpublished_since", nullable=True),
        *texts("presences"),
        sa.UniqueConstraint("secret_hash"),
        index("clients_identity", "identity", "registered_at"),
        index("clients_retired", "retired_at", where="retired_at IS NOT NULL"),
        index("clients_silent", "seen_at", where="retired_at IS NULL"),
        index("clients_unpublished", "unpublished_since", where="unpublished_since IS NOT NULL"),
        index("clients_unused", "registered_at", where="epoch = 0 AND sequence = 0"),
    )
    op.create_table(
        "deliveries",
        *serial("order"),
        *names("id", "sender", "notification", "client"),
        *texts("application", "instance", "fingerprint"),
        *numbers("accepted_at", "expires_at"),
        *booleans("storable"),
        *texts("state", "steps"),
        *numbers("attempts"),
        *numbers("planned_at", nullable=True),
        *numbers("returns"),
        *texts("by", "channel", "reason", nullable=True),
        *numbers("stored_at", "settled_at", nullable=True),
        *texts("supersedes", nullable=True),
        *numbers("deadline", nullable=True),
        *booleans("published", "released", "idle", "deferred", "awaits_provider"),
        *numbers("batch", nullable=True),
        *texts("ledger", "story"),
        sa.Column("topic", _NAME),
        sa.UniqueConstraint("id"),
        sa.CheckConstraint(
            "(settled_at IS NULL) = (state IN ('sending', 'stored'))", name="settled"
        ),
        sa.CheckConstraint(
            "deadline IS NOT NULL OR (settled_at IS NOT NULL AND published)", name="watched"
        ),
        index("deliveries_done", "settled_at", where="deadline IS NULL"),
        index("deliveries_due", "deadline", "order", where="deadline IS NOT NULL"),
        index("deliveries_held_back", "order", where="awaits_provider = true"),
        index("deliveries_notification", "notification", "sender"),
        index("deliveries_open", "client", "order", where="settled_at IS NULL"),
        index("deliveries_released", "client", "batch", "order", where="released = true"),
        index(
            "deliveries_topic",
            *("client", "fingerprint", "sender", "topic"),
            where="topic IS NOT NULL AND settled_at IS NULL",
        ),
        index(
            "deliveries_unpublished",
            "client",
            where="settled_at IS NOT NULL AND deadline IS NOT NULL",
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "health",
        *keys("channel", "worker", "provider"),
        *texts("state"),
        *numbers("seen_at"),
        *numbers("since", "until", nullable=True),
        *texts("why"),
    )
    op.create_table(
        "notifications",
        *keys("sender", "id"),
        *texts("body_hash"),
        *numbers("accepted_at", "expires_at"),
        *texts("content", nullable=True),
        *texts("urgency"),
        *numbers("ttl"),
        *texts("deliveries", "rejected"),
        *booleans("tombstone"),
        *texts("mode", nullable=True),
        sa.Column("hedge_after", sa.Double()),
        index("notifications_bare", "accepted_at", where="deliveries = '[]'"),
    )
    op.create_table(
        "parked",
        *keys("id"),
        *numbers("parked_at"),
        *texts("queue", "routing_key", "exchange"),
        *names("sender", "code"),
        *texts("reason", "body"),
        *booleans("replayable"),
        *texts("obstacle", nullable=True),
        *texts("headers"),
        index("parked_newest", "parked_at", "id"),
        index("parked_sender", "sender", "code"),
    )
    op.create_table("parked_counts", *keys("sender", "code"), *numbers("skipped"))
    op.create_table("parked_senders", *keys("sender"))
    op.create_table(
        "provider_messages",
        *keys("delivery"),
        *key_numbers("step", "attempt", "part"),
        *numbers("parts"),
        *names("provider", "message"),
        *texts("client"),
        *numbers("at"),
        *booleans("received"),
        index("provider_messages_at", "at"),
        index("provider_messages_name", "provider", "message"),
    )
    op.create_table(
        "submissions",
        *keys("delivery"),
        *key_numbers("step", "attempt"),
        *numbers("at"),
        index("submissions_at", "at"),
    )
    op.create_table(
        "applications",
        *client(primary_key=True),
        *keys("app_key"),
        *texts("application", "instance"),
        *numbers("generation"),
        *texts("key_id"),
        *numbers("sequence"),
        *booleans("registered"),
        *texts("fingerprint"),
        *numbers("registered_at"),
        *texts("revoked_reason", "sender_key", "replaced", nullable=True),
    )
    op.create_table("backlogs", *client(primary_key=True), *numbers("batch", "last"))
    op.create_table(
        "challenges",
        *serial("id"),
        *client(),
        *names("channel", "address"),
        *numbers("at"),
        index("challenges_address", "channel", "address", "at"),
        index("challenges_at", "at"),
        index("challenges_client", "client", "at"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "channels",
        *client(primary_key=True),
        *keys("type"),
        *texts("state"),
        *numbers("rank"),
        *texts("parameters"),
        *numbers("largest_content", nullable=True),
        *texts("address", "reason", "detail", nullable=True),
        *numbers("changed_at", nullable=True),
    )
    op.create_table(
        "losses", *client(primary_key=True), *numbers("lost", "reported"), *texts("session")
    )
    op.create_table(
        "proofs",
        *client(primary_key=True),
        *keys("channel", "address"),
        *texts("state"),
        *numbers("sent", "wrong", "opened_at"),
        *numbers("deadline", "proved_at", "proved_until", nullable=True),
        index("proofs_address", "channel", "address"),
        index("proofs_due", "deadline", where="deadline IS NOT NULL"),
        index("proofs_proved", "channel", "address", where="state = 'proved'", unique=True),
    )
