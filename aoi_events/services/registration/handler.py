"""The registration worker: AOI Clients (8.2.1) and Application Clients (8.2.3)."""

from __future__ import annotations

from collections.abc import Sequence
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
from aoi_events.ports.broker import Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.clients.retirement import Endings, retire
from aoi_events.services.messages.answers import answer, refusal
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.messages.events import event
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.registration.applications import ApplicationRegistration
from aoi_events.services.registration.unit_of_work import Registry
from aoi_events.services.runtime.handler import RequestHandler
from aoi_events.services.runtime.settings import ServiceSettings
from aoi_events.topology import REGISTRATION


class RegistrationHandler(RequestHandler):
    """Consumes ``aoi.registration``; writes clients and applications; publishes answers,
    ``client.*`` and ``application.*`` events.
    """

    queue = REGISTRATION

    def __init__(self, store: Store, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(settings)
        self._store = store
        self._clock = clock
        self._applications = ApplicationRegistration(settings)

    async def handle(self, items: Sequence[IncomingRequest[AnyRequest]]) -> Sequence[Outbound]:
        """Handle all requests in one transaction, in order; a refusal undoes nothing.

        Deliveries that must end are locked once, at the end, so in key order; deliveries that the
        start of an app makes due are released in a transaction that locks no other delivery.
        """
        now = self._clock.now()
        outputs: list[Outbound] = []
        endings = Endings()
        started: set[str] = set()
        async with self._store.transaction() as tx:
            registry = await Registry.load(tx, [item.request for item in items], now)
            for item in _in_order(items):
                try:
                    outputs += await self._handle_one(tx, item, now, endings, started, registry)
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

    async def _handle_one(
        self,
        tx: Transaction,
        item: IncomingRequest[AnyRequest],
        now: datetime,
        endings: Endings,
        started: set[str],
        registry: Registry,
    ) -> Sequence[Outbound]:
        request = item.request
        match request:
            case RegisterClientV1():
                fresh = cast("IncomingRequest[RegisterClientV1]", item)
                return await self._register(tx, fresh, now, endings, registry)
            case DeregisterClientV1():
                incoming = cast("IncomingRequest[DeregisterClientV1]", item)
                return await self._deregister(tx, incoming, now, endings, registry)
            case RegisterApplicationV1():
                registering = cast("IncomingRequest[RegisterApplicationV1]", item)
                outputs = self._applications.register(registry, registering, now, endings)
                started.add(request.client)
                return outputs
            case DeregisterApplicationV1():
                gone = cast("IncomingRequest[DeregisterApplicationV1]", item)
                return self._applications.deregister(registry, gone, now, endings)
            case _:
                raise Refusal(ErrorCode.UNKNOWN_REQUEST, "this worker does not answer that")

    async def _register(
        self,
        tx: Transaction,
        incoming: IncomingRequest[RegisterClientV1],
        now: datetime,
        endings: Endings,
        registry: Registry,
    ) -> list[Outbound]:
        request = incoming.request
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
                tx, registry, retired, Reason.REASSIGNED, incoming.sender, now, endings
            )
            if retired.retired_reason in (None, Reason.REASSIGNED):
                changed = ClientChanged(client=retired.id, replaced_by=client.id)
                outputs.append(
                    event(
                        "client.reassigned", incoming.sender, changed, at=now, key=f"{retired.id}@"
                    )
                )
        if decided.fresh:
            registry.add(client)
        else:
            registry.save(client)
        # A client's first secret made its ID; whichever other one it has now came with a refresh.
        outputs.append(
            event(
                "client.registered" if first_id == client.id else "client.refreshed",
                incoming.sender,
                ClientChanged(client=client.id),
                at=now,
                key=f"{client.id}@{request.secret_hash[:8]}",
            )
        )
        body = ClientRegisteredV1(client=client.id, retired=retired.id if retired else None)
        return [*answer(incoming.message, body), *outputs]

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
        incoming: IncomingRequest[DeregisterClientV1],
        now: datetime,
        endings: Endings,
        registry: Registry,
    ) -> list[Outbound]:
        known = registry.client(incoming.request.client)
        try:
            client = proved_client(incoming, known)
        except Refusal as refused:
            # A repeat of what was done already is done again, with the same answer.
            repeat = refused.code is ErrorCode.CLIENT_RETIRED
            if not repeat or known is None or known.retired_reason != Reason.DEREGISTERED:
                raise
            client = known
        outputs = await _retire(
            tx, registry, client, Reason.DEREGISTERED, incoming.sender, now, endings
        )
        gone = ClientChanged(client=client.id)
        return [
            *answer(incoming.message, ClientDeregisteredV1(client=client.id)),
            event("client.deregistered", incoming.sender, gone, at=now, key=f"{client.id}@"),
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
    """End a client, after writing the batch's changes so far."""
    await registry.write(tx)
    outputs = await retire(tx, client, reason, asker, now, endings)
    if not client.retired:
        registry.record_written(replace(client, retired_at=now, retired_reason=reason))
    return outputs


def _in_order(items: Sequence[IncomingRequest[AnyRequest]]) -> list[IncomingRequest[AnyRequest]]:
    """The requests, those first that create clients, so that these are inserted at once, in key
    order.

    Two workers with the same requests then wait for each other one way only. Such requests do not
    depend on those before them.
    """

    def makes(item: IncomingRequest[AnyRequest]) -> bool:
        return isinstance(item.request, RegisterClientV1) and item.request.previous is None

    return sorted(items, key=makes, reverse=True)
