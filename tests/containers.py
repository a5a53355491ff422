"""One RabbitMQ and one PostgreSQL container for a whole test run: those that ship for everybody."""

from __future__ import annotations

from typing import Final

from aoi_events.testing.containers import PostgresServer, RabbitServer

__all__ = ["SOMEBODY_WAITS", "PostgresServer", "RabbitServer"]

SOMEBODY_WAITS: Final = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
"""Asks PostgreSQL how many sessions of this database, and of no other test's, wait for a lock."""
