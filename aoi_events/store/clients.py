"""Queries about clients and their app instances."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, literal_column, select, true

from aoi_events.domain.clients.applications import Application
from aoi_events.domain.clients.client import Client
from aoi_events.ports.store import Lock
from aoi_events.store.bulk_rows import BulkRows
from aoi_events.store.queries import Queries
from aoi_events.store.records import APPLICATIONS, CLIENTS
from aoi_events.store.tables import applications, clients


class ClientQueries(Queries):
    """The port's section "clients"."""

    async def clients(self, ids: Collection[str], lock: Lock = Lock.NONE) -> Mapping[str, Client]:
        """Clients by ID, retired ones included, locked in key order."""
        return {client.id: client for client in await self._find(CLIENTS, ids, lock=lock)}

    async def clients_by_secret(self, hashes: Collection[str]) -> Mapping[str, Client]:
        """Clients by the hash of their secret, retired ones included."""
        found = await self._find(CLIENTS, hashes, ("secret_hash",))
        return {client.secret_hash: client for client in found}

    async def add_clients(self, clients: Sequence[Client]) -> Collection[str]:
        """Insert those whose ID is new; returns the IDs that were inserted."""
        return {id_ for (id_,) in await self._insert_new(CLIENTS, clients)}

    async def save_clients(self, clients: Sequence[Client]) -> None:
        """Insert or replace, by ID."""
        await self._replace(CLIENTS, clients)

    async def expired_clients(
        self, *, unused_before: datetime, silent_before: datetime, limit: int
    ) -> Collection[str]:
        """IDs of clients without a request for so long, at most ``limit`` of each kind."""
        # Epochs count connections, sequence numbers activations; spelled as in the partial index.
        unused = (
            select(clients.c.id)
            .where(
                clients.c.epoch == literal_column("0"),
                clients.c.sequence == literal_column("0"),
                clients.c.registered_at < unused_before,
                clients.c.seen_at < unused_before,
                clients.c.retired_at.is_(None),
            )
            .order_by(clients.c.registered_at)
            .limit(limit)
        )
        silent = (
            select(clients.c.id)
            .where(clients.c.seen_at < silent_before, clients.c.retired_at.is_(None))
            .order_by(clients.c.seen_at)
            .limit(limit)
        )
        found = [*await self._run(unused), *await self._run(silent)]
        return {id_ for (id_,) in found}

    async def clients_with_unpublished_end(self, before: datetime, limit: int) -> Sequence[str]:
        """IDs of clients that ended before then and whose event may be unpublished."""
        found = (
            select(clients.c.id)
            .where(clients.c.unpublished_since < before)
            .order_by(clients.c.unpublished_since)
            .limit(limit)
        )
        return [id_ for (id_,) in await self._run(found)]

    async def count_clients(
        self, identities: Collection[str], *, since: datetime
    ) -> Mapping[str, int]:
        """The number of clients registered for each identity since then (absent: none; for a
        quota).
        """
        recent = clients.c.registered_at >= since
        return await self._count_by(clients.c.identity, identities, recent)


class ApplicationQueries(Queries):
    """The port's section "applications"."""

    async def applications(
        self, keys: Collection[tuple[str, str]], lock: Lock = Lock.NONE
    ) -> Mapping[tuple[str, str], Application]:
        """App instances by (client, app_key)."""
        found = await self._find(APPLICATIONS, keys, lock=lock)
        return {(app.client, app.app_key): app for app in found}

    async def applications_of(self, clients: Collection[str]) -> Sequence[Application]:
        """Every app instance of these clients."""
        return await self._find(APPLICATIONS, clients, ("client",))

    async def save_applications(self, applications: Sequence[Application]) -> None:
        """Insert or replace, by (client, app_key)."""
        await self._replace(APPLICATIONS, applications)

    async def count_applications(self, clients: Collection[str]) -> Mapping[str, tuple[int, int]]:
        """The number of app instances of each client: registered, and ended but still stored (for
        bounds; absent: neither).
        """
        if not clients:
            return {}
        bulk = BulkRows(self._sql, [applications.c.client])
        counted = (
            select(applications.c.client, applications.c.registered, func.count())
            .join(bulk.rows, bulk.match)
            .group_by(applications.c.client, applications.c.registered)
        )
        rows = await self._run(counted, bulk.bind((id_,) for id_ in sorted(set(clients))))
        found: dict[str, tuple[int, int]] = {}
        for client, registered, count in rows:
            live, ended = found.get(client, (0, 0))
            found[client] = (count, ended) if registered else (live, count)
        return found

    async def drop_applications(self, keys: Collection[tuple[str, str]]) -> None:
        """Delete app instances by (client, app_key)."""
        await self._delete(APPLICATIONS, keys)

    async def token_keys_in_use(self) -> Mapping[str, int]:
        """Token key ID → the number of valid tokens that were made with it."""
        counted = (
            select(applications.c.key_id, func.count())
            .where(applications.c.registered == true())
            .group_by(applications.c.key_id)
        )
        return dict((await self._run(counted)).all())

    async def token_samples(self) -> Sequence[Application]:
        """For each token key in use, one app instance whose token was made with it."""
        place = func.row_number().over(
            partition_by=applications.c.key_id,
            order_by=(applications.c.client, applications.c.app_key),
        )
        ranked = (
            select(*APPLICATIONS.columns, place.label("place"))
            .where(applications.c.registered == true())
            .subquery()
        )
        names = [column.name for column in APPLICATIONS.columns]
        first = select(*(ranked.c[name] for name in names)).where(ranked.c.place == 1)
        return APPLICATIONS.read(await self._run(first))
