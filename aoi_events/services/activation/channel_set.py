"""A client's set of notification channels, and the commands that change it (8.1.2, 8.2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from aoi_events.contracts.answers import (
    ChannelsActivatedV1,
    RefusedV1,
    SelectedChannel,
    UnselectedChannel,
)
from aoi_events.contracts.events import ChannelChanged
from aoi_events.contracts.requests import (
    ActivateChannelsV1,
    ConfirmChannelV1,
    DeactivateChannelsV1,
)
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import Channel, ChannelState, Proof, ProofState
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.proofs import confirm
from aoi_events.domain.clients.selection import ValidOffer, offers_hash, select
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Outbound
from aoi_events.ports.store import Transaction
from aoi_events.services.clients.challenges import Challenges, take_over_address
from aoi_events.services.clients.endings import channel_closed
from aoi_events.services.clients.unit_of_work import LockedClients
from aoi_events.services.messages.events import event
from aoi_events.services.runtime.settings import ServiceSettings

_BY_CLIENT: Final = (CloseReason.DEACTIVATED, CloseReason.NOT_OFFERED)


class _Why(NamedTuple):
    """Why a channel is not used."""

    reason: CloseReason
    detail: str | None = None


@dataclass(slots=True)
class Change:
    """The answer, further messages to publish, and whether a channel became usable."""

    answer: ChannelsActivatedV1 | RefusedV1
    outputs: list[Outbound] = field(default_factory=list)
    reachable: bool = False


class ChannelSet:
    """Commands about the channels of one client, whose row the caller has locked exclusively.

    A closed channel stays as a row until a later command leaves it out, so that a repeat of the
    command gets the same answer, and its events are published again.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._challenges = Challenges(settings)

    async def activate(
        self,
        tx: Transaction,
        client: Client,
        request: ActivateChannelsV1,
        now: datetime,
        asker: str,
        locked: LockedClients,
    ) -> Change:
        """Select among the offers, activate the selected ones, and start proofs where they are
        required.
        """
        digest = offers_hash(request)
        if not _applies(client, request.sequence, digest):
            return self._unchanged(locked, client)
        repeat = request.sequence == client.sequence
        valid, reasons = self._validate(request)
        selection = select(valid, request.circumstances, self._settings.policies.selection)
        reasons |= {kind: _Why(reason) for kind, reason in selection.reasons.items()}
        before = {row.type: row for row in locked.channels_of(client.id)}
        proofs = _proofs(locked, client)
        outputs: list[Outbound] = []
        after: list[Channel] = []
        for rank, chosen in enumerate(selection.selected):
            known_channel = before.get(chosen.offer.type)
            if repeat and known_channel is not None and known_channel.state is ChannelState.CLOSED:
                continue  # it ended since; only a newer command opens it again
            proof = None
            if chosen.traits.needs_proof and chosen.address is not None:
                known = proofs.get((chosen.offer.type, chosen.address))
                proof, sent, refused = await self._challenges.open(
                    tx, client, chosen, known, now, locked
                )
                if refused is not None:
                    reasons[chosen.offer.type] = _Why(refused)
                    continue
                outputs += sent
            after.append(_channel(client, chosen, proof, rank, known_channel, now))
        left = [row for kind, row in before.items() if kind not in {row.type for row in after}]
        ended = [
            row if row.state is ChannelState.CLOSED else _end(row, reasons.get(row.type), now)
            for row in left
            if repeat or row.state is not ChannelState.CLOSED
        ]
        gone = {row.type for row in left} - {row.type for row in ended}
        locked.channels.drop(client.id, gone)
        locked.channels.save([*after, *ended])
        locked.proofs.drop(client.id, _forgettable(locked, client))
        locked.save(replace(client.returned(now), sequence=request.sequence, sequence_hash=digest))
        outputs += [_event(row, asker, now, request.sequence) for row in after]
        outputs += [channel_closed(row, asker, now) for row in ended]
        reasons = {row.type: _why(row) for row in ended} | reasons
        answer = self._answer(client, request.sequence, after, proofs, reasons, applied=True)
        return Change(answer, outputs, reachable=any(row.usable for row in after))

    def confirm(
        self,
        client: Client,
        request: ConfirmChannelV1,
        now: datetime,
        asker: str,
        locked: LockedClients,
    ) -> Change:
        """Check a code that came back: the channel that waits for it becomes active.

        Raises Overtaken when it concerns a client that the caller has not locked.
        """
        row = locked.channels.get(client.id, request.channel)
        known = None
        if row is not None and row.state is not ChannelState.CLOSED:
            known = locked.proofs.get(client.id, (row.type, row.address or ""))
        key, policy = self._settings.challenge_key, self._settings.policies.proofs
        try:
            proof, right = confirm(known, request.code, key=key, now=now, policy=policy)
        except Refusal as refused:
            return _refused(refused, row, asker, now)
        if not right or row is None:
            locked.proofs.save([proof])
            if row is not None and proof.state is ProofState.FAILED:
                row = row.closed(CloseReason.WRONG_CODES, now)
                locked.channels.save([row])
            wrong = Refusal(
                ErrorCode.CHALLENGE_WRONG,
                "this is not the code that was sent; send the newest one as it came",
                field="code",
            )
            return _refused(wrong, row, asker, now)
        outputs = take_over_address(locked, proof, now, asker)
        locked.proofs.save([proof])
        if row.state is not ChannelState.ACTIVE:
            row = replace(row, state=ChannelState.ACTIVE, changed_at=now)
            locked.channels.save([row])
        after = client.returned(now)
        locked.save(after)
        outputs.append(_event(row, asker, now, client.sequence))
        return Change(self._stored(locked, after, applied=True), outputs, reachable=True)

    def deactivate(
        self,
        client: Client,
        request: DeactivateChannelsV1,
        now: datetime,
        asker: str,
        locked: LockedClients,
    ) -> Change:
        """Deactivate the named channels, or all of them."""
        digest = "deactivate " + " ".join(sorted(request.channels))
        if not _applies(client, request.sequence, digest):
            return self._unchanged(locked, client)
        repeat = request.sequence == client.sequence
        rows = locked.channels_of(client.id)
        named = [row for row in rows if not request.channels or row.type in request.channels]
        ended = [
            row if row.state is ChannelState.CLOSED else row.closed(CloseReason.DEACTIVATED, now)
            for row in named
            if repeat or row.state is not ChannelState.CLOSED
        ]
        gone = {row.type for row in named} - {row.type for row in ended}
        locked.channels.drop(client.id, gone)
        locked.channels.save(ended)
        after = replace(client, sequence=request.sequence, sequence_hash=digest, seen_at=now)
        locked.save(after)
        answer = self._stored(locked, after, applied=True)
        return Change(answer, [channel_closed(row, asker, now) for row in ended])

    def _validate(self, request: ActivateChannelsV1) -> tuple[list[ValidOffer], dict[str, _Why]]:
        valid: list[ValidOffer] = []
        reasons: dict[str, _Why] = {}
        for offer in request.offers:
            plugin = self._settings.plugins.get(offer.type)
            traits = self._settings.traits.get(offer.type)
            if plugin is None or traits is None:
                reasons[offer.type] = _Why(CloseReason.NO_SUCH_CHANNEL)
                continue
            try:
                offered = plugin.offer(offer.parameters, self._settings.channels[offer.type])
            except Refusal as refused:
                reasons[offer.type] = _Why(CloseReason.OFFER_REFUSED, refused.message)
                continue
            valid.append(ValidOffer(offer, traits, offered.parameters, offered.address))
        return valid, reasons

    def _unchanged(self, locked: LockedClients, client: Client) -> Change:
        """The answer to a command that is too old: it changes nothing, and returns the
        present set.
        """
        return Change(self._stored(locked, client, applied=False))

    def _stored(
        self, locked: LockedClients, client: Client, *, applied: bool
    ) -> ChannelsActivatedV1:
        rows = locked.channels_of(client.id)
        reasons = {row.type: _why(row) for row in rows if row.state is ChannelState.CLOSED}
        proofs = _proofs(locked, client)
        return self._answer(client, client.sequence, rows, proofs, reasons, applied=applied)

    def _answer(
        self,
        client: Client,
        sequence: int,
        rows: Sequence[Channel],
        proofs: Mapping[tuple[str, str], Proof],
        reasons: Mapping[str, _Why],
        *,
        applied: bool,
    ) -> ChannelsActivatedV1:
        selected = []
        for row in rows:
            if row.state is ChannelState.CLOSED:
                continue
            proof = proofs.get((row.type, row.address or ""))
            confirming = self._settings.confirming.get(row.type)
            details = {} if confirming is None else confirming(client.id, row.parameters)
            selected.append(
                SelectedChannel(
                    type=row.type,
                    state="active" if row.usable else "pending",
                    parameters={**row.parameters, **details},
                    proved_until=proof.proved_until if proof is not None and row.usable else None,
                )
            )
        return ChannelsActivatedV1(
            sequence=sequence,
            applied=applied,
            selected=tuple(selected),
            not_selected=tuple(_unselected(kind, why) for kind, why in reasons.items()),
        )


