"""The end of an AOI Client, and of the deliveries of an ended client or token."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import CloseItem
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients import applications
from aoi_events.domain.clients.client import Client
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Transaction
from aoi_events.services.clients.endings import application_event
from aoi_events.services.messages.envelopes import batches
from aoi_events.topology import gateway_queue


@dataclass(slots=True)
class Endings:
    """Clients and tokens that ended, whose open deliveries the deadlines worker must settle."""

    clients: set[str] = field(default_factory=set)
    tokens: set[tuple[str, str]] = field(default_factory=set)
    """(client, fingerprint of the token)."""

    async def make_due(self, tx: Transaction, now: datetime) -> bool:
        """Make all those deliveries due at once; returns whether there are any."""
        concerned = self.clients | {client for client, _ in self.tokens}
        rows = [
            row
            for row in await tx.open_deliveries_of(concerned)
            if row.client in self.clients or (row.client, row.fingerprint) in self.tokens
        ]
        # Never later than it is: that it is overdue must show, to workers of other clocks, too.
        await tx.save_deliveries(
            [replace(row, deadline=min(row.deadline or now, now)) for row in rows]
        )
        return bool(rows)


async def retire(
    tx: Transaction,
    client: Client,
    reason: Reason,
    asker: str,
    now: datetime,
    endings: Endings,
) -> list[Outbound]:
    """End a client, whose row the caller has locked: its session is closed, its tokens and channels
    are revoked, and its open deliveries will fail with this reason.

    For a client that had ended before, the same messages are returned again.
    """
    endings.clients.add(client.id)
    outputs: list[Outbound] = []
    if client.presence is not None:
        close = CloseItem(
            client=client.id,
            session=client.presence.session,
            epoch=client.epoch,
            code=CloseCode.RETIRED,
            message="this AOI Client ID ended; register again",
        )
        outputs += batches(gateway_queue(client.presence.node), [close], gateway=True)
    apps = await tx.applications_of({client.id})
    if not client.retired:
        # The presence stays until the gateway says that it ended, so that a repeat closes it too.
        await tx.save_clients([replace(client, retired_at=now, retired_reason=reason)])
        apps = [applications.revoke(app, reason) for app in apps]
        await tx.save_applications(apps)
        channels = (await tx.channels({client.id})).get(client.id, ())
        await tx.drop_channels({(channel.client, channel.type) for channel in channels})
    return outputs + [
        application_event(app, asker, now)
        for app in apps
        if app.revoked_reason == reason and app.generation
    ]
