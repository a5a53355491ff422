"""The activation worker: notification channels (8.1.2, 8.2.2), proofs of addresses, presence."""

from __future__ import annotations

from collections.abc import Sequence

from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    ConfirmChannelV1,
    ConfirmSessionsV1,
    ConnectClientV1,
    DeactivateChannelsV1,
    DisconnectClientV1,
)
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Lock, Transaction
from aoi_events.services.activation.channel_set import ChannelSet
from aoi_events.services.activation.presence import (
    confirm_sessions,
    confirm_unchanged,
    connect,
    disconnect,
)
from aoi_events.services.clients.challenges import address_holders, read_claimants
from aoi_events.services.clients.unit_of_work import LockedClients
from aoi_events.services.messages.answers import answer, refusal
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.runtime.handler import RequestHandler
from aoi_events.topology import ACTIVATION


class ActivationHandler(RequestHandler):
    """Consumes ``aoi.activation``; writes channels, proofs and presence, and makes stored
    deliveries due; publishes answers, challenges and ``channel.*`` events.
    """

    queue = ACTIVATION

    async def handle(self, items: Sequence[IncomingRequest]) -> Sequence[Outbound]:
        """Handle all requests in one transaction, in order; a refusal undoes nothing.

        Deliveries of clients that can be reached again are released together at the end: releases
        lock deliveries, which are locked in key order, too.
        """
        outputs, items = await confirm_unchanged(self.store, items)
        if not items:
            return outputs
        reachable: set[str] = set()
        async with self.store.transaction() as tx:
            locked = await _lock_and_read(tx, items, self.clock)
            for item in items:
                try:
                    outputs += await self._handle_one(locked, item, reachable)
                except Refusal as refused:
                    outputs += refusal(item.message, refused)
            await locked.write()
            limit = self.settings.policies.release
            released = await tx.release(reachable, now=locked.now, limit=limit)
        return [*outputs, hint()] if released else outputs

    async def _handle_one(
        self, locked: LockedClients, incoming: IncomingRequest, reachable: set[str]
    ) -> Sequence[Outbound]:
        request = incoming.request
        match request:
            case ConnectClientV1():
                outputs = connect(locked, incoming, request)
                reachable.add(request.client)
                return outputs
            case ConfirmSessionsV1():
                return confirm_sessions(locked, incoming, request, reachable)
            case DisconnectClientV1():
                return disconnect(locked, incoming, request)
            case ActivateChannelsV1() | ConfirmChannelV1() | DeactivateChannelsV1():
                client = proved_client(incoming, request, locked.get(request.client))
                channels = ChannelSet(self.settings, locked, client, incoming.sender)
            case _:
                raise Refusal(ErrorCode.UNKNOWN_REQUEST, "this worker does not answer that")
        match request:
            case ActivateChannelsV1():
                change = await channels.activate(request)
            case ConfirmChannelV1():
                change = channels.confirm(request)
            case DeactivateChannelsV1():
                change = channels.deactivate(request)
        if change.reachable:
            reachable.add(client.id)
        return [*answer(incoming.message, change.answer), *change.outputs]


async def _lock_and_read(
    tx: Transaction, items: Sequence[IncomingRequest], clock: Clock
) -> LockedClients:
    """Lock every client that a batch may change, at once in key order, and read their rows."""
    connecting: set[str] = set()
    changing: set[str] = set()
    others: set[str] = set()
    confirming: set[tuple[str, str]] = set()
    for item in items:
        request = item.request
        match request:
            case ConnectClientV1():
                connecting.add(request.client)
            case ConfirmSessionsV1():
                others |= {session.client for session in request.sessions}
            case DisconnectClientV1():
                others.add(request.client)
            case ActivateChannelsV1() | DeactivateChannelsV1():
                changing.add(request.client)
            case ConfirmChannelV1():
                changing.add(request.client)
                confirming.add((request.client, request.channel))
            case _:
                pass
    changing |= await address_holders(tx, confirming)
    clients = await tx.clients(connecting | changing | others, Lock.EXCLUSIVE)
    # Not before: a worker that waited for a lock, or was suspended, needs the present time.
    locked = LockedClients(tx, clock.now(), clients)
    await locked.read(channels=connecting | changing, proofs=changing, losses=connecting)
    locked.claimants = await read_claimants(locked, confirming)
    return locked
