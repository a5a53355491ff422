"""Desired apps: the app instances that are to be registered, stored across restarts.

A change is saved here first and carried out after it. `aoi_events.client` has its own file; if the
daemon is killed between the two, its next start completes the change from this file.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from pydantic import TypeAdapter

from aoi_events.client.core.state import application_key, decode_versioned
from aoi_events.client.ports import Storage

LIMIT: Final = 200
"""App instances at once; an AOI Server allows as many per client by default."""


@dataclass(frozen=True, slots=True)
class DesiredApp:
    """An app instance that is to be registered. ``owner``: the user who may attach for it.

    ``command`` wakes it; empty: it cannot be woken. ``sender_key``: only this sender may use its
    token; None: any sender. ``lost``: lost notifications that it was not informed of yet.
    """

    application: str
    instance: str
    owner: int
    command: tuple[str, ...] = field(default=(), repr=False)
    sender_key: str | None = None
    lost: int = 0

    @property
    def key(self) -> str:
        """The key of the app instance within the client."""
        return application_key(self.application, self.instance)


@dataclass(frozen=True, slots=True)
class _StoredApps:
    """The format on disk. ``identity`` counts as long as the setting is still ``instead_of``."""

    version: Literal[1] = 1
    identity: str | None = None
    instead_of: str | None = None
    apps: dict[str, DesiredApp] = field(default_factory=dict)


_form: Final = TypeAdapter(_StoredApps)


class DesiredApps:
    """The desired apps. A change that cannot be saved raises ClientStateError, and is not made."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._stored = _StoredApps()
        self._saving = asyncio.Lock()

    async def open(self) -> bool:
        """Load the apps and lock the storage until `close`; False: there was no file yet.

        Raises ClientStateError, also while another AOI Client uses the storage.
        """
        data = await self._storage.load()
        if data is None:
            return False
        self._stored = decode_versioned(
            _form,
            data,
            what="the list of apps",
            remedy="restore apps.json from a backup, or move it away: apps stay registered, and "
            "their commands have to be registered again",
        )
        return True

    async def close(self) -> None:
        """Unlock the storage."""
        await self._storage.close()

    @property
    def all(self) -> tuple[DesiredApp, ...]:
        """Every desired app instance."""
        return tuple(self._stored.apps.values())

    def get(self, key: str) -> DesiredApp | None:
        """One desired app instance."""
        return self._stored.apps.get(key)

    def command(self, key: str) -> tuple[str, ...]:
        """The command that wakes this app instance; empty: it cannot be woken."""
        app = self._stored.apps.get(key)
        return () if app is None else app.command

    def identity(self, setting: str | None) -> str | None:
        """The user identity: the setting, unless `save_identity` came after it."""
        stored = self._stored
        return stored.identity if stored.identity and stored.instead_of == setting else setting

    async def save_identity(self, identity: str, setting: str | None) -> None:
        """Change the user identity, as long as ``setting`` is unchanged."""
        async with self._saving:
            await self._save(replace(self._stored, identity=identity, instead_of=setting))

    async def save(self, *apps: DesiredApp) -> None:
        """Add or change these app instances."""
        async with self._saving:
            changed = {**self._stored.apps, **{app.key: app for app in apps}}
            await self._save(replace(self._stored, apps=changed))

    async def remove(self, key: str) -> None:
        """Remove an app instance."""
        async with self._saving:
            left = {other: app for other, app in self._stored.apps.items() if other != key}
            await self._save(replace(self._stored, apps=left))

    async def _save(self, stored: _StoredApps) -> None:
        if stored != self._stored:
            await self._storage.save(_form.dump_json(stored))
            self._stored = stored
