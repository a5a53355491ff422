"""Queries about notification channels, proofs of addresses, and challenges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy import insert as plain_insert

from aoi_events.domain.clients.channels import Channel, Proof, ProofState
from aoi_events.store.bulk_rows import BulkRows
from aoi_events.store.queries import Queries
from aoi_events.store.records import CHANNELS, PROOFS
from aoi_events.store.tables import challenges, proofs


class ChannelQueries(Queries):
    """The port's section "channels"."""

    async def channels(self, clients: Collection[str]) -> Mapping[str, Sequence[Channel]]:
        """Every channel of each client that has any, closed ones included, best rank first."""
        found: defaultdict[str, list[Channel]] = defaultdict(list)
        for channel in await self._find(CHANNELS, clients, ("client",)):
            found[channel.client].append(channel)
        for ranked in found.values():
            ranked.sort(key=lambda channel: (channel.rank, channel.type))
        return dict(found)

    async def save_channels(self, channels: Sequence[Channel]) -> None:
        """Insert or replace, by (client, type)."""
        await self._replace(CHANNELS, channels)

    async def drop_channels(self, keys: Collection[tuple[str, str]]) -> None:
        """Delete channels by (client, type), once the client knows that they are closed."""
        await self._delete(CHANNELS, keys)


class ProofQueries(Queries):
    """The port's section "proofs", and the challenges counted for its limits."""

    async def proofs(self, clients: Collection[str]) -> Mapping[str, Sequence[Proof]]:
        """Every proof of each client that has any."""
        found: defaultdict[str, list[Proof]] = defaultdict(list)
        for proof in await self._find(PROOFS, clients, ("client",)):
            found[proof.client].append(proof)
        return dict(found)

    async def proofs_of_addresses(self, addresses: Collection[tuple[str, str]]) -> Sequence[Proof]:
        """Every proof, of any client, of these (channel, address) pairs."""
        return await self._find(PROOFS, addresses, ("channel", "address"))

    async def save_proofs(self, proofs: Sequence[Proof]) -> None:
        """Insert or replace, by (client, channel, address).

        An address may go from one client to another within ``proofs``: the one that loses it is
        written first, since it is proved by one client at any moment.
        """
        proved = [proof for proof in proofs if proof.state is ProofState.PROVED]
        others = [proof for proof in proofs if proof.state is not ProofState.PROVED]
        await self._replace(PROOFS, others)
        await self._replace(PROOFS, proved)

    async def drop_proofs(self, keys: Collection[tuple[str, str, str]]) -> None:
        """Delete proofs by (client, channel, address)."""
        await self._delete(PROOFS, keys)

    async def claim_due_proofs(
        self, now: datetime, limit: int, *, until: datetime
    ) -> Sequence[tuple[str, str, str]]:
        """Keys of proofs whose deadline has passed, earliest first; the deadline becomes
        ``until``.
        """
        keys = (proofs.c.client, proofs.c.channel, proofs.c.address)
        found = await self._run(
            select(*keys)
            .where(proofs.c.deadline <= now)
            .order_by(proofs.c.deadline, *keys)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        claimed = [(client, channel, address) for client, channel, address in found]
        if claimed:
            bulk = BulkRows(self._sql, keys)
            postponed = update(proofs).where(bulk.match).values(deadline=until)
            await self._run(postponed, bulk.bind(claimed))
        return claimed

    async def count_challenges(
        self,
        *,
        since: datetime,
        channel: str | None = None,
        address: str | None = None,
        client: str | None = None,
    ) -> int:
        """The number of challenges sent since then, in all or narrowed (for limits)."""
        narrowed = {"channel": channel, "address": address, "client": client}
        counted = select(func.count()).where(challenges.c.at >= since)
        for name, value in narrowed.items():
            if value is not None:
                counted = counted.where(challenges.c[name] == value)
        return int((await self._run(counted)).scalar_one())

    async def note_challenges(self, sent: Sequence[tuple[Proof, datetime]]) -> None:
        """Count challenges that are sent now."""
        if sent:
            rows = [
                {"client": p.client, "channel": p.channel, "address": p.address, "at": at}
                for p, at in sent
            ]
            await self._run(plain_insert(challenges), rows)
