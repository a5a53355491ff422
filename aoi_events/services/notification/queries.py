"""Requests about notifications that are handled one by one: cancel, status, fetch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from aoi_events.contracts.answers import (
    MAX_STORIES,
    NotificationCancelledV1,
    NotificationContentV1,
    NotificationStatusV1,
)
from aoi_events.contracts.requests import (
    MAX_TTL,
    CancelNotificationV1,
    FetchNotificationV1,
    QueryNotificationV1,
)
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.delivery.facts import Cancelled, Decision
from aoi_events.domain.delivery.machine import decide
from aoi_events.domain.notifications import Notification
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import Lock, Store
from aoi_events.services.delivery.dispatch import DispatchContext, Dispatcher
from aoi_events.services.delivery.release import release_next_batches
from aoi_events.services.messages.answers import answer, refusal
from aoi_events.services.messages.authorization import proved_client
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.notification.status import delivery_statuses
from aoi_events.services.runtime.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class QueryHandler:
    """Cancels notifications, reports their states, and returns the content for wake-ups."""

    store: Store
    settings: ServiceSettings
    clock: Clock
    dice: Dice
    metrics: WorkerMetrics

    async def answer(self, incoming: IncomingRequest) -> Sequence[Outbound]:
        """The messages for one request; a refusal is an answer, too."""
        request = incoming.request
        try:
            match request:
                case CancelNotificationV1():
                    return await self._cancel(incoming, request)
                case QueryNotificationV1():
                    return await self._status(incoming, request)
                case FetchNotificationV1():
                    return await self._fetch(incoming, request)
                case _:
                    raise Refusal(ErrorCode.UNKNOWN_REQUEST, "this worker does not answer that")
        except Refusal as refused:
            return refusal(incoming.message, refused)

    async def _cancel(
        self, incoming: IncomingRequest, request: CancelNotificationV1
    ) -> list[Outbound]:
        now = self.clock.now()
        sender, notification = incoming.sender, request.notification
        async with self.store.transaction() as tx:
            # A tombstone, if the notification is not here yet: it may be on its way.
            tombstone = Notification(
                sender=sender,
                id=notification,
                body_hash="",
                accepted_at=now,
                expires_at=now + timedelta(seconds=MAX_TTL),
                tombstone=True,
            )
            await tx.add_notifications([tombstone])
            rows = await tx.deliveries_of(sender, notification)
            ids = [row.id for row in rows]
            await tx.clients({row.client for row in rows}, Lock.SHARED)
            locked = await tx.deliveries(ids, Lock.EXCLUSIVE)
            decisions: list[Decision] = [
                decide(locked[identifier], Cancelled(), now=now, jitter=self.dice.jitter())
                for identifier in ids
            ]
            await tx.save_deliveries([d.delivery for d in decisions if d.changed])
        self.metrics.deliveries((locked[d.delivery.id], d.delivery) for d in decisions)
        released = await release_next_batches(
            self.store, [d.delivery for d in decisions], self.settings, now
        )
        withdrawn = [d for d in decisions if d.delivery.state is DeliveryState.CANCELLED]
        body = NotificationCancelledV1(
            notification=notification,
            cancelled=len(withdrawn),
            settled=len(decisions) - len(withdrawn),
        )
        events = Dispatcher(self.settings).outputs(withdrawn, DispatchContext(), now)
        return [*answer(incoming.message, body), *events, *released]

    async def _status(
        self, incoming: IncomingRequest, request: QueryNotificationV1
    ) -> list[Outbound]:
        sender, notification = incoming.sender, request.notification
        only = request.delivery
        async with self.store.transaction(read_only=True) as tx:
            known = await tx.notifications({(sender, notification)})
            if only is None:
                rows = await tx.deliveries_of(sender, notification)
            else:
                found = (await tx.deliveries({only})).values()
                rows = [r for r in found if (r.sender, r.notification) == (sender, notification)]
            stories = len(rows) <= MAX_STORIES
            statuses = await delivery_statuses(tx, rows, story=stories)
        if not known:
            raise Refusal(
                ErrorCode.NOT_FOUND,
                "the server has no notification of yours with this ID: it was not sent, its tokens "
                "were all rejected, or it was forgotten after it ended",
                field="notification",
            )
        if only is not None and not rows:
            raise Refusal(
                ErrorCode.NOT_FOUND,
                "this notification has no delivery with this ID",
                field="delivery",
            )
        body = NotificationStatusV1(
            notification=notification,
            deliveries=tuple(statuses),
            stories=stories,
        )
        return answer(incoming.message, body)

    async def _fetch(
        self, incoming: IncomingRequest, request: FetchNotificationV1
    ) -> list[Outbound]:
        async with self.store.transaction(read_only=True) as tx:
            clients = await tx.clients({request.client})
            client = proved_client(incoming, request, clients.get(request.client))
            row = (await tx.deliveries({request.delivery})).get(request.delivery)
            if row is None or row.client != client.id:
                raise Refusal(
                    ErrorCode.NOT_FOUND, "this client has no such delivery", field="delivery"
                )
            context = await Dispatcher(self.settings).load(tx, [row], clients)
        application = context.holds_token(row)
        notification = context.notifications.get((row.sender, row.notification))
        gone = row.state.terminal and row.state is not DeliveryState.DELIVERED
        if (
            gone
            or self.clock.now() >= row.expires_at
            or application is None
            or notification is None
            or notification.content is None
        ):
            raise Refusal(ErrorCode.EXPIRED, f"too late: the notification is {row.state}")
        self.settings.token_keys.require(application.key_id)
        body = NotificationContentV1(
            delivery=row.id,
            notification=row.notification,
            token=self.settings.token_keys.issue(application.claims, application.key_id),
            content=notification.content,
            urgency=notification.urgency,
            expires_at=row.expires_at,
        )
        return answer(incoming.message, body)
