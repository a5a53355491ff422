"""What people and apps asked the daemon for, kept across restarts.

The wish is stored first and carried out after it: `aoi_events.client` has its own file, and what a
kill leaves between the two is made good at the next start, with this file as the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from aoi_events.client.core.state import application_key
from aoi_events.client.ports import Storage
from aoi_events.errors import ClientStateError

__all__ = ["LIMIT", "Wish", "Wishes"]

LIMIT: Final = 200
"""App instances at once; an AOI Server takes no more of one client either, unless told to."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An app instance is to be registered. ``owner``: the user who may attach for it.

    ``command`` wakes it; an empty one: nothing does. ``sender_key``: whose notifications its token
    takes, None for anybody's. ``lost`` notifications it was not told of yet.
    """

    application: str
    instance: str
    owner: int
    command: tuple[str, ...] = field(default=(), repr=False)
    sender_key: str | None = None
    lost: int = 0

    @property
    def key(self) -> str:
        """Names the app instance within the client."""
        return application_key(self.application, self.instance)


@dataclass(frozen=True, slots=True)
class _Kept:
    """``identity`` counts as long as the setting is still ``instead_of``."""

    version: Literal[1] = 1
    identity: str | None = None
    instead_of: str | None = None
    apps: dict[str, Wish] = field(default_factory=dict)


class _Marked(BaseModel):
    version: int


_form: Final = TypeAdapter(_Kept)


class Wishes:
    """The wishes; each change is on the disk when its method returns, or did not happen."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._kept = _Kept()
        self._saving = asyncio.Lock()

    async def open(self) -> bool:
        """Load them, and hold the place until `close`; False: there were none, not even none.

        Raises ClientStateError, also while another AOI Client holds it.
        """
        data = await self._storage.load()
        if data is None:
            return False
        self._kept = _decode(data)
        return True

    async def close(self) -> None:
        """Let go of the place."""
        await self._storage.close()

    @property
    def apps(self) -> tuple[Wish, ...]:
        """Every app instance that is to be registered."""
        return tuple(self._kept.apps.values())

    def app(self, key: str) -> Wish | None:
        """One of them."""
        return self._kept.apps.get(key)

    def command(self, key: str) -> tuple[str, ...]:
        """What wakes this app instance; empty: nothing."""
        wish = self._kept.apps.get(key)
        return () if wish is None else wish.command

    def identity(self, setting: str | None) -> str | None:
        """Who uses the device, as said last: by ``set_identity``, or by the setting."""
        kept = self._kept
        return kept.identity if kept.identity and kept.instead_of == setting else setting

    async def keep_identity(self, identity: str, setting: str | None) -> None:
        """Another user has the device. Raises ClientStateError."""
        async with self._saving:
            await self._save(replace(self._kept, identity=identity, instead_of=setting))

    async def keep(self, *wishes: Wish) -> None:
        """These app instances are to be registered so. Raises ClientStateError."""
        async with self._saving:
            apps = {**self._kept.apps, **{wish.key: wish for wish in wishes}}
            await self._save(replace(self._kept, apps=apps))

    async def forget(self, keys: Iterable[str]) -> None:
        """These app instances are gone. Raises ClientStateError."""
        gone = frozenset(keys)
        async with self._saving:
            apps = {key: wish for key, wish in self._kept.apps.items() if key not in gone}
            await self._save(replace(self._kept, apps=apps))

    async def _save(self, kept: _Kept) -> None:
        if kept != self._kept:
            await self._storage.save(_form.dump_json(kept))
            self._kept = kept


def _decode(data: bytes) -> _Kept:
    try:
        # The form always says its version; an object without it (``{}``, say) is not ours.
        _Marked.model_validate_json(data)
        return _form.validate_json(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
        raise ClientStateError(
            f"the stored wishes of apps are damaged (at {where}); restore apps.json from a backup, "
            "or move it away: apps stay registered, and their commands have to be told again"
        ) from None
