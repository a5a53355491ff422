"""The deadlines worker: looks again at whatever is due, so that nothing is ever forgotten.

Retries, hedges, acknowledgement time-outs, expiry, store-and-forward, challenges and the renewal of
proofs are all this one mechanism. It has no message that would come again when it dies, so it
commits each change as *unpublished* under a short deadline, and the real deadline after the
confirm; an unpublished row is published again, unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from aoi_events.broker.topology import hints_queue
from aoi_events.contracts.events import ChannelChanged
from aoi_events.contracts.states import Reason
from aoi_events.domain.channels import ChannelState
from aoi_events.domain.delivery import (
    DeadlineReached,
    Decision,
    Delivery,
    Fact,
    Failed,
    Planned,
    deadline_of,
    decide,
    resend,
)
from aoi_events.domain.proofs import ProofDecision, look
from aoi_events.domain.retry import Backoff
from aoi_events.errors import InfrastructureError
from aoi_events.ports.broker import Broker, Outbound
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.channel_set import challenge
from aoi_events.services.dispatch import Context, Dispatcher
from aoi_events.services.outcome import release_after
from aoi_events.services.outgoing import event, hint
from aoi_events.services.runtime import publish_all
from aoi_events.services.settings import ServiceSettings

__all__ = ["DeadlinesWorker"]

log = structlog.get_logger(__name__)

_PAUSE: Final = Backoff(first=0.2, factor=2.0, ceiling=10.0)


class DeadlinesWorker:
    """Takes due rows; writes deliveries, proofs, retention; publishes next steps and events."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        settings: ServiceSettings,
        clock: Clock,
        dice: Dice,
        *,
        batch: int = 200,
    ) -> None:
        self._store = store
        self._broker = broker
        self._settings = settings
        self._clock = clock
        self._dice = dice
        self._batch = batch
        self._dispatcher = Dispatcher(settings)
        self._woken = asyncio.Event()

    async def run(self, stop: asyncio.Event, started: asyncio.Event | None = None) -> None:
        """Look every ``poll`` seconds, or at once when hinted; until ``stop``."""
        hints = asyncio.create_task(self._listen(stop))
        retention = asyncio.create_task(self._retain(stop))
        try:
            if started is not None:
                started.set()
            faults = 0
            while not stop.is_set():
                try:
                    busy = await self.look()
                    faults = 0
                except InfrastructureError as fault:
                    log.warning("paused", worker="deadlines", error=str(fault))
                    await self._wait(_PAUSE.delay(faults, self._dice.jitter()), stop)
                    faults += 1
                    continue
                if not busy:
                    await self._wait(self._settings.policies.poll, stop)
        finally:
            for task in (hints, retention):
                task.cancel()
            await asyncio.gather(hints, retention, return_exceptions=True)

    async def look(self) -> bool:
        """One round over what is due now; True when there may be more."""
        deliveries = await self._look_at_deliveries()
        proofs = await self._look_at_proofs()
        return max(deliveries, proofs) >= self._batch

    # --- deliveries ---------------------------------------------------------------------------

    async def _look_at_deliveries(self) -> int:
        now = self._clock.now()
        hold = now + timedelta(seconds=self._settings.policies.hold)
        async with self._store.transaction() as tx:
            due = await tx.claim_due(now, self._batch, until=hold)
        if not due:
            return 0
        async with self._store.transaction() as tx:
            rows, context = await self._lock(tx, due)
            decisions = [self._decide(row, context, now) for row in rows]
            after = [_held(decision, hold) for decision in decisions]
            await tx.save_deliveries(after)
            released = await release_after(tx, after, self._settings, now)
        outputs = self._dispatcher.outputs(decisions, context, now)
        await publish_all(self._broker, [*outputs, hint()] if released else outputs)
        async with self._store.transaction() as tx:
            await tx.mark_published(
                [(row.id, hold, deadline_of(row)) for row in after if not row.published]
            )
        return len(due)

    async def _lock(self, tx: Transaction, ids: Sequence[str]) -> tuple[list[Delivery], Context]:
        """The rows as they are now, under the locks in their usual order: clients first."""
        seen = await tx.deliveries(ids)
        clients = await tx.clients({row.client for row in seen.values()}, Lock.SHARED)
        rows = list((await tx.deliveries(ids, Lock.EXCLUSIVE)).values())
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

    def _fact(self, row: Delivery, context: Context, now: datetime) -> Fact:
        client = context.clients.get(row.client)
        if client is None or client.retired:
            reason = client.retired_reason if client is not None else None
            return Failed(Reason(reason) if reason else Reason.DEREGISTERED)
        application = context.application_of(row)
        if application is None or not application.registered:
            gone = application.revoked_reason if application is not None else None
            return Failed(Reason(gone) if gone else Reason.DEREGISTERED)
        if row.released and row.resting and now < row.expires_at:
            notification = context.notifications.get((row.sender, row.notification))
            octets = (
                len(notification.content.octets())
                if notification is not None and notification.content is not None
                else 0
            )
            channels = context.channels.get(row.client, ())
            return Planned(self._dispatcher.steps(client, channels, octets))
        return DeadlineReached()

    # --- proofs -------------------------------------------------------------------------------

    async def _look_at_proofs(self) -> int:
        now = self._clock.now()
        policy = self._settings.policies
        until = now + timedelta(seconds=policy.hold)
        async with self._store.transaction() as tx:
            keys = await tx.claim_due_proofs(now, self._batch, until=until)
        if not keys:
            return 0
        async with self._store.transaction() as tx:
            ids = {client for client, _, _ in keys}
            await tx.clients(ids, Lock.EXCLUSIVE)
            due = set(keys)
            decisions = [
                look(proof, now=now, policy=policy.proofs)
                for proofs in (await tx.proofs(ids)).values()
                for proof in proofs
                if (proof.client, proof.channel, proof.address) in due
                and proof.deadline is not None
            ]
            outputs = await self._apply(tx, decisions, now)
        # Should this be lost, the next deadline of the proof sends again.
        await publish_all(self._broker, outputs)
        return len(keys)

    async def _apply(
        self, tx: Transaction, decisions: Sequence[ProofDecision], now: datetime
    ) -> list[Outbound]:
        rows = await tx.channels({decision.proof.client for decision in decisions})
        outputs: list[Outbound] = []
        for decision in decisions:
            proof = decision.proof
            channel = next(
                (
                    row
                    for row in rows.get(proof.client, ())
                    if row.type == proof.channel and row.address == proof.address
                ),
                None,
            )
            if channel is None or channel.state is ChannelState.CLOSED:
                # Nobody waits for it: a proof that holds stays until it lapses by itself.
                quiet = replace(proof, deadline=proof.proved_until if decision.send else None)
                await tx.save_proofs([replace(quiet, sent=0) if decision.send else quiet])
                continue
            await tx.save_proofs([proof])
            if decision.send:
                await tx.note_challenges([(proof, now)])
                outputs += challenge(proof, channel.parameters, self._settings)
            if decision.lost:
                reason = "the device did not prove that it receives there"
                await tx.save_channels(
                    [replace(channel, state=ChannelState.CLOSED, reason=reason, changed_at=now)]
                )
                data = ChannelChanged(client=proof.client, channel=proof.channel, reason=reason)
                key = f"{proof.client}/{proof.channel}@{proof.opened_at.timestamp():.6f}"
                outputs.append(event("channel.closed", "aoi", data, at=now, key=key))
        return outputs

    # --- the rest -----------------------------------------------------------------------------

    async def _listen(self, stop: asyncio.Event) -> None:
        """Hints only save time, so a lost connection costs nothing: polling goes on."""
        while not stop.is_set():
            try:
                queue = hints_queue(self._dice.token_hex(8))
                subscription = await self._broker.subscribe(queue, prefetch=100)
                while messages := await subscription.take(100):
                    self._woken.set()
                    await subscription.ack(messages)
            except InfrastructureError:
                await self._clock.sleep(1.0)

    async def _wait(self, seconds: float, stop: asyncio.Event) -> None:
        self._woken.clear()
        waiting = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._woken.wait()),
            asyncio.ensure_future(stop.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _retain(self, stop: asyncio.Event) -> None:
        policy = self._settings.policies
        while not stop.is_set():
            try:
                now = self._clock.now()
                async with self._store.transaction() as tx:
                    removed = await tx.retain(
                        settled_before=now - timedelta(seconds=policy.keep_settled),
                        unused_before=now - timedelta(seconds=policy.keep_unused),
                        limit=1_000,
                    )
                if removed.deliveries >= 1_000 or removed.notifications >= 1_000:
                    continue
            except InfrastructureError as fault:
                log.warning("retention_paused", error=str(fault))
            await self._clock.sleep(policy.retain_every)


def _held(decision: Decision, hold: datetime) -> Delivery:
    """The row with its effects still to be published; without any, as it is."""
    row = decision.delivery
    if not decision.effects:
        return replace(row, published=True, deadline=deadline_of(row))
    return replace(row, published=False, deadline=hold)
