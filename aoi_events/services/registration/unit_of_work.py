"""The rows of a batch of registrations: read at once, changed in memory, written at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from aoi_events.contracts.requests import (
    DeregisterApplicationV1,
    DeregisterClientV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients import applications
from aoi_events.domain.clients.applications import Application
from aoi_events.domain.clients.client import Client, client_id_of
from aoi_events.domain.clients.tokens import app_key_of
from aoi_events.errors import Overtaken
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Lock, Transaction
from aoi_events.services.clients.retirement import Endings, retire
from aoi_events.services.clients.unit_of_work import Rows

_DAY = timedelta(days=1)


class Registry:
    """Clients, by ID and by secret, and their app instances; requests of a batch see each other's
    changes.

    ``registered`` and ``ended`` count the app instances of each client, ``newcomers`` the clients
    of each identity that were registered within a day. ``endings``: the clients and tokens that the
    batch ends; ``started``: the clients whose apps registered.
    """

    def __init__(self, tx: Transaction, now: datetime) -> None:
        self.now = now
        self.endings = Endings()
        self.started: set[str] = set()
        self._tx = tx
        self.applications: Rows[Application, str] = Rows(lambda app: app.app_key)
        self.registered: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.newcomers: Counter[str] = Counter()
        self._clients: dict[str, Client] = {}
        self._secrets: dict[str, str] = {}
        self._locked: set[str] = set()
        self._fresh: set[str] = set()
        self._changed: set[str] = set()

    @classmethod
    async def load(cls, tx: Transaction, requests: Sequence[Any], now: datetime) -> Registry:
        """Lock every client that a batch may change, at once in key order, and read its rows."""
        registry = cls(tx, now)
        ids: set[str] = set()
        apps: set[tuple[str, str]] = set()
        making: list[RegisterClientV1] = []
        for request in requests:
            match request:
                case RegisterClientV1():
                    making.append(request)
                    if request.previous is not None:
                        ids.add(request.previous.client)
                case RegisterApplicationV1() | DeregisterApplicationV1():
                    ids.add(request.client)
                    key = app_key_of(request.application, request.instance)
                    apps.add((request.client, key))
                case DeregisterClientV1():
                    ids.add(request.client)
                case _:
                    pass
        hashes = {request.secret_hash for request in making}
        # After a refresh a client has another secret than the one that its ID was made from.
        ids |= {client.id for client in (await tx.clients_by_secret(hashes)).values()}
        locked = await tx.clients(ids, Lock.EXCLUSIVE)
        await registry._read_clients(making, locked)
        registry.applications.add((await tx.applications(apps)).values())
        for client, counts in (await tx.count_applications({app[0] for app in apps})).items():
            registry.registered[client], registry.ended[client] = counts
        return registry

    async def _read_clients(
        self, making: Sequence[RegisterClientV1], locked: Mapping[str, Client]
    ) -> None:
        """Read the clients with these secrets or their IDs; some may be newer than the locks."""
        hashes = {request.secret_hash for request in making}
        first = await self._tx.clients({client_id_of(hashed) for hashed in hashes} - locked.keys())
        known = await self._tx.clients_by_secret(hashes)
        for client in (*first.values(), *known.values(), *locked.values()):
            self._clients[client.id] = client
            self._secrets[client.secret_hash] = client.id
        self._locked = set(locked)
        identities = {request.identity for request in making if request.secret_hash not in known}
        self.newcomers.update(await self._tx.count_clients(identities, since=self.now - _DAY))

    def client(self, client: str) -> Client | None:
        """A client with its changes so far."""
        return self._clients.get(client)

    def of_secret(self, secret_hash: str) -> Client | None:
        """The client whose present secret has this hash."""
        return self._clients.get(self._secrets.get(secret_hash, ""))

    def add(self, client: Client) -> None:
        """Add a new client."""
        self.newcomers[client.identity] += 1
        self._fresh.add(client.id)
        self._keep(client)

    def save(self, client: Client) -> None:
        """Replace a client. Raises Overtaken when it was registered after the locks were taken, so
        that its row may be changing.
        """
        if client.id not in self._fresh:
            if client.id not in self._locked:
                raise Overtaken("the same client was registered by another worker just now")
            self._changed.add(client.id)
        self._keep(client)

    def save_application(self, app: Application) -> None:
        """Insert or replace an app instance."""
        before = self.applications.get(app.client, app.app_key)
        if before is not None:
            (self.registered if before.registered else self.ended)[app.client] -= 1
        (self.registered if app.registered else self.ended)[app.client] += 1
        self.applications.save([app])

    async def is_deferred(self, client: Client) -> bool:
        """Whether notifications are stored for the client, or tried again."""
        return bool((await self._tx.count_deferred({client.id})).get(client.id))

    async def retire(self, client: Client, reason: Reason, asker: str) -> list[Outbound]:
        """End a client, after writing the batch's changes so far."""
        await self.write()
        outputs = await retire(self._tx, client, reason, asker, self.now, self.endings)
        if not client.retired:
            self._keep(replace(client, retired_at=self.now, retired_reason=reason))
        return outputs

    def _keep(self, client: Client) -> None:
        before = self._clients.get(client.id)
        if before is not None and self._secrets.get(before.secret_hash) == client.id:
            del self._secrets[before.secret_hash]
        self._clients[client.id] = client
        self._secrets[client.secret_hash] = client.id

    async def write(self) -> None:
        """Write all changes, one statement for each kind. Raises Overtaken when another worker has
        added the same client.
        """
        tx = self._tx
        await tx.save_clients([self._clients[client] for client in self._changed])
        fresh = [self._clients[client] for client in self._fresh]
        if fresh and len(await tx.add_clients(fresh)) < len(fresh):
            raise Overtaken("the same registration was made by another worker just now")
        self._locked |= self._fresh
        self._fresh, self._changed = set(), set()
        await tx.save_applications(self.applications.take_changed())

    async def forget(self, *, keep: int) -> None:
        """Delete ended instances of each client beyond the newest ``keep``."""
        tx = self._tx
        known = await tx.applications_of({id_ for id_, count in self.ended.items() if count > keep})
        of_client: dict[str, list[Application]] = {}
        for app in known:
            of_client.setdefault(app.client, []).append(app)
        old = [
            app
            for apps in of_client.values()
            for app in applications.forgettable(apps, keep=keep, now=self.now)
        ]
        await tx.drop_applications({(app.client, app.app_key) for app in old})
