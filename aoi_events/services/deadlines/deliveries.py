"""Deliveries whose deadline has passed.

No message would be redelivered if this worker died. So it commits each change as *unpublished*
under a short deadline, and the real deadline after the broker's confirm; an unpublished row that
comes due is published again, unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.costs import spent
from aoi_events.domain.delivery.deadlines import deadline_of
from aoi_events.domain.delivery.facts import DeadlineReached, Decision, Fact, Failed, Planned
from aoi_events.domain.delivery.machine import decide, resend
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Demand, demand_of
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Broker
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.delivery.backlog import limit_backlog
from aoi_events.services.delivery.dispatch import Context, Dispatcher
from aoi_events.services.delivery.release import release_if_returned, release_next_batches
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.runtime.pausing import PAUSES
from aoi_events.services.runtime.settings import ServiceSettings

log = get_logger(__name__)

Decide = Callable[[Delivery, Context, datetime], Decision]


class DueDeliveries:
    """Processes due deliveries, ``batch`` of them at once."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        settings: ServiceSettings,
        clock: Clock,
        dice: Dice,
        *,
        batch: int,
        metrics: WorkerMetrics = NO_METRICS,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._broker = broker
        self._settings = settings
        self._clock = clock
        self._dice = dice
        self._batch = batch
        self._dispatcher = Dispatcher(settings)

    async def process_due(self) -> int:
        """Process one batch of due deliveries; returns how many there were.

        One that fails alone ends as *failed: parked*, so that it does not block the others.
        """
        now = self._clock.now()
        hold = now + timedelta(seconds=self._settings.policies.hold)
        async with self._store.transaction() as tx:
            due = await tx.claim_due(now, self._batch, until=hold)
        if not due:
            return 0
        lags = [(now - at).total_seconds() for at in due.values() if at is not None]
        self._metrics.due("delivery", len(due), lags)
        try:
            await self._process(list(due), self._decide, now, hold)
        except PAUSES:
            raise
        except Exception:
            # A bug that one row brings out must not hold up the others.
            log.exception("batch_failed", deliveries=len(due))
            for delivery in due:
                await self._process_alone(delivery, now, hold)
        return len(due)

    async def _process_alone(self, delivery: str, now: datetime, hold: datetime) -> None:
        for way in (self._decide, self._park):
            try:
                await self._process([delivery], way, now, hold)
            except PAUSES:
                raise
            except Exception:
                # Its claim ends soon, and then it is processed again.
                log.exception("delivery_failed", delivery=delivery)
            else:
                return

    async def _process(
        self, ids: Sequence[str], decide_one: Decide, now: datetime, hold: datetime
    ) -> None:
        async with self._store.transaction() as tx:
            rows, context = await self._lock(tx, ids)
            decisions = [
                release_if_returned(decide_one(row, context, now), context.clients, now)
                for row in rows
            ]
            decisions = await limit_backlog(
                tx,
                decisions,
                before={row.id: row for row in rows},
                backlog=self._settings.policies.backlog,
                now=now,
            )
            after = [_unpublished(decision, hold) for decision in decisions]
            await tx.save_deliveries(after)
        self._metrics.deliveries(zip(rows, after, strict=True))
        released = await release_next_batches(self._store, after, self._settings, now)
        outputs = self._dispatcher.outputs(decisions, context, now)
        await publish_all(self._broker, [*outputs, *released])
        self._metrics.published(outputs, self._clock.now())
        async with self._store.transaction() as tx:
            await tx.mark_published(
                [(row.id, hold, deadline_of(row)) for row in after if not row.published]
            )

    async def _lock(self, tx: Transaction, ids: Sequence[str]) -> tuple[list[Delivery], Context]:
        """Lock the rows in the usual order, clients first, and read them as they are now."""
        seen = await tx.deliveries(ids)
        clients = await tx.clients({row.client for row in seen.values()}, Lock.SHARED)
        rows = list((await tx.deliveries(ids, Lock.EXCLUSIVE)).values())
        # Locked by ID, sent as they were accepted: a batch keeps its order.
        rows.sort(key=lambda row: row.order)
        return rows, await self._dispatcher.load(tx, rows, clients)

    def _decide(self, row: Delivery, context: Context, now: datetime) -> Decision:
        if not row.published:
            # A worker died between commit and publish: the same again.
            return Decision(row, resend(row), changed=False)
        return decide(
            row,
            self._fact(row, context, now),
            now=now,
            jitter=self._dice.jitter(),
            backoff=self._settings.policies.retry,
        )

    def _park(self, row: Delivery, context: Context, now: datetime) -> Decision:
        return decide(row, Failed(Reason.PARKED), now=now, jitter=0.0)

    def _fact(self, row: Delivery, context: Context, now: datetime) -> Fact:
        client = context.clients.get(row.client)
        if client is None or client.retired:
            return Failed(_reason(client.retired_reason if client is not None else None))
        if context.holds_token(row) is None:
            application = context.application_of(row)
            return Failed(_reason(application.revoked_reason if application else None))
        if row.released and now < row.expires_at:
            sent = context.notifications.get((row.sender, row.notification))
            demand = Demand(None) if sent is None else demand_of(sent, spent=spent(row))
            channels = context.channels.get(row.client, ())
            steps = self._dispatcher.steps(client, channels, row.application, demand)
            return Planned(steps, returns=client.returns)
        return DeadlineReached()


def _reason(known: str | None) -> Reason:
    """The reason for which the client or the token ended; an app that registered anew has none any
    more.
    """
    try:
        return Reason(known) if known is not None else Reason.DEREGISTERED
    except ValueError:
        return Reason.DEREGISTERED


def _unpublished(decision: Decision, hold: datetime) -> Delivery:
    """The row of a decision, marked as unpublished if it has effects."""
    row = decision.delivery
    if not decision.effects:
        return replace(row, published=True, deadline=deadline_of(row))
    return replace(row, published=False, deadline=hold)
