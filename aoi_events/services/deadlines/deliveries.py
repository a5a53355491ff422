"""Deliveries whose deadline has passed.

No message would be redelivered if this worker died. So it commits each change as *unpublished*
under a short deadline, and the real deadline after the broker's confirm; an unpublished row that
comes due is published again, unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.costs import spent
from aoi_events.domain.delivery.deadlines import deadline_of
from aoi_events.domain.delivery.facts import DeadlineReached, Decision, Fact, Failed, Planned
from aoi_events.domain.delivery.machine import decide, resend
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Demand, demand_of
from aoi_events.platform.logs import get_logger
from aoi_events.ports.clock import Dice
from aoi_events.ports.store import Lock, Transaction
from aoi_events.services.deadlines.due import DueRows
from aoi_events.services.delivery.backlog import limit_backlog
from aoi_events.services.delivery.dispatch import DispatchContext, Dispatcher
from aoi_events.services.delivery.release import release_if_returned, release_next_batches
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.messages.slow_confirms import later_starts
from aoi_events.services.runtime.pausing import PAUSES

log = get_logger(__name__)

Decide = Callable[[Delivery, DispatchContext, datetime], Decision]


@dataclass(frozen=True)
class DueDeliveries(DueRows[str]):
    """Processes due deliveries. One that fails alone ends as *failed: parked*."""

    kind = "delivery"
    dice: Dice

    async def _claim(
        self, tx: Transaction, now: datetime, until: datetime
    ) -> Mapping[str, datetime | None]:
        return await tx.claim_due(now, self.batch, until=until)

    async def _process(self, keys: Sequence[str], now: datetime, until: datetime) -> None:
        await self._process_with(self._decide, keys, now, until)

    async def _process_alone(self, key: str, now: datetime, until: datetime) -> None:
        for way in (self._decide, self._park):
            try:
                await self._process_with(way, [key], now, until)
            except PAUSES:
                raise
            except Exception:
                # Its claim ends soon, and then it is processed again.
                log.exception("delivery_failed", delivery=key)
            else:
                return

    async def _process_with(
        self, decide_one: Decide, ids: Sequence[str], now: datetime, until: datetime
    ) -> None:
        dispatcher = Dispatcher(self.settings)
        async with self.store.transaction() as tx:
            rows, context = await self._lock(tx, ids)
            decisions = [
                release_if_returned(decide_one(row, context, now), context.clients, now)
                for row in rows
            ]
            decisions = await limit_backlog(
                tx,
                decisions,
                before={row.id: row for row in rows},
                backlog=self.settings.policies.backlog,
                now=now,
            )
            after = [_unpublished(decision, until) for decision in decisions]
            await tx.save_deliveries(after)
        self.metrics.deliveries(zip(rows, after, strict=True))
        released = await release_next_batches(self.store, after, self.settings, now)
        decisions = [
            replace(decision, delivery=replace(row, published=True, deadline=deadline_of(row)))
            for decision, row in zip(decisions, after, strict=True)
        ]
        outputs = [*dispatcher.outputs(decisions, context, now), *released]
        results = await publish_all(self.broker, outputs)
        self.metrics.published(outputs, self.clock.now())
        async with self.store.transaction() as tx:
            await tx.mark_published(
                [(row.id, until, deadline_of(row)) for row in after if not row.published]
            )
            await tx.postpone(later_starts(outputs, results, self.clock.now()))

    async def _lock(
        self, tx: Transaction, ids: Sequence[str]
    ) -> tuple[list[Delivery], DispatchContext]:
        """Lock the rows in the usual order, clients first, and read them as they are now."""
        seen = await tx.deliveries(ids)
        clients = await tx.clients({row.client for row in seen.values()}, Lock.SHARED)
        rows = list((await tx.deliveries(ids, Lock.EXCLUSIVE)).values())
        # Locked by ID, sent as they were accepted: a batch keeps its order.
        rows.sort(key=lambda row: row.order)
        return rows, await Dispatcher(self.settings).load(tx, rows, clients)

    def _decide(self, row: Delivery, context: DispatchContext, now: datetime) -> Decision:
        if not row.published:
            # A worker died between commit and publish: the same again.
            return Decision(row, resend(row), changed=False)
        return decide(
            row,
            self._fact(row, context, now),
            now=now,
            jitter=self.dice.jitter(),
            backoff=self.settings.policies.retry,
        )

    def _park(self, row: Delivery, context: DispatchContext, now: datetime) -> Decision:
        return decide(row, Failed(Reason.PARKED), now=now, jitter=0.0)

    def _fact(self, row: Delivery, context: DispatchContext, now: datetime) -> Fact:
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
            steps = Dispatcher(self.settings).steps(client, channels, row.application, demand)
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


def _unpublished(decision: Decision, until: datetime) -> Delivery:
    """The row of a decision, marked as unpublished if it has effects."""
    row = decision.delivery
    if not decision.effects:
        return replace(row, published=True, deadline=deadline_of(row))
    return replace(row, published=False, deadline=until)
