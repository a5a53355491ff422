"""The outcome worker: merges outcomes into deliveries, settles them, and starts next steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aoi_events.contracts.envelopes import (
    ChallengeOutcome,
    OutcomeBatchV1,
    OutcomeItem,
    OutcomeKind,
)
from aoi_events.domain.clients.client import Client
from aoi_events.domain.delivery.facts import Decision, Reported, StartStep
from aoi_events.domain.delivery.machine import decide
from aoi_events.domain.delivery.state import Delivery
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import Lock, Store, Transaction
from aoi_events.services.clients.endings import apply_endings
from aoi_events.services.delivery.backlog import limit_backlog
from aoi_events.services.delivery.dispatch import Dispatcher
from aoi_events.services.delivery.release import release_if_returned, release_next_batches
from aoi_events.services.messages.envelopes import read_envelope
from aoi_events.services.outcome.refused_challenges import note_refused_challenges
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.settings import ServiceSettings
from aoi_events.topology import OUTCOME

log = get_logger(__name__)


@dataclass(frozen=True)
class OutcomeHandler(Handler[OutcomeBatchV1]):
    """Consumes ``aoi.outcome``; writes deliveries (merged), ended channels, tokens and presences,
    and proofs whose challenge was refused; publishes next steps and ``notification.*`` events.
    """

    queue = OUTCOME

    store: Store
    settings: ServiceSettings
    clock: Clock
    dice: Dice
    metrics: WorkerMetrics = NO_METRICS

    def read(self, message: Inbound) -> OutcomeBatchV1:
        """The envelope in the message. Raises Refusal (malformed)."""
        return read_envelope(OutcomeBatchV1, message)

    async def handle(self, items: Sequence[OutcomeBatchV1]) -> Sequence[Outbound]:
        """Merge all outcomes at once. The deadlines of deliveries replace outcomes that
        are parked.
        """
        now, dispatcher = self.clock.now(), Dispatcher(self.settings)
        outcomes = [outcome for batch in items for outcome in batch.items]
        challenges = [challenge for batch in items for challenge in batch.challenges]
        self.metrics.outcomes((outcome.kind, outcome.channel) for outcome in outcomes)
        async with self.store.transaction() as tx:
            clients = await self._lock_clients(tx, outcomes, challenges)
            rows = dict(await tx.deliveries({o.delivery for o in outcomes}, Lock.EXCLUSIVE))
            before = dict(rows)
            decisions: list[Decision] = []
            for outcome in outcomes:
                client = clients.get(outcome.client)
                decision = self._decide(rows.get(outcome.delivery), outcome, client)
                if decision is not None:
                    decision = release_if_returned(decision, clients, now)
                    rows[outcome.delivery] = decision.delivery
                    decisions.append(decision)
            decisions = await limit_backlog(
                tx,
                decisions,
                before=before,
                backlog=self.settings.policies.backlog,
                now=now,
            )
            rows |= {decision.delivery.id: decision.delivery for decision in decisions}
            await tx.save_deliveries([row for id_, row in rows.items() if row != before[id_]])
            present = dict(clients)
            ended = await apply_endings(tx, decisions, clients, now)
            ended += await note_refused_challenges(tx, challenges, self.settings, now, self.dice)
            decisions = [_still_wanted(decision, rows) for decision in decisions]
            context = await dispatcher.load(
                tx, [d.delivery for d in decisions if _starts(d)], clients
            )
        self._report_removed(outcomes, present, clients)
        self.metrics.deliveries((row, rows[id_]) for id_, row in before.items())
        released = await release_next_batches(self.store, rows.values(), self.settings, now)
        return [*dispatcher.outputs(decisions, context, now), *ended, *released]

    async def _lock_clients(
        self,
        tx: Transaction,
        outcomes: Sequence[OutcomeItem],
        challenges: Sequence[ChallengeOutcome],
    ) -> dict[str, Client]:
        """Lock the clients whose deliveries may become stored, or who may change themselves.

        An acknowledgement does neither, and is the most frequent outcome: it locks no client.
        """
        concerned = [o for o in outcomes if o.kind is not OutcomeKind.ACKNOWLEDGED]
        ids = {o.client for o in concerned} | {c.client for c in challenges}
        if not ids:
            return {}
        lock = Lock.EXCLUSIVE if challenges else _lock_for(concerned)
        return dict(await tx.clients(ids, lock))

    def _report_removed(
        self,
        outcomes: Sequence[OutcomeItem],
        before: Mapping[str, Client],
        after: Mapping[str, Client],
    ) -> None:
        """Log and count the presences that ended because a gateway's queue took no message."""
        unroutable = {outcome.client for outcome in outcomes if outcome.unroutable}
        removed = [
            client.presence
            for id_ in unroutable
            if (client := before.get(id_)) and client.presence and after[id_].presence is None
        ]
        if removed:
            self.metrics.presences_removed(len(removed))
            log.warning(
                "presences_removed",
                clients=len(removed),
                nodes=sorted({presence.node for presence in removed})[:5],
                hint="messages to the queues of these gateways were returned; a gateway that runs "
                "reports its devices again",
            )

    def _decide(
        self, row: Delivery | None, outcome: OutcomeItem, client: Client | None
    ) -> Decision | None:
        if row is None:
            log.info("outcome_of_unknown_delivery", delivery=outcome.delivery, kind=outcome.kind)
            return None
        if outcome.client != row.client:
            # Only the client that a delivery was addressed to may speak for it.
            log.warning("outcome_of_foreign_client", delivery=row.id, client=outcome.client)
            return None
        return decide(
            row,
            Reported(
                kind=outcome.kind,
                at=outcome.at,
                step=outcome.step,
                attempt=outcome.attempt,
                channel=outcome.channel,
                detail=outcome.detail or "",
                retry_after=outcome.retry_after or 0.0,
                closes_channel=outcome.closes_channel,
                epoch=outcome.epoch,
                returns=client.returns if client is not None else 0,
            ),
            now=self.clock.now(),
            jitter=self.dice.jitter(),
            backoff=self.settings.policies.retry,
        )


def _lock_for(items: Iterable[OutcomeItem]) -> Lock:
    """The lock on clients: exclusive if outcomes may end a presence, a channel or a token."""
    ends = any(
        item.closes_channel
        or item.kind in (OutcomeKind.NO_SUCH_APPLICATION, OutcomeKind.ROUTE_LOST)
        for item in items
    )
    return Lock.EXCLUSIVE if ends else Lock.SHARED


def _starts(decision: Decision) -> bool:
    return any(isinstance(effect, StartStep) for effect in decision.effects)


def _still_wanted(decision: Decision, rows: Mapping[str, Delivery]) -> Decision:
    """The decision without steps that a later outcome of the same batch has made superfluous."""
    row = rows[decision.delivery.id]
    effects = tuple(
        effect
        for effect in decision.effects
        if not isinstance(effect, StartStep) or row.current(effect.step, effect.attempt)
    )
    return replace(decision, effects=effects)
