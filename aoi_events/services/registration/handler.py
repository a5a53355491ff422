"""The registration worker: AOI Clients (8.2.1) and Application Clients (8.2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from aoi_events.contracts.answers import ClientDeregisteredV1, ClientRegisteredV1
from aoi_events.contracts.events import ClientChanged
from aoi_events.contracts.requests import (
    AnyRequest,
    DeregisterApplicationV1,
    DeregisterClientV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients import client as clients
from aoi_events.domain.clients.client import Client
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.clients.retirement import Endings, retire
from aoi_events.services.messages.answers import answer, refusal
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.messages.events import event
from aoi_events.services.messages.requests import Asked, about_request, read_request
from aoi_events.services.registration.applications import ApplicationRegistration
from aoi_events.services.registration.unit_of_work import Registry
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.settings import ServiceSettings
from aoi_events.topology import REGISTRATION

__all__ = ["RegistrationHandler"]


class RegistrationHandler(Handler[Asked[AnyRequest]]):
    """Takes ``aoi.registration``; writes clients and applications; publishes answers, ``client.*``
    and ``application.*`` events.
    """

    queue = REGISTRATION

    def __init__(self, store: Store, settings: ServiceSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._applications = ApplicationRegistration(settings)

    def read(self, message: Inbound) -> Asked[AnyRequest]:
        """The request in the message."""
        return read_request(message, self._settings.gateways)

    def about(self, item: Asked[AnyRequest]) -> Mapping[str, object]:
        """What the request is about."""
        return about_request(item)

    async def handle(self, items: Sequence[Asked[AnyRequest]]) -> Sequence[Outbound]:
        """All requests in one transaction, in order; a refusal is an answer and undoes nothing.

        Deliveries that must end are locked once, at the end, so in key order; and what the start of
        an app makes due is released in a transaction that holds no other delivery.
        """
        now = self._clock.now()
        outputs: list[Outbound] = []
        endings = Endings()
        started: set[str] = set()
        async with self._store.transaction() as tx:
            registry = await Registry.hold(tx, [item.request for item in items], now)
            for item in _in_order(items):
                try:
                    outputs += await self._one(tx, item, now, endings, started, registry)
                except Refusal as refused:
                    outputs += refusal(item.message, refused)
            await registry.write(tx)
            await self._applications.forget(tx, registry, now)
            due = await endings.make_due(tx, now)
        if started:
            async with self._store.transaction() as tx:
                await tx.clients(started, Lock.EXCLUSIVE)
                limit = self._settings.policies.release
                due |= bool(await tx.release(started, now=now, limit=limit))
        return [*outputs, hint()] if due else outputs

    async def _one(
        self,
        tx: Transaction,
        item: Asked[AnyRequest],
        now: datetime,
        endings: Endings,
        started: set[str],
        registry: Registry,
    ) -> Sequence[Outbound]:
        request = item.request
        match request:
            case RegisterClientV1():
                fresh = cast("Asked[RegisterClientV1]", item)
                return await self._register(tx, fresh, now, endings, registry)
            case DeregisterClientV1():
                asked = cast("Asked[DeregisterClientV1]", item)
                return await self._deregister(tx, asked, now, endings, registry)
            case RegisterApplicationV1():
                registering = cast("Asked[RegisterApplicationV1]", item)
                outputs = self._applications.register(registry, registering, now, endings)
                started.add(request.client)
                return outputs
            case DeregisterApplicationV1():
                gone = cast("Asked[DeregisterApplicationV1]", item)
                return self._applications.deregister(registry, gone, now, endings)
            case _:
                raise Refusal(ErrorCode.UNKNOWN_REQUEST, "this worker does not answer that")

    async def _register(
        self,
        tx: Transaction,
        asked: Asked[RegisterClientV1],
        now: datetime,
        endings: Endings,
        registry: Registry,
    ) -> list[Outbound]:
        request = asked.request
        same = registry.of_secret(request.secret_hash)
        if (wanted := self._settings.identities) is not None and (
            same is None or same.identity != request.identity
        ):
            # What was registered before was proved then; its repeat may come late.
            wanted.check(request.assertion, request.identity, now)
        first_id = clients.client_id_of(request.secret_hash)
        earlier = request.previous
        decided = clients.register(
            request,
            same_secret=same,
            same_id=registry.client(first_id),
            previous=None if earlier is None else registry.client(earlier.client),
            now=now,
        )
        client, retired = decided.client, decided.retired
        if decided.fresh:
            self._keep_quota(registry.newcomers[request.identity])
        outputs: list[Outbound] = []
        if retired is not None:
            outputs += await _retire(
                tx, registry, retired, Reason.REASSIGNED, asked.sender, now, endings
            )
            if retired.retired_reason in (None, Reason.REASSIGNED):
                changed = ClientChanged(client=retired.id, replaced_by=client.id)
                outputs.append(
                    event("client.reassigned", asked.sender, changed, at=now, key=f"{retired.id}@")
                )
        if decided.fresh:
            registry.add(client)
        else:
            registry.save(client)
        # A client's first secret made its ID; whichever other one it has now came with a refresh.
        outputs.append(
            event(
                "client.registered" if first_id == client.id else "client.refreshed",
                asked.sender,
                ClientChanged(client=client.id),
                at=now,
                key=f"{client.id}@{request.secret_hash[:8]}",
            )
        )
        body = ClientRegisteredV1(client=client.id, retired=retired.id if retired else None)
        return [*answer(asked.message, body), *outputs]

    def _keep_quota(self, count: int) -> None:
        if count >= self._settings.policies.clients_per_identity:
            raise Refusal(
                ErrorCode.QUOTA_EXCEEDED,
                f"{count} clients registered for this identity within a day; send 'previous' "
                "to refresh one of them, or try again tomorrow",
            )

    async def _deregister(
        self,
        tx: Transaction,
        asked: Asked[DeregisterClientV1],
        now: datetime,
        endings: Endings,
        registry: Registry,
    ) -> list[Outbound]:
        known = registry.client(asked.request.client)
        try:
            client = proved_client(asked, known)
        except Refusal as refused:
            # A repeat of what was done already is done again, with the same answer.
            repeat = refused.code is ErrorCode.CLIENT_RETIRED
            if not repeat or known is None or known.retired_reason != Reason.DEREGISTERED:
                raise
            client = known
        outputs = await _retire(
            tx, registry, client, Reason.DEREGISTERED, asked.sender, now, endings
        )
        gone = ClientChanged(client=client.id)
        return [
            *answer(asked.message, ClientDeregisteredV1(client=client.id)),
            event("client.deregistered", asked.sender, gone, at=now, key=f"{client.id}@"),
            *outputs,
        ]


async def _retire(
    tx: Transaction,
    registry: Registry,
    client: Client,
    reason: Reason,
    asker: str,
    now: datetime,
    endings: Endings,
) -> list[Outbound]:
    """End a client, with whatever the batch has changed so far written before."""
    await registry.write(tx)
    outputs = await retire(tx, client, reason, asker, now, endings)
    if not client.retired:
        registry.written(replace(client, retired_at=now, retired_reason=reason))
    return outputs


def _in_order(items: Sequence[Asked[AnyRequest]]) -> list[Asked[AnyRequest]]:
    """First those that make new clients, so that these are inserted at once, in key order: two
    workers that have the same ones wait for each other one way only. They follow from nothing that
    stands before them.
    """

    def makes(item: Asked[AnyRequest]) -> bool:
        return isinstance(item.request, RegisterClientV1) and item.request.previous is None

    return sorted(items, key=makes, reverse=True)
