"""The set of a client's notification channels, and what changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from aoi_events.broker.topology import delivery_queue
from aoi_events.contracts.answers import ChannelsActivatedV1, SelectedChannel, UnselectedChannel
from aoi_events.contracts.envelopes import ChallengeItem
from aoi_events.contracts.events import ChannelChanged
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    ConfirmChannelV1,
    DeactivateChannelsV1,
)
from aoi_events.domain.channels import Channel, ChannelState, Proof, ProofState
from aoi_events.domain.clients import Client
from aoi_events.domain.proofs import challenge_code, confirm, open_proof
from aoi_events.domain.selection import ValidOffer, offers_hash, select
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Transaction
from aoi_events.services.outgoing import batches, event
from aoi_events.services.settings import ServiceSettings

__all__ = ["Change", "ChannelSet", "challenge", "take_from_others"]

_HOUR: Final = timedelta(hours=1)
_DEACTIVATED: Final = "deactivated by the client"


@dataclass(slots=True)
class Change:
    """The answer, what else to publish, and whether a channel became usable."""

    answer: ChannelsActivatedV1
    outputs: list[Outbound] = field(default_factory=list)
    reachable: bool = False


class ChannelSet:
    """Commands about the channels of one client, whose row the caller holds exclusively."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    async def activate(
        self, tx: Transaction, client: Client, request: ActivateChannelsV1, now: datetime
    ) -> Change:
        """Select among the offers, activate what was selected, open what must be proved."""
        digest = offers_hash(request)
        if not _newer(client, request.sequence, digest):
            return Change(await self._stored(tx, client, applied=False))
        valid, reasons = self._validate(request)
        selection = select(valid, request.circumstances, self._settings.policies.selection)
        reasons |= selection.reasons
        before = {row.type: row for row in (await tx.channels({client.id})).get(client.id, ())}
        proofs = {
            (proof.channel, proof.address): proof
            for proof in (await tx.proofs({client.id})).get(client.id, ())
        }
        outputs: list[Outbound] = []
        after: list[Channel] = []
        for rank, chosen in enumerate(selection.selected):
            proof = None
            if chosen.traits.needs_proof and chosen.address is not None:
                known = proofs.get((chosen.offer.type, chosen.address))
                proof, sent, refused = await self._open(tx, client, chosen, known, now)
                if refused is not None:
                    reasons[chosen.offer.type] = refused
                    continue
                outputs += sent
            after.append(_channel(client, chosen, proof, rank, now))
        kept = {row.type for row in after}
        for kind, row in before.items():
            if kind not in kept and row.usable:
                reasons.setdefault(kind, "no longer offered")
        await tx.drop_channels({(client.id, kind) for kind in before if kind not in kept})
        await tx.save_channels(after)
        await tx.save_clients(
            [replace(client, sequence=request.sequence, sequence_hash=digest, seen_at=now)]
        )
        outputs += [self._event(client, row, now, request.sequence) for row in after]
        outputs += [
            _closed(client, kind, reasons.get(kind, "no longer offered"), now, request.sequence)
            for kind, row in before.items()
            if kind not in kept and row.usable
        ]
        answer = _answer(request.sequence, after, proofs, reasons, applied=True)
        return Change(answer, outputs, reachable=any(row.usable for row in after))

    async def confirm(
        self, tx: Transaction, client: Client, request: ConfirmChannelV1, now: datetime
    ) -> Change:
        """A code came back: the channel that waits for it becomes active."""
        rows = {row.type: row for row in (await tx.channels({client.id})).get(client.id, ())}
        row = rows.get(request.channel)
        proofs = {
            (proof.channel, proof.address): proof
            for proof in (await tx.proofs({client.id})).get(client.id, ())
        }
        known = proofs.get((request.channel, row.address or "")) if row is not None else None
        key, policy = self._settings.challenge_key, self._settings.policies.proofs
        proof, right = confirm(known, request.code, key=key, now=now, policy=policy)
        if not right:
            await tx.save_proofs([proof])
            raise Refusal(
                ErrorCode.CHALLENGE_WRONG,
                "this is not the code that was sent; send the newest one as it came",
                field="code",
            )
        outputs = await take_from_others(tx, proof, now)
        await tx.save_proofs([proof])
        if row is not None and row.state is not ChannelState.CLOSED:
            row = replace(row, state=ChannelState.ACTIVE, reason=None, changed_at=now)
            rows[row.type] = row
            await tx.save_channels([row])
            outputs.append(self._event(client, row, now, client.sequence))
        answer = await self._stored(tx, client, applied=True)
        return Change(answer, outputs, reachable=True)

    async def deactivate(
        self, tx: Transaction, client: Client, request: DeactivateChannelsV1, now: datetime
    ) -> Change:
        """Stop using the named channels, or all of them."""
        digest = "deactivate " + " ".join(sorted(request.channels))
        if not _newer(client, request.sequence, digest):
            return Change(await self._stored(tx, client, applied=False))
        rows = (await tx.channels({client.id})).get(client.id, ())
        gone = [row for row in rows if not request.channels or row.type in request.channels]
        await tx.drop_channels({(client.id, row.type) for row in gone})
        after = replace(client, sequence=request.sequence, sequence_hash=digest, seen_at=now)
        await tx.save_clients([after])
        answer = await self._stored(tx, after, applied=True)
        reasons = tuple(UnselectedChannel(type=r.type, reason=_DEACTIVATED) for r in gone)
        outputs = [_closed(client, r.type, _DEACTIVATED, now, request.sequence) for r in gone]
        return Change(answer.model_copy(update={"not_selected": reasons}), outputs)

    def _validate(self, request: ActivateChannelsV1) -> tuple[list[ValidOffer], dict[str, str]]:
        valid: list[ValidOffer] = []
        reasons: dict[str, str] = {}
        for offer in request.offers:
            plugin = self._settings.plugins.get(offer.type)
            traits = self._settings.traits.get(offer.type)
            if plugin is None or traits is None:
                reasons[offer.type] = "this server has no such channel"
                continue
            try:
                offered = plugin.offer(offer.parameters)
            except Refusal as refused:
                reasons[offer.type] = refused.message
                continue
            valid.append(ValidOffer(offer, traits, offered.parameters, offered.address))
        return valid, reasons

    async def _open(
        self,
        tx: Transaction,
        client: Client,
        chosen: ValidOffer,
        known: Proof | None,
        now: datetime,
    ) -> tuple[Proof, list[Outbound], str | None]:
        policy = self._settings.policies.proofs
        kind, address = chosen.offer.type, chosen.address or ""
        decision = open_proof(
            known, client=client.id, channel=kind, address=address, now=now, policy=policy
        )
        proof = decision.proof
        if not decision.send:
            # A challenge that is out is told again: its worker sends each number only once.
            repeat = proof.state is ProofState.OPEN
            told = self.challenges(proof, chosen.parameters) if repeat else []
            return proof, told, None
        since = now - _HOUR
        counts = (
            (
                await tx.count_challenges(since=since, channel=kind, address=address),
                policy.per_address_an_hour,
            ),
            (await tx.count_challenges(since=since, client=client.id), policy.per_client_an_hour),
            (await tx.count_challenges(since=since), policy.overall_an_hour),
        )
        if any(count >= limit for count, limit in counts):
            return proof, [], "too many challenges within an hour; offer it again later"
        await tx.save_proofs([proof])
        await tx.note_challenges([(proof, now)])
        return proof, self.challenges(proof, chosen.parameters), None

    def challenges(self, proof: Proof, parameters: dict[str, str | int | bool]) -> list[Outbound]:
        """The message that makes the channel's worker send the proof's present challenge."""
        return challenge(proof, parameters, self._settings)

    async def _stored(
        self, tx: Transaction, client: Client, *, applied: bool
    ) -> ChannelsActivatedV1:
        rows = (await tx.channels({client.id})).get(client.id, ())
        proofs = {
            (proof.channel, proof.address): proof
            for proof in (await tx.proofs({client.id})).get(client.id, ())
        }
        reasons = {
            row.type: row.reason or "closed" for row in rows if row.state is ChannelState.CLOSED
        }
        return _answer(client.sequence, rows, proofs, reasons, applied=applied)

    def _event(self, client: Client, row: Channel, now: datetime, sequence: int) -> Outbound:
        kind = "channel.activated" if row.usable else "channel.pending"
        data = ChannelChanged(client=client.id, channel=row.type)
        return event(kind, "aoi", data, at=now, key=f"{client.id}/{row.type}@{sequence}")


