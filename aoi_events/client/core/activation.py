"""8.1.2, notification channel activation: when to offer channels, and how to prove them."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from aoi_events.client.core.effects import Listen
from aoi_events.client.core.events import Activated, ChallengeReceived, ChannelClosed, Refused
from aoi_events.client.core.model import PendingRequest
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.client.core.transition import Transition
from aoi_events.contracts.answers import ChannelsActivatedV1, RefusedV1, UnselectedChannel
from aoi_events.contracts.requests import ActivateChannelsV1, ConfirmChannelV1

ACTIVATE: Final = "channel.activate"
CONFIRM: Final = "channel.confirm"
_NEEDS_LISTENING: Final = frozenset({"sms", "webhook", "webpush"})
"""Channels whose messages the device has to read; a WebSocket is read already."""


def application_started(transition: Transition) -> None:
    """An app instance wants notifications: activate, if no channel is active."""
    if not transition.stored.active:
        transition.update_stored(activating=True)
        transition.allow(ACTIVATE, "")


def send_due(transition: Transition) -> None:
    """Offer the channels, if the server does not know the present offers and circumstances."""
    stored, digest = transition.stored, transition.model.offered
    due = stored.activating or stored.activated not in (None, digest)
    # A request in flight counts only if it has the present offers; a later number supersedes it.
    in_flight = transition.request_in_flight(ACTIVATE, digest)
    current = in_flight is not None and in_flight.sequence == stored.sequence
    if not due or current or stored.client is None or not transition.may_request(ACTIVATE, ""):
        return
    if stored.sequence >= MAX_SEQUENCE:
        transition.postpone(ACTIVATE, "")
        return
    number = stored.sequence + 1
    # Due until answered: if the connection breaks, the server may have applied it all the same, and
    # by then offers and circumstances may have changed back.
    transition.update_stored(sequence=number, activating=True)
    body = ActivateChannelsV1(
        version=1,
        client=stored.client,
        sequence=number,
        offers=transition.model.offers,
        circumstances=transition.model.network.circumstances,
    )
    transition.request(PendingRequest(ACTIVATE, digest, number), body)


def activated(transition: Transition, pending: PendingRequest, answer: ChannelsActivatedV1) -> None:
    """Store the channels that the server selected, and start to read their messages."""
    if pending.sequence != transition.stored.sequence:
        return  # a later activation is in flight, and its answer counts
    if not answer.applied:
        if transition.stored.sequence <= answer.sequence < MAX_SEQUENCE:
            transition.update_stored(sequence=answer.sequence)
        else:
            transition.postpone(ACTIVATE, "")  # an impossible number; repeating would loop
        return
    transition.update_stored(activated=pending.about, activating=False)
    _select(transition, answer)
    selected = {channel.type for channel in answer.selected}
    transition.update_stored(
        codes={k: v for k, v in transition.stored.codes.items() if k in selected}
    )


def confirmed(transition: Transition, pending: PendingRequest, answer: ChannelsActivatedV1) -> None:
    """The server accepted a code: store the updated channels."""
    _forget_code(transition, pending)
    # A lower number means that a later activation was sent, and its answer counts.
    if answer.sequence >= transition.stored.sequence:
        _select(transition, answer)


def refused(transition: Transition, pending: PendingRequest, answer: RefusedV1) -> None:
    """Postpone a refused activation; forget a refused code."""
    if pending.name == CONFIRM:
        _forget_code(transition, pending)
        transition.emit(Refused(CONFIRM, pending.about, answer.code, answer.message))
        return
    transition.postpone(ACTIVATE, "")
    transition.emit(Refused(ACTIVATE, "", answer.code, answer.message))


def challenge_received(transition: Transition, channel: str, code: str) -> None:
    """A challenge came over a channel: store its code, to send it once the channel is selected."""
    try:
        ConfirmChannelV1(version=1, client="cli_" + "a" * 26, channel=channel, code=code)
    except ValidationError:
        return  # not a code of an AOI Server
    transition.update_stored(codes={**transition.stored.codes, channel: code})
    transition.allow(CONFIRM, channel)
    transition.emit(ChallengeReceived(channel))


def send_codes(transition: Transition) -> None:
    """Send the codes of challenges, for channels that the server selected."""
    client = transition.stored.client
    if client is None:
        return
    selected = {channel.type for channel in transition.stored.channels}
    for channel, code in transition.stored.codes.items():
        in_flight = transition.request_in_flight(CONFIRM, channel)
        due = channel in selected and (in_flight is None or in_flight.code != code)
        if due and transition.may_request(CONFIRM, channel):
            body = ConfirmChannelV1(version=1, client=client, channel=channel, code=code)
            transition.request(PendingRequest(CONFIRM, channel, code=code), body)


def closed_by_server(transition: Transition, closed: tuple[UnselectedChannel, ...]) -> None:
    """The server closed channels meanwhile; if no other one is active, offer channels again."""
    gone = {channel.type for channel in closed}
    if not gone:
        return
    transition.update_stored(
        channels=tuple(c for c in transition.stored.channels if c.type not in gone)
    )
    for channel in closed:
        transition.emit(ChannelClosed(channel.type, channel.reason, channel.detail))
    if transition.stored.any_wanted:
        application_started(transition)


def start_listening(transition: Transition) -> None:
    """Start to read messages of selected channels, once per channel."""
    wanted = {c.type for c in transition.stored.channels} & _NEEDS_LISTENING
    for channel in sorted(wanted - transition.model.started):
        transition.update(started=transition.model.started | {channel})
        transition.add(Listen(channel))


def _forget_code(transition: Transition, pending: PendingRequest) -> None:
    """Forget a code that was answered; a newer code of the same channel stays."""
    if transition.stored.codes.get(pending.about) == pending.code:
        transition.update_stored(
            codes={k: v for k, v in transition.stored.codes.items() if k != pending.about}
        )


def _select(transition: Transition, answer: ChannelsActivatedV1) -> None:
    transition.update_stored(channels=answer.selected)
    transition.emit(
        Activated(
            active=tuple(c.type for c in answer.selected if c.state == "active"),
            pending=tuple(c.type for c in answer.selected if c.state == "pending"),
            not_selected=answer.not_selected,
        )
    )
    start_listening(transition)
