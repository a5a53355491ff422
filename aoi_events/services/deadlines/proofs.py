"""Proofs of addresses whose deadline has passed: the challenge is sent again, or the proof ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from aoi_events.contracts.events import NOBODY
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import ChannelState, Proof, ProofState
from aoi_events.domain.clients.proofs import at_deadline, postpone
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Lock, Transaction
from aoi_events.services.clients.challenges import Challenges
from aoi_events.services.clients.endings import channel_closed
from aoi_events.services.deadlines.due import DueRows
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.runtime.pausing import PAUSES

log = get_logger(__name__)

Key = tuple[str, str, str]


class DueProofs(DueRows[Key]):
    """Processes due proofs.

    A challenge that is lost between commit and publish is sent again at the proof's next deadline.
    """

    kind = "proof"

    async def _claim(
        self, tx: Transaction, now: datetime, until: datetime
    ) -> Mapping[Key, datetime | None]:
        return dict.fromkeys(await tx.claim_due_proofs(now, self.batch, until=until))

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
        async with self.store.transaction() as tx:
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
        await publish_all(self.broker, outputs)

    async def _apply(
        self, tx: Transaction, proofs: Sequence[Proof], now: datetime
    ) -> list[Outbound]:
        rows = await tx.channels({proof.client for proof in proofs})
        policy, challenges = self.settings.policies.proofs, Challenges(self.settings)
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
            if decision.send and not await challenges.counted(tx, decision.proof, now):
                decision = postpone(proof, now=now, policy=policy)
                reason = CloseReason.TOO_MANY_CHALLENGES
            await tx.save_proofs([decision.proof])
            if decision.send:
                outputs += challenges.message(decision.proof, channel.parameters)
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
    return proof.failed()
