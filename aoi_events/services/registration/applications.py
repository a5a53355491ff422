"""Application Clients: tokens are issued and revoked (8.1.3, 8.2.3)."""

from __future__ import annotations

from dataclasses import replace

from aoi_events.contracts.answers import ApplicationDeregisteredV1, ApplicationRegisteredV1
from aoi_events.contracts.requests import DeregisterApplicationV1, RegisterApplicationV1
from aoi_events.contracts.states import Reason
from aoi_events.domain.clients import applications
from aoi_events.domain.clients.applications import Application
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.sender_keys import public_key
from aoi_events.domain.clients.tokens import app_key_of, fingerprint_of
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.services.clients.endings import application_event
from aoi_events.services.messages.answers import answer
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.registration.unit_of_work import Registry
from aoi_events.services.runtime.settings import ServiceSettings


class ApplicationRegistration:
    """Commands about one app instance of a client, whose row the caller has locked exclusively."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._keys = settings.token_keys
        self._at_most = settings.policies.applications_per_client

    def register(
        self, registry: Registry, incoming: IncomingRequest, request: RegisterApplicationV1
    ) -> list[Outbound]:
        """Register the app instance: its token stays the same until it is revoked, or bound to
        another key.
        """
        if request.sender_key is not None:
            public_key(request.sender_key)
        client, known = self._find(registry, incoming, request)
        decision = applications.register(
            known,
            sequence=request.sequence,
            key_id=self._keys.issuing,
            now=registry.now,
            sender_key=request.sender_key,
        )
        row = decision.application
        fresh = decision.applied and not known.registered
        if fresh and registry.registered[client.id] >= self._at_most:
            raise Refusal(
                ErrorCode.QUOTA_EXCEEDED,
                f"a client has at most {self._at_most} app instances at a time; "
                "deregister one of them",
            )
        token = None
        if row.registered:
            self._keys.require(row.key_id)
            token = self._keys.issue(row.claims, row.key_id)
            row = replace(row, fingerprint=fingerprint_of(token))
        if decision.changed:
            registry.save_application(row)
        # An app that registers has started: the device is reachable.
        registry.save(client.returned(registry.now))
        registry.started.add(client.id)
        body = ApplicationRegisteredV1(token=token, sequence=row.sequence, applied=decision.applied)
        outputs = answer(incoming.message, body)
        if decision.applied:
            outputs.append(application_event(row, incoming.sender, registry.now))
            if row.replaced is not None:
                registry.endings.tokens.add((client.id, row.replaced))
                outputs.append(application_event(_replaced(row), incoming.sender, registry.now))
        return outputs

    def deregister(
        self, registry: Registry, incoming: IncomingRequest, request: DeregisterApplicationV1
    ) -> list[Outbound]:
        """Deregister the app instance: its token and its open deliveries end."""
        client, known = self._find(registry, incoming, request)
        decision = applications.deregister(known, sequence=request.sequence)
        row = decision.application
        if decision.changed:
            registry.save_application(row)
        body = ApplicationDeregisteredV1(sequence=row.sequence, applied=decision.applied)
        outputs = answer(incoming.message, body)
        if decision.applied and row.generation:
            registry.endings.tokens.add((client.id, row.fingerprint))
            outputs.append(application_event(row, incoming.sender, registry.now))
        return outputs

    def _find(
        self,
        registry: Registry,
        incoming: IncomingRequest,
        request: RegisterApplicationV1 | DeregisterApplicationV1,
    ) -> tuple[Client, Application]:
        """The client, and its app instance as it is before the command."""
        client = proved_client(incoming, request, registry.client(request.client))
        key = app_key_of(request.application, request.instance)
        known = registry.applications.get(client.id, key)
        return client, known or applications.never_registered(
            client=client.id,
            application=request.application,
            instance=request.instance,
            key_id=self._keys.issuing,
            now=registry.now,
        )


def _replaced(row: Application) -> Application:
    """The row before its present command bound the app instance to another key."""
    return replace(
        row,
        generation=row.generation - 1,
        registered=False,
        fingerprint=row.replaced or "",
        revoked_reason=Reason.DEREGISTERED,
    )
