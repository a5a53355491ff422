"""The registration worker: AOI Clients (8.2.1) and Application Clients (8.2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import cast

from aoi_events.broker.topology import REGISTRATION
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
from aoi_events.domain import clients
from aoi_events.errors import ErrorCode, Overtaken, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.application_registration import ApplicationRegistration
from aoi_events.services.authority import proved_client
from aoi_events.services.handler import Handler
from aoi_events.services.incoming import Asked, about_request, read_request
from aoi_events.services.outgoing import answer, event, hint, refusal
from aoi_events.services.retiring import Endings, retire
from aoi_events.services.settings import ServiceSettings

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
            held = await _lock(tx, items)
            for item in _in_order(items):
                try:
                    outputs += await self._one(tx, item, now, endings, started, held)
                except Refusal as refused:
                    outputs += refusal(item.message, refused)
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
        held: set[str],
    ) -> Sequence[Outbound]:
        request = item.request
        match request:
            case RegisterClientV1():
                fresh = cast("Asked[RegisterClientV1]", item)
                return await self._register(tx, fresh, now, endings, held)
            case DeregisterClientV1():
                asked = cast("Asked[DeregisterClientV1]", item)
                return await self._deregister(tx, asked, now, endings)
            case RegisterApplicationV1():
                registering = cast("Asked[RegisterApplicationV1]", item)
                outputs = await self._applications.register(tx, registering, now, endings)
                started.add(request.client)
                return outputs
            case DeregisterApplicationV1():
                gone = cast("Asked[DeregisterApplicationV1]", item)
                return await self._applications.deregister(tx, gone, now, endings)
            case _:
                raise Refusal(ErrorCode.UNKNOWN_REQUEST, "this worker does not answer that")

    async def _register(
        self,
        tx: Transaction,
        asked: Asked[RegisterClientV1],
        now: datetime,
        endings: Endings,
        held: set[str],
    ) -> list[Outbound]:
        request = asked.request
        same = (await tx.clients_by_secret({request.secret_hash})).get(request.secret_hash)
        if (wanted := self._settings.identities) is not None and (
            same is None or same.identity != request.identity
        ):
            # What was registered before was proved then; its repeat may come late.
            wanted.check(request.assertion, request.identity, now)
        previous = None
        if request.previous is not None:
            previous = (await tx.clients({request.previous.client})).get(request.previous.client)
        first_id = clients.client_id_of(request.secret_hash)
        decided = clients.register(
            request,
            same_secret=same,
            same_id=(await tx.clients({first_id})).get(first_id),
            previous=previous,
            now=now,
        )
        client, retired = decided.client, decided.retired
        if decided.fresh:
            await self._keep_quota(tx, request.identity, now)
        outputs: list[Outbound] = []
        if retired is not None:
            outputs += await retire(tx, retired, Reason.REASSIGNED, asked.sender, now, endings)
            if retired.retired_reason in (None, Reason.REASSIGNED):
                changed = ClientChanged(client=retired.id, replaced_by=client.id)
                outputs.append(
                    event("client.reassigned", asked.sender, changed, at=now, key=f"{retired.id}@")
                )
        if decided.fresh:
            if not await tx.add_clients([client]):
                raise Overtaken("the same registration was made by another worker just now")
            held.add(client.id)
        elif client.id in held:
            await tx.save_clients([client])
        else:
            # It came in since the locks were taken, and its row may be changing.
            raise Overtaken("the same client was registered by another worker just now")
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

    async def _keep_quota(self, tx: Transaction, identity: str, now: datetime) -> None:
        count = await tx.count_clients(identity=identity, since=now - timedelta(days=1))
        if count >= self._settings.policies.clients_per_identity:
            raise Refusal(
                ErrorCode.QUOTA_EXCEEDED,
                f"{count} clients registered for this identity within a day; send 'previous' "
                "to refresh one of them, or try again tomorrow",
            )

    async def _deregister(
        self, tx: Transaction, asked: Asked[DeregisterClientV1], now: datetime, endings: Endings
    ) -> list[Outbound]:
        known = (await tx.clients({asked.request.client})).get(asked.request.client)
        try:
            client = proved_client(asked, known)
        except Refusal as refused:
            # A repeat of what was done already is done again, with the same answer.
            repeat = refused.code is ErrorCode.CLIENT_RETIRED
            if not repeat or known is None or known.retired_reason != Reason.DEREGISTERED:
                raise
            client = known
        outputs = await retire(tx, client, Reason.DEREGISTERED, asked.sender, now, endings)
        gone = ClientChanged(client=client.id)
        return [
            *answer(asked.message, ClientDeregisteredV1(client=client.id)),
            event("client.deregistered", asked.sender, gone, at=now, key=f"{client.id}@"),
            *outputs,
        ]


def _in_order(items: Sequence[Asked[AnyRequest]]) -> list[Asked[AnyRequest]]:
    """First those that make new clients, by the IDs that they get: two workers that have the same
    ones insert in one order. They follow from nothing that stands before them.
    """
    making: list[tuple[str, Asked[AnyRequest]]] = []
    others: list[Asked[AnyRequest]] = []
    for item in items:
        request = item.request
        if isinstance(request, RegisterClientV1) and request.previous is None:
            making.append((clients.client_id_of(request.secret_hash), item))
        else:
            others.append(item)
    making.sort(key=itemgetter(0))
    return [*(item for _, item in making), *others]


async def _lock(tx: Transaction, items: Sequence[Asked[AnyRequest]]) -> set[str]:
    """Hold every client that a batch may change, locked at once in key order; who they are."""
    ids: set[str] = set()
    hashes: set[str] = set()
    for item in items:
        request = item.request
        if isinstance(request, RegisterClientV1):
            hashes.add(request.secret_hash)
            if request.previous is not None:
                ids.add(request.previous.client)
        elif isinstance(
            request, DeregisterClientV1 | RegisterApplicationV1 | DeregisterApplicationV1
        ):
            ids.add(request.client)
    # After a refresh a client has another secret than the one that its ID was made from.
    ids |= {client.id for client in (await tx.clients_by_secret(hashes)).values()}
    return set(await tx.clients(ids, Lock.EXCLUSIVE))
