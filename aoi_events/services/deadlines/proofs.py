"""Proofs of addresses whose deadline has passed: the challenge is sent again, or the proof ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aoi_events.contracts.events import NOBODY
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import ChannelState, Proof, ProofState
from aoi_events.domain.clients.proofs import at_deadline, postpone
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Broker, Outbound
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.clients.challenges import Challenges
from aoi_events.services.clients.endings import channel_closed
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.runtime.pausing import PAUSES
from aoi_events.services.runtime.settings import ServiceSettings

log = get_logger(__name__)

Key = tuple[str, str, str]


class DueProofs:
    """Processes due proofs, ``batch`` of them at once.

    A challenge that is lost between commit and publish is sent again at the proof's next deadline.
    """

    def __init__(
        self,
        store: Store,
        broker: Broker,
        settings: ServiceSettings,
        clock: Clock,
        *,
        batch: int,
        metrics: WorkerMetrics = NO_METRICS,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._broker = broker
        self._policies = settings.policies
        self._clock = clock
        self._batch = batch
        self._challenges = Challenges(settings)

    async def process_due(self) -> int:
        """Process one batch of due proofs; returns how many there were."""
        now = self._clock.now()
        until = now + timedelta(seconds=self._policies.hold)
        async with self._store.transaction() as tx:
            keys = await tx.claim_due_proofs(now, self._batch, until=until)
        if not keys:
            return 0
        self._metrics.due("proof", len(keys))
        try:
            await self._process(keys, now, until)
        except PAUSES:
            raise
        except Exception:
            # A bug that one row brings out must not hold up the others.
            log.exception("batch_failed", proofs=len(keys))
            for key in keys:
                await self._process_alone(key, now, until)
        return len(keys)

    async def _process_alone(self, key: Key, now: datetime, until: datetime) -> None:
        try:
            await self._process([key], now, until)
        except PAUSES:
            raise
        except Exception:
            # Its claim ends soon, and then it is processed again.
            log.exception("proof_failed", client=key[0], channel=key[1])

    async def _process(self, keys: Sequence[Key], now: datetime, until: datetime) -> None:
        due = set(keys)
        async with self._store.transaction() as tx:
            clients = {client for client, _, _ in keys}
            await tx.clients(clients, Lock.EXCLUSIVE)
            found = [
                proof
                for proofs in (await tx.proofs(clients)).values()
                for proof in proofs
                # One that was confirmed since the claim has a deadline of its own again.
                if (proof.client, proof.channel, proof.address) in due and proof.deadline == until
            ]
            outputs = await self._apply(tx, found, now)
        await publish_all(self._broker, outputs)

    async def _apply(
        self, tx: Transaction, proofs: Sequence[Proof], now: datetime
    ) -> list[Outbound]:
        rows = await tx.channels({proof.client for proof in proofs})
        policy = self._policies.proofs
        outputs: list[Outbound] = []
        for proof in proofs:
            channel = next(
                (
                    row
                    for row in rows.get(proof.client, ())
                    if row.type == proof.channel
                    and row.address == proof.address
                    and row.state is not ChannelState.CLOSED
                ),
                None,
            )
            decision, reason = at_deadline(proof, now=now, policy=policy), CloseReason.NOT_PROVED
            if channel is None:
                await tx.save_proofs([_unused(decision.proof)])
                continue
            if decision.send and not await self._challenges.counted(tx, decision.proof, now):
                decision = postpone(proof, now=now, policy=policy)
                reason = CloseReason.TOO_MANY_CHALLENGES
            await tx.save_proofs([decision.proof])
            if decision.send:
                outputs += self._challenges.message(decision.proof, channel.parameters)
            if decision.lost:
                closed = channel.closed(reason, now)
                await tx.save_channels([closed])
                outputs.append(channel_closed(closed, NOBODY, now))
        return outputs


def _unused(proof: Proof) -> Proof:
    """The proof when no channel waits for it: a valid one stays until it expires, an open one ends,
    so that the next offer of the address starts a new round.
    """
    if proof.state is ProofState.PROVED:
        return replace(proof, sent=0, deadline=proof.proved_until)
    return replace(proof, state=ProofState.FAILED, deadline=None)
