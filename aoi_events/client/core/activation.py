"""8.1.2, notification channel activation: when to offer, and what the confirmation asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from aoi_events.client.core.effects import Listen
from aoi_events.client.core.events import Activated, ChallengeReceived, ChannelClosed, Refused
from aoi_events.client.core.model import Pending
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.client.core.transition import Turn
from aoi_events.contracts.answers import ChannelsActivatedV1, RefusedV1, UnselectedChannel
from aoi_events.contracts.requests import ActivateChannelsV1, ConfirmChannelV1

__all__ = [
    "activated",
    "application_asked",
    "challenged",
    "changed",
    "closed_by_server",
    "confirm_due",
    "confirmed",
    "listen",
    "refused",
    "send_due",
]

ACTIVATE: Final = "channel.activate"
CONFIRM: Final = "channel.confirm"
_NEEDS_LISTENING: Final = frozenset({"sms", "webhook", "webpush"})
"""Channels that the device has to do something for; a WebSocket is there already."""


def application_asked(turn: Turn) -> None:
    """An app asks while no channel is active: activate."""
    if not turn.stored.active:
        turn.keep(activating=True)
        turn.release(ACTIVATE, "")


def changed(turn: Turn) -> None:
    """Something changed; `send_due` sees whether it concerns what the server knows."""
    turn.release(ACTIVATE, "")


def send_due(turn: Turn) -> None:
    """Offer the channels when the server does not know them as they are."""
    stored, digest = turn.stored, turn.view.offered
    due = stored.activating or stored.activated not in (None, digest)
    # What is under way counts only if it offers what holds now; a later number overtakes it.
    under_way = turn.asking(ACTIVATE, digest)
    current = under_way is not None and under_way.sequence == stored.sequence
    if not due or current or stored.client is None or (ACTIVATE, "") in turn.link.held:
        return
    if not turn.may_ask(ACTIVATE, digest):
        return
    if stored.sequence >= MAX_SEQUENCE:
        turn.hold(ACTIVATE, "")
        return
    number = stored.sequence + 1
    # Due until answered: the server may apply it though the connection breaks, and by then things
    # may have changed back.
    turn.keep(sequence=number, activating=True)
    body = ActivateChannelsV1(
        version=1,
        client=stored.client,
        sequence=number,
        offers=turn.view.offers,
        circumstances=turn.view.network.circumstances,
    )
    turn.ask(Pending(ACTIVATE, digest, number), body)


def activated(turn: Turn, pending: Pending, answer: ChannelsActivatedV1) -> None:
    """Store what the server selected, and do what that asks for."""
    if pending.sequence != turn.stored.sequence:
        return  # a later activation is under way, and counts
    if not answer.applied:
        if turn.stored.sequence <= answer.sequence < MAX_SEQUENCE:
            turn.keep(sequence=answer.sequence)
        else:
            turn.hold(ACTIVATE, "")  # makes no sense; asking at once would loop
        return
    turn.keep(activated=pending.about, activating=False)
    _select(turn, answer)
    selected = {channel.type for channel in answer.selected}
    turn.keep(codes={k: v for k, v in turn.stored.codes.items() if k in selected})


def confirmed(turn: Turn, pending: Pending, answer: ChannelsActivatedV1) -> None:
    """The address is proved: store the updated set."""
    _used(turn, pending)
    # Otherwise a later activation is answered, or will be, and its set counts.
    if answer.sequence >= turn.stored.sequence:
        _select(turn, answer)


def refused(turn: Turn, pending: Pending, answer: RefusedV1) -> None:
    """An activation waits for the next occasion; a code that is not taken is of no more use."""
    if pending.name == CONFIRM:
        _used(turn, pending)
        turn.tell(Refused(CONFIRM, pending.about, answer.code, answer.message))
        return
    turn.hold(ACTIVATE, "")
    turn.tell(Refused(ACTIVATE, "", answer.code, answer.message))


def challenged(turn: Turn, channel: str, code: str) -> None:
    """A challenge came over a channel: it goes back once the channel is selected."""
    try:
        ConfirmChannelV1(version=1, client="cli_" + "a" * 26, channel=channel, code=code)
    except ValidationError:
        return  # no code of ours
    turn.keep(codes={**turn.stored.codes, channel: code})
    turn.release(CONFIRM, channel)
    turn.tell(ChallengeReceived(channel))


def confirm_due(turn: Turn) -> None:
    """Send codes back, of channels that the server selected."""
    client = turn.stored.client
    selected = {channel.type for channel in turn.stored.channels}
    for channel, code in turn.stored.codes.items():
        if client is None or channel not in selected or not turn.may_ask(CONFIRM, channel):
            continue
        under_way = turn.asking(CONFIRM, channel)
        if under_way is None or under_way.code != code:
            body = ConfirmChannelV1(version=1, client=client, channel=channel, code=code)
            turn.ask(Pending(CONFIRM, channel, code=code), body)


def closed_by_server(turn: Turn, closed: tuple[UnselectedChannel, ...]) -> None:
    """The server closed channels meanwhile; without any other one, offer them anew."""
    gone = {channel.type for channel in closed}
    if not gone:
        return
    turn.keep(channels=tuple(c for c in turn.stored.channels if c.type not in gone))
    for channel in closed:
        turn.tell(ChannelClosed(channel.type, channel.reason, channel.detail))
    if turn.stored.any_wanted:
        application_asked(turn)


def listen(turn: Turn) -> None:
    """Do what the selected channels need on the device, once."""
    wanted = {c.type for c in turn.stored.channels} & _NEEDS_LISTENING
    for channel in sorted(wanted - turn.view.started):
        turn.view = replace(turn.view, started=turn.view.started | {channel})
        turn.do(Listen(channel))


def _used(turn: Turn, pending: Pending) -> None:
    """Forget a code that was answered; a newer one of the same channel stays."""
    if turn.stored.codes.get(pending.about) == pending.code:
        turn.keep(codes={k: v for k, v in turn.stored.codes.items() if k != pending.about})


def _select(turn: Turn, answer: ChannelsActivatedV1) -> None:
    turn.keep(channels=answer.selected)
    turn.tell(
        Activated(
            active=tuple(c.type for c in answer.selected if c.state == "active"),
            pending=tuple(c.type for c in answer.selected if c.state == "pending"),
            not_selected=answer.not_selected,
        )
    )
    listen(turn)
