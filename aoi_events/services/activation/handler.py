"""The activation worker: notification channels (8.1.2, 8.2.2), proofs of addresses, presence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aoi_events.contracts.answers import ClientConnectedV1, ClientDisconnectedV1
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import CloseItem
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    ConfirmChannelV1,
    ConnectClientV1,
    DeactivateChannelsV1,
    DisconnectClientV1,
)
from aoi_events.domain.clients.client import Client, Presence, connected, current
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Lock, Transaction
from aoi_events.services.activation.channel_set import ChannelSet, closed_by_server
from aoi_events.services.clients.challenges import address_holders, read_claimants
from aoi_events.services.clients.unit_of_work import LockedClients
from aoi_events.services.messages.answers import answer, refusal
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.envelopes import batches, hint
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.runtime.handler import RequestHandler
from aoi_events.topology import ACTIVATION, gateway_queue


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
        outputs: list[Outbound] = []
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
                connected = _connect(locked, incoming, request)
                reachable.add(request.client)
                return connected
            case DisconnectClientV1():
                return _disconnect(locked, incoming, request)
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


def _connect(
    locked: LockedClients, incoming: IncomingRequest, request: ConnectClientV1
) -> list[Outbound]:
    """Record that a session opened (or is announced again): it is the client's only one from now
    on.
    """
    known = locked.get(request.client)
    if request.secret is not None:
        client = proved_client(incoming, request, known)
    else:
        client = _same_session(known, request)
    present = Presence(node=request.node, session=request.session)
    after = connected(client, present, locked.now, answer_by=request.answer_by)
    locked.save(after)
    body = ClientConnectedV1(
        client=client.id,
        epoch=after.epoch,
        sequence=client.sequence,
        closed=closed_by_server(locked.channels_of(client.id)),
        lost=_report_losses(locked, request),
    )
    return [*answer(incoming.message, body), *_replaced(after)]


def _disconnect(
    locked: LockedClients, incoming: IncomingRequest, request: DisconnectClientV1
) -> list[Outbound]:
    client = locked.get(request.client)
    if client is not None and client.epoch == request.epoch and client.presence is not None:
        locked.save(replace(client, presence=None))
    return answer(incoming.message, ClientDisconnectedV1(client=request.client))


async def _lock_and_read(
    tx: Transaction, items: Sequence[IncomingRequest], clock: Clock
) -> LockedClients:
    """Lock every client that a batch may change, at once in key order, and read their rows."""
    connecting: set[str] = set()
    changing: set[str] = set()
    leaving: set[str] = set()
    confirming: set[tuple[str, str]] = set()
    for item in items:
        request = item.request
        match request:
            case ConnectClientV1():
                connecting.add(request.client)
            case DisconnectClientV1():
                leaving.add(request.client)
            case ActivateChannelsV1() | DeactivateChannelsV1():
                changing.add(request.client)
            case ConfirmChannelV1():
                changing.add(request.client)
                confirming.add((request.client, request.channel))
            case _:
                pass
    changing |= await address_holders(tx, confirming)
    clients = await tx.clients(connecting | changing | leaving, Lock.EXCLUSIVE)
    # Not before: a worker that waited for a lock, or was suspended, needs the present time.
    locked = LockedClients(tx, clock.now(), clients)
    await locked.read(channels=connecting | changing, proofs=changing, losses=connecting)
    locked.claimants = await read_claimants(locked, confirming)
    return locked


def _report_losses(locked: LockedClients, request: ConnectClientV1) -> int:
    """The number of lost notifications to report to the session; almost always 0."""
    rows = locked.losses.of(request.client)
    if not rows:
        return 0
    reported = rows[0].report_to(request.session, request.heard)
    if reported != rows[0]:
        locked.losses.save([reported])
    return reported.reported


def _same_session(known: Client | None, request: ConnectClientV1) -> Client:
    """The client of an announced session, which must be the one that the store has under that
    epoch.
    """
    if known is None:
        raise Refusal(ErrorCode.UNAUTHENTICATED, "no AOI Client has this ID")
    client = current(known)
    # The presence may have been given up meanwhile (a delivery came back from the dead queue of the
    # node that went); as long as no other session began, this one is still the newest.
    newest = client.epoch == request.epoch
    locked = client.presence is not None and client.presence.session == request.session
    if not newest and not locked:
        raise Refusal(ErrorCode.CONFLICT, "another session of this client has begun since")
    return client


def _replaced(client: Client) -> list[Outbound]:
    """The message that closes the session that the present one replaced."""
    old = client.replaced
    if old is None:
        return []
    close = CloseItem(
        client=client.id,
        session=old.session,
        epoch=client.epoch - 1,
        code=CloseCode.REPLACED,
        message="another connection of this client took over",
    )
    return batches(gateway_queue(old.node), [close], gateway=True)