def closed_by_server(rows: Sequence[Channel]) -> tuple[UnselectedChannel, ...]:
    """The channels that the server closed, which the client must be informed of."""
    return tuple(
        _unselected(row.type, _why(row))
        for row in rows
        if row.state is ChannelState.CLOSED and row.reason not in _BY_CLIENT
    )


def _why(closed: Channel) -> _Why:
    return _Why(closed.reason or CloseReason.NOT_OFFERED, closed.detail)


def _unselected(kind: str, why: _Why) -> UnselectedChannel:
    return UnselectedChannel(type=kind, reason=why.reason, detail=why.detail)


def _proofs(locked: LockedClients, client: Client) -> dict[tuple[str, str], Proof]:
    return {(proof.channel, proof.address): proof for proof in locked.proofs.of(client.id)}


def _forgettable(locked: LockedClients, client: Client) -> list[tuple[str, str]]:
    """The (channel, address) of failed proofs that can be removed: they say no more than a missing
    one, unless a closed channel refers to them.
    """
    named = {(row.type, row.address) for row in locked.channels.of(client.id)}
    return [
        key
        for key, proof in _proofs(locked, client).items()
        if proof.state is ProofState.FAILED and proof.deadline is None and key not in named
    ]


def _refused(refused: Refusal, row: Channel | None, asker: str, now: datetime) -> Change:
    """The refusal of a code, with the event of the closed channel if wrong codes closed it."""
    body = RefusedV1(code=refused.code, message=refused.message, field=refused.field)
    guessed = row is not None and row.reason is CloseReason.WRONG_CODES
    return Change(body, [channel_closed(row, asker, now)] if row and guessed else [])


