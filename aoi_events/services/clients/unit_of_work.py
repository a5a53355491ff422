"""The rows that a batch of commands works on: read at once, changed in memory, written at once.

Its items see each other's changes, and a batch costs as many statements as one item.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from aoi_events.domain.clients.channels import Channel, Proof
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.losses import Loss
from aoi_events.ports.store import Transaction


class _OfClient(Protocol):
    """A row that belongs to a client."""

    @property
    def client(self) -> str: ...


R = TypeVar("R", bound=_OfClient)
K = TypeVar("K", bound=Hashable)


class Rows(Generic[R, K]):
    """Rows that belong to clients; ``key`` identifies a row of one client."""

    def __init__(self, key: Callable[[R], K]) -> None:
        self._key = key
        self._of: defaultdict[str, dict[K, R]] = defaultdict(dict)
        self._changed: dict[tuple[str, K], R] = {}
        self._dropped: set[tuple[str, K]] = set()

    def add(self, rows: Iterable[R]) -> None:
        """Add rows as they are in the store."""
        for row in rows:
            self._of[row.client][self._key(row)] = row

    def of(self, client: str) -> list[R]:
        """Every row of a client."""
        return list(self._of[client].values())

    def get(self, client: str, key: K) -> R | None:
        """One row of a client."""
        return self._of[client].get(key)

    def every(self) -> Iterable[R]:
        """Every row of every client."""
        return (row for rows in self._of.values() for row in rows.values())

    def save(self, rows: Iterable[R]) -> None:
        """Insert or replace."""
        for row in rows:
            key = self._key(row)
            self._of[row.client][key] = self._changed[row.client, key] = row
            self._dropped.discard((row.client, key))

    def drop(self, client: str, keys: Iterable[K]) -> None:
        """Delete rows of a client."""
        for key in keys:
            self._of[client].pop(key, None)
            self._changed.pop((client, key), None)
            self._dropped.add((client, key))

    def take_changed(self) -> list[R]:
        """The rows to write; each is returned once."""
        changed = list(self._changed.values())
        self._changed.clear()
        return changed

    @property
    def dropped(self) -> Collection[tuple[str, K]]:
        """The (client, key) of rows to delete."""
        return self._dropped


class LockedClients:
    """Clients whose rows are locked exclusively, with the rows that an activation worker reads and
    writes in ``tx``; channels and proofs only for the clients that need them.

    ``now``: the time when they were locked. ``claimants`` are the clients with a proof of an
    address, open or not, for each (channel, address) that is being proved.
    """

    def __init__(self, tx: Transaction, now: datetime, clients: Mapping[str, Client]) -> None:
        self.tx = tx
        self.now = now
        self.channels: Rows[Channel, str] = Rows(lambda channel: channel.type)
        self.proofs: Rows[Proof, tuple[str, str]] = Rows(
            lambda proof: (proof.channel, proof.address)
        )
        self.losses: Rows[Loss, str] = Rows(lambda _: "")
        self.claimants: Mapping[tuple[str, str], Collection[str]] = {}
        self._clients = dict(clients)
        self._changed: dict[str, Client] = {}

    async def read(
        self, *, channels: Collection[str], proofs: Collection[str], losses: Collection[str]
    ) -> None:
        """Read the rows of these clients."""
        tx = self.tx
        self.channels.add(row for rows in (await tx.channels(channels)).values() for row in rows)
        self.proofs.add(row for rows in (await tx.proofs(proofs)).values() for row in rows)
        self.losses.add((await tx.losses(losses)).values())

    def __contains__(self, client: str) -> bool:
        return client in self._clients

    def get(self, client: str) -> Client | None:
        """A client with its changes so far."""
        return self._clients.get(client)

    def save(self, client: Client) -> None:
        """Replace a client."""
        self._clients[client.id] = self._changed[client.id] = client

    def channels_of(self, client: str) -> list[Channel]:
        """Its channels, closed ones included, best rank first."""
        return sorted(self.channels.of(client), key=lambda row: (row.rank, row.type))

    async def write(self) -> None:
        """Write all changes, one statement for each kind."""
        tx = self.tx
        await tx.save_clients(list(self._changed.values()))
        await tx.drop_channels(set(self.channels.dropped))
        await tx.save_channels(self.channels.take_changed())
        await tx.drop_proofs({(client, *key) for client, key in self.proofs.dropped})
        await tx.save_proofs(self.proofs.take_changed())
        await tx.save_losses(self.losses.take_changed())
