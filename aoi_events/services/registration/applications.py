"""Application Clients: tokens are issued and revoked (8.1.3, 8.2.3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from aoi_events.contracts.answers import ApplicationDeregisteredV1, ApplicationRegisteredV1
from aoi_events.contracts.events import ApplicationChanged
from aoi_events.contracts.requests import DeregisterApplicationV1, RegisterApplicationV1
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients import applications
from aoi_events.domain.clients.applications import Application
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.sender_keys import public_key
from aoi_events.domain.clients.tokens import app_key_of, fingerprint_of
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Transaction
from aoi_events.services.clients.endings import application_revoked
from aoi_events.services.clients.retirement import Endings
from aoi_events.services.messages.answers import answer
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.events import event
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.registration.unit_of_work import Registry
from aoi_events.services.runtime.settings import ServiceSettings


class ApplicationRegistration:
    """Commands about one app instance of a client, whose row the caller has locked exclusively."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._keys = settings.token_keys
        self._at_most = settings.policies.applications_per_client

    def register(
        self,
        registry: Registry,
        incoming: IncomingRequest[RegisterApplicationV1],
        now: datetime,
        endings: Endings,
    ) -> list[Outbound]:
        """Register the app instance: its token stays the same until it is revoked, or bound to
        another key.
        """
        request = incoming.request
        if request.sender_key is not None:
            public_key(request.sender_key)
        client, known = _find(registry, incoming)
        decision = applications.register(
            known,
            client=client.id,
            application=request.application,
            instance=request.instance,
            sequence=request.sequence,
            key_id=self._keys.issuing,
            now=now,
            sender_key=request.sender_key,
        )
        row = decision.application
        fresh = decision.applied and (known is None or not known.registered)
        if fresh and registry.registered[client.id] >= self._at_most:
            raise Refusal(
                ErrorCode.QUOTA_EXCEEDED,
                f"a client has at most {self._at_most} app instances at a time; "
                "deregister one of them",
            )
        if row.registered:
            self._keys.require(row.key_id)
        token = self._keys.issue(row.claims, row.key_id) if row.registered else None
        if token is not None:
            row = replace(row, fingerprint=fingerprint_of(token))
        if decision.changed:
            _save(registry, known, row)
        # An app that registers has started: the device is reachable.
        registry.save(client.returned(now))
        body = ApplicationRegisteredV1(token=token, sequence=row.sequence, applied=decision.applied)
        outputs = answer(incoming.message, body)
        if decision.applied:
            outputs.append(_registered(row, incoming.sender, now))
            if row.replaced is not None:
                endings.tokens.add((client.id, row.replaced))
                outputs.append(application_revoked(_replaced(row), incoming.sender, now))
        return outputs

    def deregister(
        self,
        registry: Registry,
        incoming: IncomingRequest[DeregisterApplicationV1],
        now: datetime,
        endings: Endings,
    ) -> list[Outbound]:
        """Deregister the app instance: its token and its open deliveries end."""
        client, known = _find(registry, incoming)
        request = incoming.request
        never_registered = applications.never_registered(
            client=client.id,
            application=request.application,
            instance=request.instance,
            key_id=self._keys.issuing,
            now=now,
        )
        decision = applications.deregister(known or never_registered, sequence=request.sequence)
        row = decision.application
        if decision.changed:
            _save(registry, known, row)
        body = ApplicationDeregisteredV1(sequence=row.sequence, applied=decision.applied)
        outputs = answer(incoming.message, body)
        if decision.applied and row.generation:
            endings.tokens.add((client.id, row.fingerprint))
            outputs.append(application_revoked(row, incoming.sender, now))
        return outputs

    async def forget(self, tx: Transaction, registry: Registry, now: datetime) -> None:
        """Delete ended instances beyond the number that a client may have registered."""
        await registry.forget(tx, keep=self._at_most, now=now)


def _find(
    registry: Registry,
    incoming: IncomingRequest[RegisterApplicationV1] | IncomingRequest[DeregisterApplicationV1],
) -> tuple[Client, Application | None]:
    request = incoming.request
    client = proved_client(incoming, registry.client(request.client))
    key = app_key_of(request.application, request.instance)
    return client, registry.applications.get(client.id, key)


def _save(registry: Registry, known: Application | None, row: Application) -> None:
    if known is not None:
        (registry.registered if known.registered else registry.ended)[row.client] -= 1
    (registry.registered if row.registered else registry.ended)[row.client] += 1
    registry.applications.save([row])


def _replaced(row: Application) -> Application:
    """The row before its present command bound the app instance to another key."""
    return replace(
        row,
        generation=row.generation - 1,
        registered=False,
        fingerprint=row.replaced or "",
        revoked_reason=Reason.DEREGISTERED,
    )


def _registered(row: Application, asker: str, now: datetime) -> Outbound:
    data = ApplicationChanged(
        client=row.client,
        application=row.application,
        instance=row.instance,
        fingerprint=row.fingerprint,
    )
    key = f"{row.fingerprint}@{row.generation}"
    return event("application.registered", asker, data, at=now, key=key)
