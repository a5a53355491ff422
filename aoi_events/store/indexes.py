"""The indexes of the tables: for migrations and tests, since queries do not name them.

A partial index makes SQLAlchemy load the dialects of both databases.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Index, MetaData, text

from aoi_events.store import tables

METADATA: Final[MetaData] = tables.METADATA
"""The tables with their indexes."""


def _index(name: str, *columns: str, where: str | None = None, unique: bool = False) -> None:
    """Index ``name``, TABLE.PURPOSE, of these columns; ``where``: of the rows that fulfil this."""
    table, purpose = name.split(".")
    found = (METADATA.tables[table].c[column] for column in columns)
    condition = None if where is None else text(where)
    Index(
        f"{table}_{purpose}",
        *found,
        unique=unique,
        postgresql_where=condition,
        sqlite_where=condition,
    )


_index("clients.identity", "identity", "registered_at")
_index("clients.retired", "retired_at", where="retired_at IS NOT NULL")
_index("clients.silent", "seen_at", where="retired_at IS NULL")
_index("clients.unpublished", "unpublished_since", where="unpublished_since IS NOT NULL")
_index("clients.unused", "registered_at", where="epoch = 0 AND sequence = 0")

_index("proofs.address", "channel", "address")
# No borrowed addresses: an address is proved by one client at a time.
_index("proofs.proved", "channel", "address", where="state = 'proved'", unique=True)
_index("proofs.due", "deadline", where="deadline IS NOT NULL")

_index("challenges.client", "client", "at")
_index("challenges.address", "channel", "address", "at")
_index("challenges.at", "at")

# Those without deliveries; the others go with the last of theirs.
_index("notifications.bare", "accepted_at", where="deliveries = '[]'")

# Senders ask with their name, operators without.
_index("deliveries.notification", "notification", "sender")
_index("deliveries.due", "deadline", "order", where="deadline IS NOT NULL")
_index("deliveries.open", "client", "order", where="settled_at IS NULL")
_index("deliveries.released", "client", "batch", "order", where="released = true")
_index("deliveries.done", "settled_at", where="deadline IS NULL")
_index("deliveries.held_back", "order", where="awaits_provider = true")
# Hardly any at a time, so that it costs next to nothing.
_index("deliveries.unpublished", "client", where="settled_at IS NOT NULL AND deadline IS NOT NULL")
_index(
    "deliveries.topic",
    *("client", "fingerprint", "sender", "topic"),
    where="topic IS NOT NULL AND settled_at IS NULL",
)

_index("submissions.at", "at")

_index("provider_messages.name", "provider", "message")
_index("provider_messages.folded", "provider", "folded")
_index("provider_messages.at", "at")

_index("parked.newest", "parked_at", "id")
_index("parked.sender", "sender", "code")
