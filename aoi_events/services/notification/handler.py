"""The notification worker: takes ``notification.*``, accepts, plans, and starts first steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from aoi_events.contracts.answers import (
    AcceptedDelivery,
    NotificationAcceptedV1,
    RejectedToken,
)
from aoi_events.contracts.events import NotificationAccepted
from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.contracts.states import DeliveryState
from aoi_events.domain.delivery.facts import Decision
from aoi_events.domain.delivery.machine import resend
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.notifications import Notification, body_hash
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Outbound
from aoi_events.ports.clock import Dice
from aoi_events.ports.metrics import Change, WorkerMetrics
from aoi_events.ports.store import Transaction
from aoi_events.services.delivery.dispatch import DispatchContext, Dispatcher
from aoi_events.services.delivery.release import release_idle
from aoi_events.services.messages.answers import answer, refusal
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.messages.events import event
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.notification.acceptance import Acceptance, Sending
from aoi_events.services.notification.queries import QueryHandler
from aoi_events.services.runtime.handler import RequestHandler
from aoi_events.topology import NOTIFICATION


@dataclass(frozen=True)
class NotificationHandler(RequestHandler):
    """Consumes ``aoi.notification``; writes notifications and deliveries; publishes answers,
    delivery batches and ``notification.*`` events.
    """

    queue = NOTIFICATION

    dice: Dice
    metrics: WorkerMetrics = NO_METRICS

    async def handle(self, items: Sequence[IncomingRequest]) -> Sequence[Outbound]:
        """Handle consecutive requests of one kind at once, in order."""
        queries = QueryHandler(self.store, self.settings, self.clock, self.dice, self.metrics)
        outputs: list[Outbound] = []
        run: list[Sending] = []
        for item in items:
            if isinstance(item.request, SendNotificationV1):
                run.append(Sending(item, item.request, body_hash(item.request)))
                continue
            outputs += await self._send(run)
            run = []
            outputs += await queries.answer(item)
        outputs += await self._send(run)
        return outputs

    async def _send(self, run: Sequence[Sending]) -> list[Outbound]:
        if not run:
            return []
        now = self.clock.now()
        context = DispatchContext()
        replaced = False
        left = run
        # Again for an ID that stands twice in the batch, or that another worker accepted first.
        while left:
            async with self.store.transaction() as tx:
                found, changed = await self._accept_or_repeat(tx, left, now)
            self.metrics.deliveries(changed)
            context = context.merged_with(found)
            replaced |= any(after.state is DeliveryState.REPLACED for _, after in changed)
            left = [sending for sending in left if not sending.ended]
        outputs = [output for sending in run for output in self._outputs(sending, context, now)]
        if replaced:
            outputs.append(hint())
        return [
            *outputs,
            *await release_idle(self.store, _deliveries_of_repeats(run), self.settings, now),
        ]

    async def _accept_or_repeat(
        self, tx: Transaction, run: Sequence[Sending], now: datetime
    ) -> tuple[DispatchContext, Sequence[Change]]:
        """Answer the requests whose ID is stored from its row, and accept the first of each other
        ID. Also returns how deliveries change.
        """
        known = await tx.notifications({sending.key for sending in run})
        context = DispatchContext()
        changes: Sequence[Change] = ()
        fresh: dict[tuple[str, str], Sending] = {}
        for sending in run:
            if sending.key in known:
                _repeat(sending, known[sending.key])
            else:
                fresh.setdefault(sending.key, sending)
        if fresh:
            acceptance = Acceptance(self.settings, self.dice)
            context, changes = await acceptance.accept(tx, list(fresh.values()), now)
        return await self._republish_after_crash(tx, run, context), changes

    async def _republish_after_crash(
        self, tx: Transaction, run: Sequence[Sending], context: DispatchContext
    ) -> DispatchContext:
        """On redelivery the earlier run may have committed without publishing: publish again what
        the current states imply.
        """
        repeated = {
            sending.key: sending
            for sending in run
            if sending.repeated and sending.refused is None and sending.incoming.message.redelivered
        }
        ids = {
            sending.key: dict.fromkeys(id_ for _, id_ in sending.notification.deliveries)
            for sending in repeated.values()
            if sending.notification is not None
        }
        rows = await tx.deliveries({id_ for every in ids.values() for id_ in every})
        for key, every in ids.items():
            repeated[key].decisions = [
                Decision(rows[id_], resend(rows[id_]), changed=False)
                for id_ in every
                if id_ in rows
            ]
        if not rows:
            return context
        return (await Dispatcher(self.settings).load(tx, list(rows.values()), {})).merged_with(
            context
        )

    def _outputs(self, sending: Sending, context: DispatchContext, now: datetime) -> list[Outbound]:
        message, notification = sending.incoming.message, sending.notification
        if sending.refused is not None:
            return refusal(message, sending.refused)
        if notification is None:
            raise AssertionError("every request of a batch is answered or refused")
        outputs = answer(message, _accepted(notification))
        if not notification.deliveries or (sending.repeated and not message.redelivered):
            return outputs
        event_of_it = event(
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
        return [
            *outputs,
            event_of_it,
            *Dispatcher(self.settings).outputs(sending.decisions, context, now),
        ]


def _deliveries_of_repeats(run: Sequence[Sending]) -> list[Delivery]:
    """The deliveries of repeated requests, as they are in the store."""
    return [
        decision.delivery for sending in run if sending.repeated for decision in sending.decisions
    ]


def _repeat(sending: Sending, known: Notification) -> None:
    """Answer a repeated request from the rows, before any token is checked."""
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


def _accepted(notification: Notification) -> NotificationAcceptedV1:
    return NotificationAcceptedV1(
        notification=notification.id,
        expires_at=notification.expires_at if notification.deliveries else None,
        deliveries=tuple(
            AcceptedDelivery(index=index, delivery=delivery)
            for index, delivery in notification.deliveries
        ),
        rejected=tuple(RejectedToken(**asdict(entry)) for entry in notification.rejected),
    )
