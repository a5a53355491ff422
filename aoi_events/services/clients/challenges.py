"""Challenges: a proof of an address begins with one, and the address belongs to the last client
that proved it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aoi_events.contracts.envelopes import ChallengeItem
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import ChannelState, Proof, ProofState
from aoi_events.domain.clients.proofs import challenge_code, open_proof
from aoi_events.domain.clients.selection import ValidOffer
from aoi_events.errors import ErrorCode, Overtaken, Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Transaction
from aoi_events.services.clients.endings import channel_closed
from aoi_events.services.clients.unit_of_work import LockedClients
from aoi_events.services.messages.envelopes import batches
from aoi_events.services.runtime.settings import ServiceSettings
from aoi_events.topology import delivery_queue

_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Challenges:
    """Opens proofs within the limits, and makes the messages that carry their codes."""

    settings: ServiceSettings

    async def open(
        self, locked: LockedClients, client: str, chosen: ValidOffer, address: str
    ) -> tuple[Proof, list[Outbound], CloseReason | None]:
        """The proof of an offered address, the challenge to send, or why none may be sent now."""
        kind, now, policy = chosen.offer.type, locked.now, self.settings.policies.proofs
        known = locked.proofs.get(client, (kind, address))
        decision = open_proof(
            known, client=client, channel=kind, address=address, now=now, policy=policy
        )
        proof = decision.proof
        if not decision.send:
            # An open challenge is sent again: its worker sends each number only once.
            repeat = proof.state is ProofState.OPEN
            return proof, self.message(proof, chosen.parameters) if repeat else [], None
        if not await self.counted(locked.tx, proof, now):
            return proof, [], CloseReason.TOO_MANY_CHALLENGES
        locked.proofs.save([proof])
        return proof, self.message(proof, chosen.parameters), None

    async def counted(self, tx: Transaction, proof: Proof, now: datetime) -> bool:
        """Whether one more challenge may be sent within the limits; if so, it is counted.

        Every sender of challenges must call this, or the limits would not hold.
        """
        policy, since = self.settings.policies.proofs, now - _HOUR
        here = await tx.count_challenges(since=since, channel=proof.channel, address=proof.address)
        ours = await tx.count_challenges(since=since, client=proof.client)
        overall = await tx.count_challenges(since=since)
        if (
            here >= policy.per_address_an_hour
            or ours >= policy.per_client_an_hour
            or overall >= policy.overall_an_hour
        ):
            return False
        await tx.note_challenges([(proof, now)])
        return True

    def message(self, proof: Proof, parameters: Mapping[str, str | int | bool]) -> list[Outbound]:
        """The message to a channel worker that sends the proof's present challenge."""
        item = ChallengeItem(
            client=proof.client,
            channel=proof.channel,
            attempt=proof.sent,
            code=challenge_code(self.settings.challenge_key, proof),
            parameters=dict(parameters),
            expires_at=proof.deadline or proof.opened_at,
        )
        return batches(delivery_queue(proof.channel), [item], gateway=False)


async def address_holders(tx: Transaction, confirming: Collection[tuple[str, str]]) -> set[str]:
    """The clients that may lose an address when those of ``confirming`` (client, channel) prove
    theirs.

    They are locked together with those, in key order, before anything is read.
    """
    known = await tx.proofs({client for client, _ in confirming})
    mine = (proof for proofs in known.values() for proof in proofs)
    found = await tx.proofs_of_addresses(_provable(confirming, mine))
    return {proof.client for proof in found}


async def read_claimants(
    locked: LockedClients, confirming: Collection[tuple[str, str]]
) -> Mapping[tuple[str, str], Collection[str]]:
    """The clients with a proof of each address that may be proved now, by (channel, address)."""
    mine = (proof for client, _ in confirming for proof in locked.proofs.of(client))
    found: dict[tuple[str, str], set[str]] = {key: set() for key in _provable(confirming, mine)}
    for proof in await locked.tx.proofs_of_addresses(found.keys()):
        found[proof.channel, proof.address].add(proof.client)
    return found


def _provable(
    confirming: Collection[tuple[str, str]], proofs: Iterable[Proof]
) -> set[tuple[str, str]]:
    # Not only what the channels' rows name now: a command of the same batch may name another.
    return {
        (proof.channel, proof.address)
        for proof in proofs
        if (proof.client, proof.channel) in confirming and proof.state is not ProofState.FAILED
    }


def take_over_address(locked: LockedClients, proof: Proof, asker: str) -> list[Outbound]:
    """Take a proved address away from every other client (a recycled number).

    Raises Overtaken when a client offered it after the locks were taken: locked now, it would be
    locked out of order. Refuses (unavailable) an address that was offered in this very batch.
    """
    claimed = locked.claimants.get((proof.channel, proof.address))
    if claimed is None:
        raise Refusal(ErrorCode.UNAVAILABLE, "the address was offered just now; confirm it again")
    if not all(client in locked for client in claimed):
        raise Overtaken("another client offered the address that was being proved")
    others = [
        other
        for other in locked.proofs.every()
        if (other.channel, other.address) == (proof.channel, proof.address)
        and other.client != proof.client
    ]
    locked.proofs.save(other.failed() for other in others if other.state is not ProofState.FAILED)
    theirs = [
        row
        for other in others
        if (row := locked.channels.get(other.client, proof.channel)) is not None
        and row.address == proof.address
    ]
    taken = [
        row.closed(CloseReason.TAKEN_OVER, locked.now)
        for row in theirs
        if row.state is not ChannelState.CLOSED
    ]
    locked.channels.save(taken)
    known = [row for row in theirs if row.reason is CloseReason.TAKEN_OVER]
    return [channel_closed(row, asker, locked.now) for row in [*taken, *known]]
