"""The tables. A column has the name of the record's field that it stores.
:mod:`aoi_events.store.indexes` has their indexes.

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
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
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
)

challenges: Final = Table(
    "challenges",
    METADATA,
    _serial("id"),
    _client(),
    Column("channel", Name(), nullable=False),
    Column("address", Name(), nullable=False),
    Column("at", Instant(), nullable=False),
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
