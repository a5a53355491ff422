"""The activation worker: notification channels (8.1.2, 8.2.2), proofs of addresses, presence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from aoi_events.contracts.answers import (
    ClientConnectedV1,
    ClientDisconnectedV1,
)
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import CloseItem
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    AnyRequest,
    ConfirmChannelV1,
    ConnectClientV1,
    DeactivateChannelsV1,
    DisconnectClientV1,
)
from aoi_events.domain.clients.client import Client, Presence, connected, current
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.activation.channel_set import ChannelSet, closed_by_server
from aoi_events.services.clients.challenges import claims, rivals
from aoi_events.services.clients.unit_of_work import Held
from aoi_events.services.messages.answers import answer, refusal
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.envelopes import batches, hint
from aoi_events.services.messages.requests import Asked, about_request, read_request
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.settings import ServiceSettings
from aoi_events.topology import ACTIVATION, gateway_queue

__all__ = ["ActivationHandler"]


class ActivationHandler(Handler[Asked[AnyRequest]]):
    """Takes ``aoi.activation``; writes channels, proofs and presence, and makes stored deliveries
    due; publishes answers, challenges and ``channel.*`` events.
    """

    queue = ACTIVATION

    def __init__(self, store: Store, settings: ServiceSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._channels = ChannelSet(settings)

    def read(self, message: Inbound) -> Asked[AnyRequest]:
        """The request in the message."""
        return read_request(message, self._settings.gateways)

    def about(self, item: Asked[AnyRequest]) -> Mapping[str, object]:
        """What the request is about."""
        return about_request(item)

    async def handle(self, items: Sequence[Asked[AnyRequest]]) -> Sequence[Outbound]:
        """All requests in one transaction, in order; a refusal is an answer and undoes nothing.

        What waits for clients that can be reached again is released at the end, at once: releases
        lock deliveries, which are locked in key order, too.
        """
        outputs: list[Outbound] = []
        reachable: set[str] = set()
        async with self._store.transaction() as tx:
            held = await _hold(tx, items)
            # Not before: whoever waited for a lock, or was stopped meanwhile, must know it.
            now = self._clock.now()
            for item in items:
                try:
                    outputs += await self._one(tx, item, now, reachable, held)
                except Refusal as refused:
                    outputs += refusal(item.message, refused)
            await held.write(tx)
            limit = self._settings.policies.release
            released = await tx.release(reachable, now=now, limit=limit)
        return [*outputs, hint()] if released else outputs

    async def _one(
        self,
        tx: Transaction,
        item: Asked[AnyRequest],
        now: datetime,
        reachable: set[str],
        held: Held,
    ) -> Sequence[Outbound]:
        request = item.request
        match request:
            case ConnectClientV1():
                connected = _connect(cast("Asked[ConnectClientV1]", item), now, held)
                reachable.add(request.client)
                return connected
            case DisconnectClientV1():
                return _disconnect(cast("Asked[DisconnectClientV1]", item), held)
            case ActivateChannelsV1() | ConfirmChannelV1() | DeactivateChannelsV1():
                asked = cast("Asked[ActivateChannelsV1]", item)
                client = proved_client(asked, held.get(request.client))
            case _:
                raise Refusal(ErrorCode.UNKNOWN_REQUEST, "this worker does not answer that")
        match request:
            case ActivateChannelsV1():
                change = await self._channels.activate(tx, client, request, now, item.sender, held)
            case ConfirmChannelV1():
                change = self._channels.confirm(client, request, now, item.sender, held)
            case DeactivateChannelsV1():
                change = self._channels.deactivate(client, request, now, item.sender, held)
        if change.reachable:
            reachable.add(client.id)
        return [*answer(item.message, change.answer), *change.outputs]


def _connect(asked: Asked[ConnectClientV1], now: datetime, held: Held) -> list[Outbound]:
    """A session opened (or is announced again): it is the client's only one from now on."""
    request = asked.request
    known = held.get(request.client)
    if request.secret is not None:
        client = proved_client(asked, known)
    else:
        client = _same_session(known, request)
    present = Presence(node=request.node, session=request.session)
    after = connected(client, present, now, answer_by=request.answer_by)
    held.save(after)
    body = ClientConnectedV1(
        client=client.id,
        epoch=after.epoch,
        sequence=client.sequence,
        closed=closed_by_server(held.channels_of(client.id)),
        lost=_tell_lost(held, client.id, request),
    )
    return [*answer(asked.message, body), *_replaced(after)]


def _disconnect(asked: Asked[DisconnectClientV1], held: Held) -> list[Outbound]:
    request = asked.request
    client = held.get(request.client)
    if client is not None and client.epoch == request.epoch and client.presence is not None:
        held.save(replace(client, presence=None))
    return answer(asked.message, ClientDisconnectedV1(client=request.client))


async def _hold(tx: Transaction, items: Sequence[Asked[AnyRequest]]) -> Held:
    """Every client that a batch may change, locked at once in key order, with what it may read."""
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
    changing |= await rivals(tx, confirming)
    held = Held(await tx.clients(connecting | changing | leaving, Lock.EXCLUSIVE))
    await held.read(tx, channels=connecting | changing, proofs=changing, losses=connecting)
    held.claims = await claims(tx, confirming, held)
    return held


def _tell_lost(held: Held, client: str, request: ConnectClientV1) -> int:
    """How many notifications the session is told that its client lost; hardly any has."""
    rows = held.losses.of(client)
    if not rows:
        return 0
    told = rows[0].tell(request.session, request.heard)
    if told != rows[0]:
        held.losses.save([told])
    return told.told


def _same_session(known: Client | None, request: ConnectClientV1) -> Client:
    """An announcement holds only for the session that the store knows under that epoch."""
    if known is None:
        raise Refusal(ErrorCode.UNAUTHENTICATED, "no AOI Client has this ID")
    client = current(known)
    # The presence may have been given up meanwhile (a delivery came back from the dead queue of the
    # node that went); as long as no other session began, this one is still the newest.
    newest = client.epoch == request.epoch
    held = client.presence is not None and client.presence.session == request.session
    if not newest and not held:
        raise Refusal(ErrorCode.CONFLICT, "another session of this client has begun since")
    return client


def _replaced(client: Client) -> list[Outbound]:
    """What ends the session that the present one took over from."""
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