def _applies(client: Client, sequence: int, digest: str) -> bool:
    """Whether a command is newer than the last one, or a repeat of it. An older command does not
    apply, nor an equal number with another body.
    """
    return sequence > client.sequence or (
        sequence == client.sequence and digest == client.sequence_hash
    )


def _channel(
    client: Client,
    chosen: ValidOffer,
    proof: Proof | None,
    rank: int,
    before: Channel | None,
    now: datetime,
) -> Channel:
    proved = proof is None or proof.state is ProofState.PROVED
    row = Channel(
        client=client.id,
        type=chosen.offer.type,
        state=ChannelState.ACTIVE if proved else ChannelState.PENDING,
        rank=rank,
        parameters=chosen.parameters,
        largest_content=chosen.offer.largest_content,
        address=chosen.address,
        changed_at=now,
    )
    # What needs no proof has no address, only parameters.
    same = before is not None and (before.state, before.parameters) == (row.state, row.parameters)
    return replace(row, changed_at=before.changed_at) if before and same else row


def _end(row: Channel, why: _Why | None, now: datetime) -> Channel:
    reason, detail = why or _Why(CloseReason.NOT_OFFERED)
    return row.closed(reason, now, detail)


def _event(row: Channel, asker: str, now: datetime, sequence: int) -> Outbound:
    kind = "channel.activated" if row.usable else "channel.pending"
    data = ChannelChanged(client=row.client, channel=row.type)
    return event(kind, asker, data, at=now, key=f"{row.client}/{row.type}@{sequence}")
