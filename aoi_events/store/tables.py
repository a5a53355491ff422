"""The tables. A column has the name of the record's field that it stores.

Times are microseconds since 1970. Values that are only read and written as a whole are JSON text.

Deliveries have no foreign keys: retention removes the rows that they name only after them, and a
check per row would cost more than the row.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from aoi_events.contracts.identifiers import Mode, Urgency
from aoi_events.contracts.states import CloseReason, DeliveryState, Evidence
from aoi_events.domain.clients.channels import ChannelState, ProofState
from aoi_events.domain.providers.breaker import BreakerState
from aoi_events.store import json_columns
from aoi_events.store.types import AnyText, Choice, Instant, Name, Octets, Packed

METADATA: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)

_Counted = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts only INTEGER keys


def _serial(name: str) -> Column[int]:
    return Column(name, _Counted, Identity(always=False), primary_key=True)


def _client(**options: Any) -> Column[str]:
    key = ForeignKey("clients.id", ondelete="CASCADE")
    return Column("client", Name(), key, nullable=False, **options)


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


# --- clients and what belongs to them -------------------------------------------------------------

clients: Final = Table(
    "clients",
    METADATA,
    Column("id", Name(), primary_key=True),
    Column("secret_hash", Name(), nullable=False),
    Column("device", AnyText(), nullable=False),
    Column("identity", Name(), nullable=False),
    Column("registered_at", Instant(), nullable=False),
    Column("seen_at", Instant(), nullable=False),
    Column("sequence", BigInteger(), nullable=False),
    Column("sequence_hash", AnyText(), nullable=False),
    Column("epoch", BigInteger(), nullable=False),
    Column("returns", BigInteger(), nullable=False),
    Column("presence", Packed(*json_columns.PRESENCE, optional=True)),
    Column("retired_at", Instant()),
    Column("retired_reason", AnyText()),
    Column("replaced", Packed(*json_columns.REPLACED, optional=True)),
    Column("unpublished_since", Instant()),
    Column("presences", Packed(*json_columns.PRESENCES), nullable=False),
    UniqueConstraint("secret_hash"),
    Index("clients_identity", "identity", "registered_at"),
    Index("clients_retired", "retired_at", **_where("retired_at IS NOT NULL")),
    Index("clients_silent", "seen_at", **_where("retired_at IS NULL")),
    Index("clients_unpublished", "unpublished_since", **_where("unpublished_since IS NOT NULL")),
    Index("clients_unused", "registered_at", **_where("epoch = 0 AND sequence = 0")),
)

applications: Final = Table(
    "applications",
    METADATA,
    _client(primary_key=True),
    Column("app_key", Name(), primary_key=True),
    Column("application", AnyText(), nullable=False),
    Column("instance", AnyText(), nullable=False),
    Column("generation", BigInteger(), nullable=False),
    Column("key_id", AnyText(), nullable=False),
    Column("sequence", BigInteger(), nullable=False),
    Column("registered", Boolean(), nullable=False),
    Column("fingerprint", AnyText(), nullable=False),
    Column("registered_at", Instant(), nullable=False),
    Column("revoked_reason", AnyText()),
    Column("sender_key", AnyText()),
    Column("replaced", AnyText()),
)

channels: Final = Table(
    "channels",
    METADATA,
    _client(primary_key=True),
    Column("type", Name(), primary_key=True),
    Column("state", Choice(ChannelState), nullable=False),
    Column("rank", BigInteger(), nullable=False),
    Column("parameters", Packed(*json_columns.OBJECT), nullable=False),
    Column("largest_content", BigInteger()),
    Column("address", AnyText()),
    Column("reason", Choice(CloseReason)),
    Column("detail", AnyText()),
    Column("changed_at", Instant()),
)

proofs: Final = Table(
    "proofs",
    METADATA,
    _client(primary_key=True),
    Column("channel", Name(), primary_key=True),
    Column("address", Name(), primary_key=True),
    Column("state", Choice(ProofState), nullable=False),
    Column("sent", BigInteger(), nullable=False),
    Column("wrong", BigInteger(), nullable=False),
    Column("opened_at", Instant(), nullable=False),
    Column("deadline", Instant()),
    Column("proved_at", Instant()),
    Column("proved_until", Instant()),
    Index("proofs_address", "channel", "address"),
    # No borrowed addresses: an address is proved by one client at a time.
    Index("proofs_proved", "channel", "address", unique=True, **_where("state = 'proved'")),
    Index("proofs_due", "deadline", **_where("deadline IS NOT NULL")),
)

challenges: Final = Table(
    "challenges",
    METADATA,
    _serial("id"),
    _client(),
    Column("channel", Name(), nullable=False),
    Column("address", Name(), nullable=False),
    Column("at", Instant(), nullable=False),
    Index("challenges_client", "client", "at"),
    Index("challenges_address", "channel", "address", "at"),
    Index("challenges_at", "at"),
    sqlite_autoincrement=True,
)

# --- notifications and their deliveries -----------------------------------------------------------

notifications: Final = Table(
    "notifications",
    METADATA,
    Column("sender", Name(), primary_key=True),
    Column("id", Name(), primary_key=True),
    Column("body_hash", AnyText(), nullable=False),
    Column("accepted_at", Instant(), nullable=False),
    Column("expires_at", Instant(), nullable=False),
    Column("content", Packed(*json_columns.CONTENT, optional=True)),
    Column("urgency", Choice(Urgency), nullable=False),
    Column("ttl", BigInteger(), nullable=False),
    Column("deliveries", Packed(*json_columns.PAIRS), nullable=False),
    Column("rejected", Packed(*json_columns.REJECTED), nullable=False),
    Column("tombstone", Boolean(), nullable=False),
    Column("mode", Choice(Mode)),
    Column("hedge_after", Double()),
    # Those without deliveries; the others go with the last of theirs.
    Index("notifications_bare", "accepted_at", **_where("deliveries = '[]'")),
)

deliveries: Final = Table(
    "deliveries",
    METADATA,
    _serial("order"),
    Column("id", Name(), nullable=False),
    Column("sender", Name(), nullable=False),
    Column("notification", Name(), nullable=False),
    Column("client", Name(), nullable=False),
    Column("application", AnyText(), nullable=False),
    Column("instance", AnyText(), nullable=False),
    Column("fingerprint", AnyText(), nullable=False),
    Column("accepted_at", Instant(), nullable=False),
    Column("expires_at", Instant(), nullable=False),
    Column("storable", Boolean(), nullable=False),
    Column("state", Choice(DeliveryState), nullable=False),
    Column("steps", Packed(*json_columns.STEPS), nullable=False),
    Column("attempts", BigInteger(), nullable=False),
    Column("planned_at", Instant()),
    Column("returns", BigInteger(), nullable=False),
    Column("by", Choice(Evidence)),
    Column("channel", AnyText()),
    Column("reason", AnyText()),
    Column("stored_at", Instant()),
    Column("settled_at", Instant()),
    Column("supersedes", Choice(DeliveryState)),
    Column("deadline", Instant()),
    Column("published", Boolean(), nullable=False),
    Column("released", Boolean(), nullable=False),
    # These three follow from the others, by the record's properties of these names.
    Column("idle", Boolean(), nullable=False),
    Column("deferred", Boolean(), nullable=False),
    Column("awaits_provider", Boolean(), nullable=False),
    Column("batch", BigInteger()),
    Column("ledger", Packed(*json_columns.LEDGER), nullable=False),
    Column("story", Packed(*json_columns.STORY), nullable=False),
    Column("topic", Name()),
    UniqueConstraint("id"),
    CheckConstraint("(settled_at IS NULL) = (state IN ('sending', 'stored'))", name="settled"),
    # Whichever process dies and whichever message is lost: the row comes due again.
    CheckConstraint(
        "deadline IS NOT NULL OR (settled_at IS NOT NULL AND published)", name="watched"
    ),
    # Senders ask with their name, operators without.
    Index("deliveries_notification", "notification", "sender"),
    Index("deliveries_due", "deadline", "order", **_where("deadline IS NOT NULL")),
    Index("deliveries_open", "client", "order", **_where("settled_at IS NULL")),
    Index("deliveries_released", "client", "batch", "order", **_where("released = true")),
    Index("deliveries_done", "settled_at", **_where("deadline IS NULL")),
    Index("deliveries_held_back", "order", **_where("awaits_provider = true")),
    # Hardly any at a time, so that it costs next to nothing.
    Index(
        "deliveries_unpublished",
        "client",
        **_where("settled_at IS NOT NULL AND deadline IS NOT NULL"),
    ),
    Index(
        "deliveries_topic",
        "client",
        "fingerprint",
        "sender",
        "topic",
        **_where("topic IS NOT NULL AND settled_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

backlogs: Final = Table(
    "backlogs",
    METADATA,
    _client(primary_key=True),
    # The newest batch, and the order of its last delivery when it was released.
    Column("batch", BigInteger(), nullable=False),
    Column("last", BigInteger(), nullable=False),
)

# Beside the clients' rows, which those who count here share.
losses: Final = Table(
    "losses",
    METADATA,
    _client(primary_key=True),
    Column("lost", BigInteger(), nullable=False),
    Column("reported", BigInteger(), nullable=False),
    Column("session", AnyText(), nullable=False),
)

health: Final = Table(
    "health",
    METADATA,
    Column("channel", Name(), primary_key=True),
    Column("worker", Name(), primary_key=True),
    Column("provider", Name(), primary_key=True),
    Column("state", Choice(BreakerState), nullable=False),
    Column("seen_at", Instant(), nullable=False),
    Column("since", Instant()),
    Column("until", Instant()),
    Column("why", AnyText(), nullable=False),
)

submissions: Final = Table(
    "submissions",
    METADATA,
    Column("delivery", Name(), primary_key=True),
    Column("step", BigInteger(), primary_key=True),
    Column("attempt", BigInteger(), primary_key=True),
    Column("at", Instant(), nullable=False),
    Index("submissions_at", "at"),
)

provider_messages: Final = Table(
    "provider_messages",
    METADATA,
    Column("delivery", Name(), primary_key=True),
    Column("step", BigInteger(), primary_key=True),
    Column("attempt", BigInteger(), primary_key=True),
    Column("part", BigInteger(), primary_key=True),
    Column("parts", BigInteger(), nullable=False),
    Column("provider", Name(), nullable=False),
    Column("message", Name(), nullable=False),
    Column("client", AnyText(), nullable=False),
    Column("at", Instant(), nullable=False),
    Column("received", Boolean(), nullable=False),
    Column("address", AnyText(), nullable=False, server_default=""),
    Column("folded", Name(), nullable=False, server_default=""),
    Index("provider_messages_name", "provider", "message"),
    Index("provider_messages_folded", "provider", "folded"),
    Index("provider_messages_at", "at"),
)

# --- parked messages ------------------------------------------------------------------------------

parked: Final = Table(
    "parked",
    METADATA,
    Column("id", Name(), primary_key=True),
    Column("parked_at", Instant(), nullable=False),
    Column("queue", AnyText(), nullable=False),
    Column("routing_key", AnyText(), nullable=False),
    Column("exchange", AnyText(), nullable=False),
    Column("sender", Name(), nullable=False),
    Column("code", Name(), nullable=False),
    Column("reason", AnyText(), nullable=False),
    Column("body", Octets(), nullable=False),
    Column("replayable", Boolean(), nullable=False),
    Column("obstacle", AnyText()),
    Column("headers", Packed(*json_columns.OBJECT), nullable=False),
    Index("parked_newest", "parked_at", "id"),
    Index("parked_sender", "sender", "code"),
)

parked_counts: Final = Table(
    "parked_counts",
    METADATA,
    Column("sender", Name(), primary_key=True),
    Column("code", Name(), primary_key=True),
    Column("skipped", BigInteger(), nullable=False),
)

# One row per sender of parked messages: who holds it may count them against the quota.
parked_senders: Final = Table(
    "parked_senders",
    METADATA,
    Column("sender", Name(), primary_key=True),
)