async def take_from_others(tx: Transaction, proof: Proof, now: datetime) -> list[Outbound]:
    """Proving an address takes it from every other client (a recycled number)."""
    others = [
        other
        for other in await tx.proofs_of_addresses({(proof.channel, proof.address)})
        if other.client != proof.client and other.state is not ProofState.FAILED
    ]
    if not others:
        return []
    await tx.save_proofs(
        [replace(other, state=ProofState.FAILED, deadline=None) for other in others]
    )
    rows = await tx.channels({other.client for other in others})
    taken = [
        replace(
            row,
            state=ChannelState.CLOSED,
            reason="another client proved this address",
            changed_at=now,
        )
        for channels in rows.values()
        for row in channels
        if row.type == proof.channel
        and row.address == proof.address
        and row.state is not ChannelState.CLOSED
    ]
    await tx.save_channels(taken)
    return [
        event(
            "channel.closed",
            "aoi",
            ChannelChanged(client=row.client, channel=row.type, reason=row.reason),
            at=now,
            key=f"{row.client}/{row.type}@{proof.client}",
        )
        for row in taken
    ]


def challenge(
    proof: Proof, parameters: dict[str, str | int | bool], settings: ServiceSettings
) -> list[Outbound]:
    """The envelope that makes a channel worker send the proof's present challenge."""
    item = ChallengeItem(
        client=proof.client,
        channel=proof.channel,
        attempt=proof.sent,
        code=challenge_code(settings.challenge_key, proof),
        parameters=parameters,
        expires_at=proof.deadline or proof.opened_at,
    )
    return batches(delivery_queue(proof.channel), [item], gateway=False)


