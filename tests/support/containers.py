"""One RabbitMQ and one PostgreSQL container for a whole test run: those that ship for everybody."""

from __future__ import annotations

from typing import Any, Final

import pytest

SOMEBODY_WAITS: Final = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
"""Asks PostgreSQL how many sessions of this database, and of no other test's, wait for a lock."""


def in_containers(param: str) -> Any:
    """A parameter with which a test needs containers: its fixtures ask for them at run time."""
    return pytest.param(param, marks=pytest.mark.containers)
