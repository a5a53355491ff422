"""The registration worker: AOI Clients (8.2.1) and Application Clients (8.2.3)."""

from __future__ import annotations

from collections.abc import Sequence

from aoi_events.contracts.answers import ClientDeregisteredV1, ClientRegisteredV1
from aoi_events.contracts.events import ClientChanged
from aoi_events.contracts.requests import (
    DeregisterApplicationV1,
    DeregisterClientV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients import client as clients
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Lock
from aoi_events.services.messages.answers import answer, refusal
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.messages.events import event
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.registration.applications import ApplicationRegistration
from aoi_events.services.registration.unit_of_work import Registry
from aoi_events.services.runtime.handler import RequestHandler
from aoi_events.topology import REGISTRATION


class RegistrationHandler(RequestHandler):
    """Consumes ``aoi.registration``; writes clients and applications; publishes answers,
    ``client.*`` and ``application.*`` events.
    """

    queue = REGISTRATION

    async def handle(self, items: Sequence[IncomingRequest]) -> Sequence[Outbound]:
        """Handle all requests in one transaction, in order; a refusal undoes nothing.

        Deliveries that must end are locked once, at the end, so in key order; deliveries that the
        start of an app makes due are released in a transaction that locks no other delivery.
        """
        now, policies = self.clock.now(), self.settings.policies
        outputs: list[Outbound] = []
        async with self.store.transaction() as tx:
            registry = await Registry.load(tx, [item.request for item in items], now)
            for item in _in_order(items):
                try:
                    outputs += await self._handle_one(registry, item)
                except Refusal as refused:
                    outputs += refusal(item.message, refused)
            await registry.write()
            await registry.forget(keep=policies.applications_per_client)
            due = await registry.endings.make_due(tx, now)
        if started := registry.started:
            async with self.store.transaction() as tx:
                await tx.clients(started, Lock.EXCLUSIVE)
                due |= bool(await tx.release(started, now=now, limit=policies.release))
        return [*outputs, hint()] if due else outputs

    async def _handle_one(
        self, registry: Registry, incoming: IncomingRequest
    ) -> Sequence[Outbound]:
        request, applications = incoming.request, ApplicationRegistration(self.settings)
        match request:
            case RegisterClientV1():
                return await self._register(registry, incoming, request)
            case DeregisterClientV1():
                return await _deregister(registry, incoming, request)
            case RegisterApplicationV1():
                return applications.register(registry, incoming, request)
            case DeregisterApplicationV1():
                return applications.deregister(registry, incoming, request)
            case _:
                raise Refusal(ErrorCode.UNKNOWN_REQUEST, "this worker does not answer that")

    async def _register(
        self, registry: Registry, incoming: IncomingRequest, request: RegisterClientV1
    ) -> list[Outbound]:
        now, asker = registry.now, incoming.sender
        same = registry.of_secret(request.secret_hash)
        if (wanted := self.settings.identities) is not None and (
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
            outputs += await registry.retire(retired, Reason.REASSIGNED, asker)
            if retired.retired_reason in (None, Reason.REASSIGNED):
                changed = ClientChanged(client=retired.id, replaced_by=client.id)
                key = f"{retired.id}@"
                outputs.append(event("client.reassigned", asker, changed, at=now, key=key))
        if decided.fresh:
            registry.add(client)
        else:
            registry.save(client)
        # A client's first secret made its ID; whichever other one it has now came with a refresh.
        kind = "client.registered" if first_id == client.id else "client.refreshed"
        key = f"{client.id}@{request.secret_hash[:8]}"
        outputs.append(event(kind, asker, ClientChanged(client=client.id), at=now, key=key))
        body = ClientRegisteredV1(client=client.id, retired=retired.id if retired else None)
        return [*answer(incoming.message, body), *outputs]

    def _keep_quota(self, count: int) -> None:
        if count >= self.settings.policies.clients_per_identity:
            raise Refusal(
                ErrorCode.QUOTA_EXCEEDED,
                f"{count} clients registered for this identity within a day; send 'previous' "
                "to refresh one of them, or try again tomorrow",
            )


async def _deregister(
    registry: Registry, incoming: IncomingRequest, request: DeregisterClientV1
) -> list[Outbound]:
    known = registry.client(request.client)
    try:
        client = proved_client(incoming, request, known)
    except Refusal as refused:
        # A repeat of what was done already is done again, with the same answer.
        repeat = refused.code is ErrorCode.CLIENT_RETIRED
        if not repeat or known is None or known.retired_reason != Reason.DEREGISTERED:
            raise
        client = known
    if request.drained and not client.retired and await registry.is_deferred(client):
        raise Refusal(
            ErrorCode.CONFLICT,
            "notifications for this client are not delivered yet; repeat the request later",
        )
    outputs = await registry.retire(client, Reason.DEREGISTERED, incoming.sender)
    gone, key = ClientChanged(client=client.id), f"{client.id}@"
    return [
        *answer(incoming.message, ClientDeregisteredV1(client=client.id)),
        event("client.deregistered", incoming.sender, gone, at=registry.now, key=key),
        *outputs,
    ]


def _in_order(items: Sequence[IncomingRequest]) -> list[IncomingRequest]:
    """The requests, those first that create clients, so that these are inserted at once, in key
    order.

    Two workers with the same requests then wait for each other one way only. Such requests do not
    depend on those before them.
    """

    def makes(item: IncomingRequest) -> bool:
        return isinstance(item.request, RegisterClientV1) and item.request.previous is None

    return sorted(items, key=makes, reverse=True)
