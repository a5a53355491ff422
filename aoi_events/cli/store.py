"""The store, for commands that read or change it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aoi_events.bootstrap.settings import load_settings
from aoi_events.ports.store import Store
from aoi_events.store.store import open_store


def store_name() -> str:
    """The store of the settings: its URL without user, password and parameters."""
    parts = urlsplit(load_settings().store.get_secret_value())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@asynccontextmanager
async def checked_store() -> AsyncIterator[Store]:
    """The store of the settings, once its schema was found up to date; closed at the end."""
    store = await open_store(load_settings().store.get_secret_value())
    try:
        await store.check()
        yield store
    finally:
        await store.close()
