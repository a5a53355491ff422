"""One RabbitMQ and one PostgreSQL container for a whole test run: those that ship for everybody."""

from __future__ import annotations

from aoi_events.testing.containers import PostgresServer, RabbitServer
from aoi_events.testing.containers import free_port as _free_port

__all__ = ["PostgresServer", "RabbitServer", "_free_port"]