def _newer(client: Client, sequence: int, digest: str) -> bool:
    """An older command, or an equal number with another body, changes nothing."""
    return sequence > client.sequence or (
        sequence == client.sequence and digest == client.sequence_hash
    )


def _channel(
    client: Client, chosen: ValidOffer, proof: Proof | None, rank: int, now: datetime
) -> Channel:
    proved = proof is None or proof.state is ProofState.PROVED
    return Channel(
        client=client.id,
        type=chosen.offer.type,
        state=ChannelState.ACTIVE if proved else ChannelState.PENDING,
        rank=rank,
        parameters=chosen.parameters,
        largest_content=chosen.offer.largest_content,
        address=chosen.address,
        changed_at=now,
    )


def _answer(
    sequence: int,
    rows: Sequence[Channel],
    proofs: dict[tuple[str, str], Proof],
    reasons: dict[str, str],
    *,
    applied: bool,
) -> ChannelsActivatedV1:
    selected = []
    for row in rows:
        if row.state is ChannelState.CLOSED:
            continue
        proof = proofs.get((row.type, row.address or ""))
        selected.append(
            SelectedChannel(
                type=row.type,
                state="active" if row.usable else "pending",
                parameters=row.parameters,
                proved_until=proof.proved_until if proof is not None else None,
            )
        )
    return ChannelsActivatedV1(
        sequence=sequence,
        applied=applied,
        selected=tuple(selected),
        not_selected=tuple(
            UnselectedChannel(type=kind, reason=reason) for kind, reason in reasons.items()
        ),
    )


def _closed(client: Client, kind: str, reason: str, now: datetime, sequence: int) -> Outbound:
    data = ChannelChanged(client=client.id, channel=kind, reason=reason)
    return event("channel.closed", "aoi", data, at=now, key=f"{client.id}/{kind}@{sequence}")
