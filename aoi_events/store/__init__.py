"""The store on SQLite and PostgreSQL: one implementation, by SQLAlchemy Core."""

from aoi_events.store.migration import upgrade
from aoi_events.store.store import SqlStore, open_store

__all__ = ["SqlStore", "open_store", "upgrade"]
