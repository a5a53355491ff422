"""A client's set of notification channels, and the commands that change it (8.1.2, 8.2.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from aoi_events.contracts.answers import (
    ChannelsActivatedV1,
    RefusedV1,
    UnselectedChannel,
)
from aoi_events.contracts.channels import SelectedChannel
from aoi_events.contracts.events import ChannelChanged
from aoi_events.contracts.identifiers import PLAIN_TEXT
from aoi_events.contracts.requests import (
    MAX_TEXT,
    ActivateChannelsV1,
    ChannelOffer,
    ConfirmChannelV1,
    DeactivateChannelsV1,
)
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.clients.channels import (
    Channel,
    ChannelState,
    Proof,
    ProofState,
    address_key,
)
from aoi_events.domain.clients.client import Client
from aoi_events.domain.clients.proofs import confirm
from aoi_events.domain.clients.selection import ValidOffer, offers_hash, select
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.broker import Outbound
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


@dataclass(frozen=True, slots=True)
class ChannelSet:
    """Commands about the channels of one client, whose row is locked exclusively, by ``asker``.

    A closed channel stays as a row until a later command leaves it out, so that a repeat of the
    command gets the same answer, and its events are published again.
    """

    settings: ServiceSettings
    locked: LockedClients
    client: Client
    asker: str

    async def activate(self, request: ActivateChannelsV1) -> Change:
        """Select among the offers, activate the selected ones, and start proofs where they are
        required.
        """
        digest = offers_hash(request)
        if not self._applies(request.sequence, digest):
            return Change(self._stored(applied=False))
        client, locked, now = self.client, self.locked, self.locked.now
        repeat = request.sequence == client.sequence
        valid, reasons = self._validate(request)
        selection = select(valid, request.circumstances, self.settings.policies.selection)
        reasons |= {kind: _Why(reason) for kind, reason in selection.reasons.items()}
        before = {row.type: row for row in locked.channels_of(client.id)}
        outputs: list[Outbound] = []
        after: list[Channel] = []
        for rank, chosen in enumerate(selection.selected):
            known = before.get(chosen.offer.type)
            if repeat and known is not None and known.state is ChannelState.CLOSED:
                continue  # it ended since; only a newer command opens it again
            proof = None
            if chosen.traits.needs_proof and chosen.address is not None:
                challenges = Challenges(self.settings)
                proof, sent, refused = await challenges.open(
                    locked, client.id, chosen, chosen.address
                )
                if refused is not None:
                    reasons[chosen.offer.type] = _Why(refused)
                    continue
                outputs += sent
            after.append(_channel(client, chosen, proof, rank, known, now))
        left = [row for kind, row in before.items() if kind not in {row.type for row in after}]
        ended = self._end(left, reasons, CloseReason.NOT_OFFERED, repeat=repeat)
        locked.channels.save(after)
        locked.proofs.drop(client.id, self._forgettable())
        locked.save(replace(client.returned(now), sequence=request.sequence, sequence_hash=digest))
        outputs += [_event(row, self.asker, now, request.sequence) for row in after]
        answer = self._stored(applied=True, reasons=reasons)
        return Change(answer, [*outputs, *ended], reachable=any(row.usable for row in after))

    def confirm(self, request: ConfirmChannelV1) -> Change:
        """Check a code that came back: the channel that waits for it becomes active.

        Raises Overtaken when it concerns a client that is not locked.
        """
        client, locked, now = self.client, self.locked, self.locked.now
        row = locked.channels.get(client.id, request.channel)
        known = None
        if row is not None and row.state is not ChannelState.CLOSED:
            known = locked.proofs.get(client.id, (row.type, row.address or ""))
        key, policy = self.settings.challenge_key, self.settings.policies.proofs
        try:
            proof, right = confirm(known, request.code, key=key, now=now, policy=policy)
        except Refusal as refused:
            return self._refused(refused, row)
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
            return self._refused(wrong, row)
        outputs = take_over_address(locked, proof, self.asker)
        locked.proofs.save([proof])
        if row.state is not ChannelState.ACTIVE:
            row = replace(row, state=ChannelState.ACTIVE, changed_at=now)
            locked.channels.save([row])
        locked.save(client.returned(now))
        outputs.append(_event(row, self.asker, now, client.sequence))
        return Change(self._stored(applied=True), outputs, reachable=True)

    def deactivate(self, request: DeactivateChannelsV1) -> Change:
        """Deactivate the named channels, or all of them."""
        digest = "deactivate " + " ".join(sorted(request.channels))
        if not self._applies(request.sequence, digest):
            return Change(self._stored(applied=False))
        client, locked, sequence = self.client, self.locked, request.sequence
        rows = locked.channels_of(client.id)
        named = [row for row in rows if not request.channels or row.type in request.channels]
        repeat = sequence == client.sequence
        ended = self._end(named, {}, CloseReason.DEACTIVATED, repeat=repeat)
        locked.save(replace(client, sequence=sequence, sequence_hash=digest, seen_at=locked.now))
        return Change(self._stored(applied=True), ended)

    def _applies(self, sequence: int, digest: str) -> bool:
        """Whether a command is newer than the last one, or a repeat of it. An older command does
        not apply, nor an equal number with another body: it changes nothing, and its answer is the
        present set.
        """
        last = (self.client.sequence, self.client.sequence_hash)
        return sequence > self.client.sequence or (sequence, digest) == last

    def _end(
        self,
        rows: Sequence[Channel],
        reasons: Mapping[str, _Why],
        otherwise: CloseReason,
        *,
        repeat: bool,
    ) -> list[Outbound]:
        """Close the rows, and drop those that were closed before, unless the command is a repeat;
        returns the events.
        """
        now = self.locked.now
        ended: list[Channel] = []
        for row in rows:
            if row.state is not ChannelState.CLOSED:
                reason, detail = reasons.get(row.type, _Why(otherwise))
                ended.append(row.closed(reason, now, detail))
            elif repeat:
                ended.append(row)
            else:
                self.locked.channels.drop(row.client, [row.type])
        self.locked.channels.save(ended)
        return [channel_closed(row, self.asker, now) for row in ended]

    def _validate(self, request: ActivateChannelsV1) -> tuple[list[ValidOffer], dict[str, _Why]]:
        valid: list[ValidOffer] = []
        reasons: dict[str, _Why] = {}
        for offer in request.offers:
            plugin = self.settings.plugins.get(offer.type)
            traits = self.settings.traits.get(offer.type)
            if plugin is None or traits is None:
                reasons[offer.type] = _Why(CloseReason.NO_SUCH_CHANNEL)
                continue
            try:
                _check_texts(offer)
                offered = plugin.offer(offer.parameters, self.settings.channels[offer.type])
            except Refusal as refused:
                reasons[offer.type] = _Why(CloseReason.OFFER_REFUSED, refused.message)
                continue
            address = None if offered.address is None else address_key(offered.address)
            valid.append(ValidOffer(offer, traits, offered.parameters, address))
        return valid, reasons

    def _stored(
        self, *, applied: bool, reasons: Mapping[str, _Why] | None = None
    ) -> ChannelsActivatedV1:
        """The answer: the present set, and why others are not in it: those that are closed, and
        those of ``reasons``.
        """
        client = self.locked.get(self.client.id) or self.client
        rows = self.locked.channels_of(client.id)
        closed = {row.type: _why(row) for row in rows if row.state is ChannelState.CLOSED}
        selected = []
        for row in rows:
            if row.state is ChannelState.CLOSED:
                continue
            proof = self.locked.proofs.get(client.id, (row.type, row.address or ""))
            confirming = self.settings.confirming.get(row.type)
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
            sequence=client.sequence,
            applied=applied,
            selected=tuple(selected),
            not_selected=tuple(
                _unselected(*each) for each in (closed | dict(reasons or {})).items()
            ),
        )

    def _refused(self, refused: Refusal, row: Channel | None) -> Change:
        """The refusal of a code, with the event of the closed channel if wrong codes closed it."""
        body = RefusedV1(code=refused.code, message=refused.message, field=refused.field)
        guessed = row is not None and row.reason is CloseReason.WRONG_CODES
        closed = channel_closed(row, self.asker, self.locked.now) if row and guessed else None
        return Change(body, [closed] if closed else [])

    def _forgettable(self) -> list[tuple[str, str]]:
        """The (channel, address) of failed proofs that can be removed: they say no more than a
        missing one, unless a closed channel refers to them.
        """
        named = {(row.type, row.address) for row in self.locked.channels.of(self.client.id)}
        return [
            key
            for proof in self.locked.proofs.of(self.client.id)
            if proof.state is ProofState.FAILED
            and proof.deadline is None
            and (key := (proof.channel, proof.address)) not in named
        ]


def closed_by_server(rows: Sequence[Channel]) -> tuple[UnselectedChannel, ...]:
    """The channels that the server closed, which the client must be informed of."""
    return tuple(
        _unselected(row.type, _why(row))
        for row in rows
        if row.state is ChannelState.CLOSED and row.reason not in _BY_CLIENT
    )


def _check_texts(offer: ChannelOffer) -> None:
    """Raise Refusal (invalid) for a text that no channel can use."""
    for name, value in offer.parameters.items():
        if isinstance(value, str) and not _usable(value):
            raise Refusal(
                ErrorCode.INVALID,
                f"offer {name} as at most {MAX_TEXT} octets of text without control characters",
                field=f"parameters.{name}",
            )


def _usable(text: str) -> bool:
    return len(text.encode()) <= MAX_TEXT and re.fullmatch(PLAIN_TEXT, text) is not None


def _why(closed: Channel) -> _Why:
    return _Why(closed.reason or CloseReason.NOT_OFFERED, closed.detail)


def _unselected(kind: str, why: _Why) -> UnselectedChannel:
    return UnselectedChannel(type=kind, reason=why.reason, detail=why.detail)


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


def _event(row: Channel, asker: str, now: datetime, sequence: int) -> Outbound:
    kind = "channel.activated" if row.usable else "channel.pending"
    data = ChannelChanged(client=row.client, channel=row.type)
    return event(kind, asker, data, at=now, key=f"{row.client}/{row.type}@{sequence}")
