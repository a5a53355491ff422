"""The registration worker: AOI Clients (8.2.1) and Application Clients (8.2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from aoi_events.broker.topology import REGISTRATION, gateway_queue
from aoi_events.contracts.answers import (
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    ClientDeregisteredV1,
    ClientRegisteredV1,
)
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import CloseItem
from aoi_events.contracts.events import ApplicationChanged, ClientChanged
from aoi_events.contracts.requests import (
    AnyRequest,
    DeregisterApplicationV1,
    DeregisterClientV1,
    RegisterApplicationV1,
    RegisterClientV1,
)
from aoi_events.contracts.states import Reason
from aoi_events.domain import applications, clients
from aoi_events.domain.applications import Application
from aoi_events.domain.clients import Client
from aoi_events.domain.tokens import app_key_of, fingerprint_of
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.authority import proved_client
from aoi_events.services.incoming import Asked, read_request
from aoi_events.services.outgoing import answer, batches, event, hint, refusal
from aoi_events.services.settings import ServiceSettings

__all__ = ["RegistrationHandler"]


class RegistrationHandler:
    """Takes ``aoi.registration``; writes clients and applications; publishes answers, ``client.*``
    and ``application.*`` events.
    """

    queue = REGISTRATION

    def __init__(self, store: Store, settings: ServiceSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    def read(self, message: Inbound) -> Asked[AnyRequest]:
        """The request in the message."""
        return read_request(message, self._settings.gateways)

    def abandoned(self, item: Asked[AnyRequest]) -> Sequence[Outbound]:
        """Nothing was assigned, so nothing is owed to anybody but the answer."""
        return ()

    async def handle(self, items: Sequence[Asked[AnyRequest]]) -> Sequence[Outbound]:
        """All requests in one transaction, in order; a refusal is an answer and undoes nothing."""
        now = self._clock.now()
        outputs: list[Outbound] = []
        async with self._store.transaction() as tx:
            await tx.clients(_clients_of(items), Lock.EXCLUSIVE)
            for item in items:
                try:
                    outputs.extend(await self._one(tx, item, now))
                except Refusal as refused:
                    outputs.extend(refusal(item.message, refused))
        return outputs

    async def _one(
        self, tx: Transaction, item: Asked[AnyRequest], now: datetime
    ) -> Sequence[Outbound]:
        match item.request:
            case RegisterClientV1():
                return await self._register(tx, cast("Asked[RegisterClientV1]", item), now)
            case DeregisterClientV1():
                return await self._deregister(tx, cast("Asked[DeregisterClientV1]", item), now)
            case RegisterApplicationV1():
                asked = cast("Asked[RegisterApplicationV1]", item)
                return await self._register_application(tx, asked, now)
            case DeregisterApplicationV1():
                gone = cast("Asked[DeregisterApplicationV1]", item)
                return await self._deregister_application(tx, gone, now)
            case _:
                raise Refusal(ErrorCode.UNKNOWN_REQUEST, "this worker does not answer that")

    # --- AOI Clients ------------------------------------------------------------------------

    async def _register(
        self, tx: Transaction, asked: Asked[RegisterClientV1], now: datetime
    ) -> list[Outbound]:
        request = asked.request
        same = (await tx.clients_by_secret({request.secret_hash})).get(request.secret_hash)
        previous = None
        if request.previous is not None:
            previous = (await tx.clients({request.previous.client})).get(request.previous.client)
        own_id = clients.client_id_of(request.secret_hash)
        decided = clients.register(
            request,
            same_secret=same,
            same_id=(await tx.clients({own_id})).get(own_id),
            previous=previous,
            now=now,
        )
        if decided.fresh:
            since = now - timedelta(days=1)
            count = await tx.count_clients(identity=request.identity, since=since)
            if count >= self._settings.policies.clients_per_identity:
                raise Refusal(
                    ErrorCode.QUOTA_EXCEEDED,
                    f"{count} clients registered for this identity within a day; send 'previous' "
                    "to refresh one of them, or try again tomorrow",
                )
        outputs: list[Outbound] = []
        retired = decided.retired
        if retired is not None:
            outputs += await self._retire(
                tx, retired, Reason.REASSIGNED, now, replaced_by=decided.client.id
            )
            changed = ClientChanged(client=retired.id, replaced_by=decided.client.id)
            outputs.append(
                event("client.reassigned", asked.sender, changed, at=now, key=f"{retired.id}@")
            )
        await tx.save_clients([decided.client])
        kind = "client.registered" if decided.fresh or same is not None else "client.refreshed"
        outputs.append(
            event(
                kind,
                asked.sender,
                ClientChanged(client=decided.client.id),
                at=now,
                key=f"{decided.client.id}@{request.secret_hash[:8]}",
            )
        )
        body = ClientRegisteredV1(
            client=decided.client.id, retired=retired.id if retired is not None else None
        )
        return [*answer(asked.message, body), *outputs]

    async def _deregister(
        self, tx: Transaction, asked: Asked[DeregisterClientV1], now: datetime
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
        outputs = await self._retire(tx, client, Reason.DEREGISTERED, now)
        gone = ClientChanged(client=client.id)
        return [
            *answer(asked.message, ClientDeregisteredV1(client=client.id)),
            event("client.deregistered", asked.sender, gone, at=now, key=f"{client.id}@"),
            *outputs,
        ]

    async def _retire(
        self,
        tx: Transaction,
        client: Client,
        reason: Reason,
        now: datetime,
        *,
        replaced_by: str | None = None,
    ) -> list[Outbound]:
        """End a client: session closed, tokens and channels revoked, open deliveries made due (the
        deadlines worker settles them as failed, with this reason).
        """
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
        outputs += [
            _application_event("application.revoked", "aoi", app, now, reason)
            for app in apps
            if app.registered or app.revoked_reason == reason
        ]
        if not client.retired:
            await tx.save_clients(
                [replace(client, retired_at=now, retired_reason=reason, presence=None)]
            )
            await tx.save_applications(
                [applications.revoke(app, reason) for app in apps if app.registered]
            )
            channels = (await tx.channels({client.id})).get(client.id, ())
            await tx.drop_channels({(channel.client, channel.type) for channel in channels})
            open_deliveries = await tx.open_deliveries_of({client.id})
            await tx.save_deliveries([replace(row, deadline=now) for row in open_deliveries])
        return [*outputs, hint()]

    # --- Application Clients ------------------------------------------------------------------

    async def _register_application(
        self, tx: Transaction, asked: Asked[RegisterApplicationV1], now: datetime
    ) -> list[Outbound]:
        request = asked.request
        client = proved_client(asked, (await tx.clients({request.client})).get(request.client))
        key = (client.id, app_key_of(request.application, request.instance))
        known = (await tx.applications({key})).get(key)
        decision = applications.register(
            known,
            client=client.id,
            application=request.application,
            instance=request.instance,
            sequence=request.sequence,
            key_id=self._settings.token_keys.issuing,
            now=now,
        )
        row = decision.application
        token = self._settings.token_keys.issue(row.claims, row.key_id) if row.registered else None
        if token is not None:
            row = replace(row, fingerprint=fingerprint_of(token))
        if decision.changed:
            await tx.save_applications([row])
        body = ApplicationRegisteredV1(token=token, sequence=row.sequence, applied=decision.applied)
        outputs = answer(asked.message, body)
        if decision.applied:
            outputs.append(
                _application_event("application.registered", asked.sender, row, now, None)
            )
            # Apps register when they start: whatever waits for this device is due now.
            released = await tx.release({client.id}, now=now, limit=self._settings.policies.release)
            outputs += [hint()] if released else []
        return outputs

    async def _deregister_application(
        self, tx: Transaction, asked: Asked[DeregisterApplicationV1], now: datetime
    ) -> list[Outbound]:
        request = asked.request
        client = proved_client(asked, (await tx.clients({request.client})).get(request.client))
        key = (client.id, app_key_of(request.application, request.instance))
        known = (await tx.applications({key})).get(key)
        if known is None:
            raise Refusal(
                ErrorCode.NOT_FOUND,
                "this app instance was never registered on this client",
                field="application",
            )
        decision = applications.deregister(known, sequence=request.sequence)
        if decision.changed:
            await tx.save_applications([decision.application])
        body = ApplicationDeregisteredV1(
            sequence=decision.application.sequence, applied=decision.applied
        )
        outputs = answer(asked.message, body)
        if decision.applied:
            outputs.append(
                _application_event(
                    "application.revoked",
                    asked.sender,
                    decision.application,
                    now,
                    Reason.DEREGISTERED,
                )
            )
            # Deliveries for the dead token end as failed when the deadlines worker looks.
            mine = [
                row
                for row in await tx.open_deliveries_of({client.id})
                if row.fingerprint == known.fingerprint
            ]
            await tx.save_deliveries([replace(row, deadline=now) for row in mine])
            outputs += [hint()] if mine else []
        return outputs


def _clients_of(items: Sequence[Asked[AnyRequest]]) -> set[str]:
    """Every client that a batch may change, to be locked at once in key order."""
    ids: set[str] = set()
    for item in items:
        request = item.request
        if isinstance(request, RegisterClientV1):
            ids.add(clients.client_id_of(request.secret_hash))
            if request.previous is not None:
                ids.add(request.previous.client)
        elif isinstance(
            request, DeregisterClientV1 | RegisterApplicationV1 | DeregisterApplicationV1
        ):
            ids.add(request.client)
    return ids


def _application_event(
    kind: str, sender: str, app: Application, now: datetime, reason: str | None
) -> Outbound:
    data = ApplicationChanged(
        client=app.client,
        application=app.application,
        instance=app.instance,
        fingerprint=app.fingerprint,
        reason=reason,
    )
    return event(kind, sender, data, at=now, key=f"{app.fingerprint}@{app.generation}")
