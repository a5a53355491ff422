"""The notification worker: takes ``notification.*``, accepts, plans, and starts first steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

from aoi_events.broker.topology import NOTIFICATION
from aoi_events.contracts.answers import (
    AcceptedDelivery,
    NotificationAcceptedV1,
    RejectedToken,
)
from aoi_events.contracts.events import NotificationAccepted
from aoi_events.contracts.requests import (
    AnyRequest,
    CancelNotificationV1,
    FetchNotificationV1,
    QueryNotificationV1,
    SendNotificationV1,
)
from aoi_events.contracts.states import DeliveryState, Reason
from aoi_events.domain.applications import Application
from aoi_events.domain.channels import Channel
from aoi_events.domain.clients import Client
from aoi_events.domain.delivery import Decision, Delivery, Failed, Planned, decide, resend
from aoi_events.domain.notifications import Notification, RejectedEntry, body_hash
from aoi_events.domain.plans import Step
from aoi_events.domain.tokens import TokenClaims, delivery_id_of, fingerprint_of
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.dispatch import Context, Dispatcher
from aoi_events.services.incoming import Asked, read_request
from aoi_events.services.notification_queries import NotificationQueries
from aoi_events.services.outgoing import answer, event, refusal
from aoi_events.services.settings import ServiceSettings

__all__ = ["NotificationHandler"]


@dataclass(slots=True)
class _Sending:
    """A ``notification.send`` on its way through a batch."""

    asked: Asked[SendNotificationV1]
    hash: str
    tokens: list[tuple[int, str, TokenClaims]] = field(default_factory=list)
    rejected: list[RejectedEntry] = field(default_factory=list)
    notification: Notification | None = None
    decisions: list[Decision] = field(default_factory=list)
    refused: Refusal | None = None
    repeated: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return (self.asked.sender, self.asked.request.notification)


class NotificationHandler:
    """Takes ``aoi.notification``; writes notifications and deliveries; publishes answers, delivery
    batches and ``notification.*`` events.
    """

    queue = NOTIFICATION

    def __init__(self, store: Store, settings: ServiceSettings, clock: Clock, dice: Dice) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._dice = dice
        self._dispatcher = Dispatcher(settings)
        self._queries = NotificationQueries(store, settings, clock, dice)

    def read(self, message: Inbound) -> Asked[AnyRequest]:
        """The request in the message."""
        return read_request(message, self._settings.gateways)

    def abandoned(self, item: Asked[AnyRequest]) -> Sequence[Outbound]:
        """Nothing was accepted, so nothing is owed to anybody but the answer."""
        return ()

    async def handle(self, items: Sequence[Asked[AnyRequest]]) -> Sequence[Outbound]:
        """Everything of one kind that follows each other is handled at once, in order."""
        outputs: list[Outbound] = []
        run: list[_Sending] = []
        for item in items:
            request = item.request
            if isinstance(request, SendNotificationV1):
                asked = cast("Asked[SendNotificationV1]", item)
                run.append(_Sending(asked, body_hash(request)))
                continue
            outputs.extend(await self._send(run))
            run = []
            if isinstance(
                request, CancelNotificationV1 | QueryNotificationV1 | FetchNotificationV1
            ):
                outputs.extend(await self._queries.answer(item))
            else:
                wrong = Refusal(ErrorCode.UNKNOWN_REQUEST, "this worker does not answer that")
                outputs.extend(refusal(item.message, wrong))
        outputs.extend(await self._send(run))
        return outputs

    async def _send(self, run: list[_Sending]) -> list[Outbound]:
        if not run:
            return []
        now = self._clock.now()
        context = Context({}, {}, {}, {})
        async with self._store.transaction() as tx:
            known = dict(await tx.notifications({sending.key for sending in run}))
            fresh: dict[tuple[str, str], _Sending] = {}
            for sending in run:
                if sending.key in known:
                    self._repeat(sending, known[sending.key])
                elif sending.key in fresh:
                    sending.repeated = True
                else:
                    fresh[sending.key] = sending
            if fresh:
                context = await self._accept(tx, list(fresh.values()), now)
            for sending in run:
                # The same ID twice in one batch, or another worker was faster.
                if sending.notification is None and sending.refused is None:
                    rows = await tx.notifications({sending.key})
                    self._repeat(sending, rows[sending.key])
            context = await self._remind(tx, run, context)
        return [output for sending in run for output in self._outputs(sending, context, now)]

    def _repeat(self, sending: _Sending, known: Notification) -> None:
        """The answer of a repeated request comes from the rows, before any token is looked at."""
        sending.repeated = True
        if known.tombstone:
            sending.refused = Refusal(
                ErrorCode.CANCELLED, "this notification was cancelled before it was sent"
            )
        elif known.body_hash != sending.hash:
            sending.refused = Refusal(
                ErrorCode.CONFLICT,
                "you used this notification ID before with another body; use a new ID",
                field="notification",
            )
        else:
            sending.notification = known

    async def _accept(self, tx: Transaction, fresh: list[_Sending], now: datetime) -> Context:
        for sending in fresh:
            self._verify(sending)
        claims = {claim for sending in fresh for _, _, claim in sending.tokens}
        ids = {claim.client for claim in claims}
        clients = await tx.clients(ids, Lock.SHARED)
        channels = await tx.channels(ids)
        applications = await tx.applications({(c.client, c.app_key) for c in claims})
        made: list[Delivery] = []
        for sending in fresh:
            self._route(sending, clients, channels, applications, now)
        stored = [
            decision.delivery.client
            for sending in fresh
            for decision in sending.decisions
            if decision.delivery.state is DeliveryState.STORED
        ]
        if stored:
            await self._bound_backlog(tx, fresh, stored, now)
        inserted = await tx.add_notifications(
            [sending.notification for sending in fresh if sending.notification is not None]
        )
        for sending in fresh:
            if sending.key in inserted:
                made.extend(decision.delivery for decision in sending.decisions)
            else:
                sending.notification, sending.decisions = None, []
        await tx.add_deliveries(made)
        notifications = {
            sending.key: sending.notification
            for sending in fresh
            if sending.notification is not None
        }
        return Context(clients, channels, applications, notifications)

    def _verify(self, sending: _Sending) -> None:
        for index, token in enumerate(sending.asked.request.tokens):
            try:
                sending.tokens.append((index, token, self._settings.token_keys.verify(token)))
            except Refusal as refused:
                sending.rejected.append(_rejected(index, token, refused))

    def _route(
        self,
        sending: _Sending,
        clients: Mapping[str, Client],
        channels: Mapping[str, Sequence[Channel]],
        applications: Mapping[tuple[str, str], Application],
        now: datetime,
    ) -> None:
        request = sending.asked.request
        octets = len(request.content.octets())
        expires_at = now + timedelta(seconds=request.ttl)
        accepted: dict[str, Decision] = {}
        deliveries: list[tuple[int, str]] = []
        for index, token, claims in sending.tokens:
            application = applications.get((claims.client, claims.app_key))
            client = clients.get(claims.client)
            refused = _usable(client, application, claims)
            if refused is not None or application is None:
                sending.rejected.append(_rejected(index, token, refused or _REVOKED))
                continue
            delivery_id = delivery_id_of(sending.asked.sender, request.notification, token)
            deliveries.append((index, delivery_id))
            if delivery_id in accepted:  # the same token twice in one request is one delivery
                continue
            steps = self._dispatcher.steps(client, channels.get(claims.client, ()), octets)
            delivery = Delivery(
                id=delivery_id,
                sender=sending.asked.sender,
                notification=request.notification,
                client=claims.client,
                application=application.application,
                instance=application.instance,
                fingerprint=fingerprint_of(token),
                accepted_at=now,
                expires_at=_expiry(expires_at, request.ttl, steps, now),
                storable=request.ttl > 0,
            )
            accepted[delivery_id] = decide(
                delivery,
                Planned(steps),
                now=now,
                jitter=self._dice.jitter(),
                backoff=self._settings.policies.retry,
            )
        sending.decisions = list(accepted.values())
        sending.rejected.sort(key=lambda entry: entry.index)
        sending.notification = Notification(
            sender=sending.asked.sender,
            id=request.notification,
            body_hash=sending.hash,
            accepted_at=now,
            expires_at=max((d.delivery.expires_at for d in sending.decisions), default=expires_at),
            content=request.content,
            urgency=request.urgency,
            ttl=request.ttl,
            deliveries=tuple(deliveries),
            rejected=tuple(sending.rejected),
        )

    async def _bound_backlog(
        self, tx: Transaction, fresh: list[_Sending], stored: list[str], now: datetime
    ) -> None:
        counts = dict(await tx.count_stored(set(stored)))
        limit = self._settings.policies.backlog
        for sending in fresh:
            for index, decision in enumerate(sending.decisions):
                delivery = decision.delivery
                if delivery.state is not DeliveryState.STORED:
                    continue
                counts[delivery.client] = counts.get(delivery.client, 0) + 1
                if counts[delivery.client] > limit:
                    sending.decisions[index] = decide(
                        delivery, Failed(Reason.BACKLOG_FULL), now=now, jitter=0.0
                    )

    async def _remind(self, tx: Transaction, run: list[_Sending], context: Context) -> Context:
        """A message that was delivered to a worker before may have committed and not published:
        then what its deliveries' present states imply is told again.
        """
        repeated = [
            sending
            for sending in run
            if sending.repeated and sending.refused is None and sending.asked.message.redelivered
        ]
        if not repeated:
            return context
        ids = [
            delivery
            for sending in repeated
            if sending.notification is not None
            for _, delivery in sending.notification.deliveries
        ]
        rows = await tx.deliveries(ids)
        for sending in repeated:
            if sending.notification is None:
                continue
            sending.decisions = [
                Decision(rows[delivery], resend(rows[delivery]), changed=False)
                for delivery in {i: None for _, i in sending.notification.deliveries}
                if delivery in rows
            ]
        old = await self._dispatcher.load(tx, list(rows.values()), {})
        return Context(
            {**old.clients, **context.clients},
            {**old.channels, **context.channels},
            {**old.applications, **context.applications},
            {**old.notifications, **context.notifications},
        )

    def _outputs(self, sending: _Sending, context: Context, now: datetime) -> list[Outbound]:
        message = sending.asked.message
        if sending.refused is not None:
            return refusal(message, sending.refused)
        notification = sending.notification
        if notification is None:
            raise AssertionError("every request of a batch is answered or refused")
        body = NotificationAcceptedV1(
            notification=notification.id,
            expires_at=notification.expires_at,
            deliveries=tuple(
                AcceptedDelivery(index=index, delivery=delivery)
                for index, delivery in notification.deliveries
            ),
            rejected=tuple(
                RejectedToken(
                    index=entry.index,
                    fingerprint=entry.fingerprint,
                    code=entry.code,
                    message=entry.message,
                )
                for entry in notification.rejected
            ),
        )
        outputs = answer(message, body)
        if sending.repeated and not sending.decisions:
            return outputs
        accepted = event(
            "notification.accepted",
            notification.sender,
            NotificationAccepted(
                notification=notification.id,
                accepted=len(notification.deliveries),
                rejected=len(notification.rejected),
                expires_at=notification.expires_at,
            ),
            at=notification.accepted_at,
            key=f"{notification.id}@{notification.sender}",
        )
        return [*outputs, accepted, *self._dispatcher.outputs(sending.decisions, context, now)]


_REVOKED = Refusal(
    ErrorCode.TOKEN_REVOKED, "this token is no longer valid; forget it until the app sends another"
)


def _usable(
    client: Client | None, application: Application | None, claims: TokenClaims
) -> Refusal | None:
    if client is None or client.retired or application is None:
        return _REVOKED
    if not application.registered or application.generation != claims.generation:
        return _REVOKED
    return None


def _rejected(index: int, token: str, refused: Refusal) -> RejectedEntry:
    return RejectedEntry(index, fingerprint_of(token), refused.code, refused.message)


def _expiry(expires_at: datetime, ttl: int, steps: tuple[Step, ...], now: datetime) -> datetime:
    """``ttl=0`` expires after the first step's window: now or never, but it is tried."""
    if ttl > 0:
        return expires_at
    return now + timedelta(seconds=steps[0].ack_within if steps else 0)
