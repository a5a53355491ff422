"""Challenges that the provider refused: they are sent again later, or the address is given up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from aoi_events.contracts.envelopes import ChallengeOutcome, OutcomeKind, challenge_id
from aoi_events.contracts.events import NOBODY
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import ChannelState, Proof, ProofState
from aoi_events.domain.clients.proofs import challenge_code, challenge_refused
from aoi_events.ports.broker import Outbound
from aoi_events.ports.clock import Dice
from aoi_events.ports.store import Transaction
from aoi_events.services.clients.endings import channel_closed
from aoi_events.services.runtime.settings import ServiceSettings


async def note_refused_challenges(
    tx: Transaction,
    outcomes: Sequence[ChallengeOutcome],
    settings: ServiceSettings,
    now: datetime,
    dice: Dice,
) -> list[Outbound]:
    """Write the effects of the refusals on proofs and their channels; returns the events.

    The events follow from the rows as they are then, so that a repeat returns the same events. The
    caller has locked the clients' rows exclusively.
    """
    if not outcomes:
        return []
    ids = {outcome.client for outcome in outcomes}
    proofs = {
        _round(proof, settings.challenge_key): proof
        for of_client in (await tx.proofs(ids)).values()
        for proof in of_client
    }
    rows = {(row.client, row.type): row for of in (await tx.channels(ids)).values() for row in of}
    events: list[Outbound] = []
    for outcome in outcomes:
        known = proofs.get(outcome.challenge)
        if known is None or known.client != outcome.client:
            continue  # of a round that is over
        decision = challenge_refused(
            known,
            outcome.attempt,
            permanent=outcome.kind is OutcomeKind.REJECTED,
            bad_address=outcome.closes_channel,
            retry_after=outcome.retry_after or 0.0,
            now=now,
            jitter=dice.jitter(),
            backoff=settings.policies.retry,
        )
        proof = proofs[outcome.challenge] = decision.proof
        if proof != known:
            await tx.save_proofs([proof])
        row = rows.get((proof.client, proof.channel))
        if row is None or row.address != proof.address or proof.state is not ProofState.FAILED:
            continue
        if decision.lost and row.state is not ChannelState.CLOSED:
            row = row.closed(CloseReason.CHALLENGE_REFUSED, now, outcome.detail)
            rows[row.client, row.type] = row
            await tx.save_channels([row])
        if row.state is ChannelState.CLOSED:
            events.append(channel_closed(row, NOBODY, now))
    return events


def _round(proof: Proof, key: bytes) -> str:
    return challenge_id(proof.client, proof.channel, challenge_code(key, proof))
