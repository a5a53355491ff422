"""8.1.2, notification channel activation: when to offer channels, and how to prove them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from aoi_events.client.core.effects import Listen, OfferLater
from aoi_events.client.core.events import Activated, ChallengeReceived, ChannelClosed, Refused
from aoi_events.client.core.model import OfferPause, PendingRequest
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.client.core.transition import Transition
from aoi_events.contracts.answers import ChannelsActivatedV1, RefusedV1, UnselectedChannel
from aoi_events.contracts.requests import ActivateChannelsV1, ConfirmChannelV1
from aoi_events.contracts.states import CloseReason
from aoi_events.domain.retry import Backoff
from aoi_events.errors import ErrorCode

ACTIVATE: Final = "channel.activate"
CONFIRM: Final = "channel.confirm"
_NEEDS_LISTENING: Final = frozenset({"sms", "webhook", "webpush"})
"""Channels whose messages the device has to read; a WebSocket is read already."""
_LASTING: Final = frozenset(
    {
        CloseReason.DEACTIVATED,
        CloseReason.NOT_OFFERED,
        CloseReason.NO_SUCH_CHANNEL,
        CloseReason.OFFER_REFUSED,
        CloseReason.OTHERS_PREFERRED,
        # Two clients that both offer the address would take it from each other without end.
        CloseReason.TAKEN_OVER,
    }
)
"""Reasons for which the same offer would fail again: only another offer can succeed."""
_OFFER_AGAIN: Final = Backoff(first=120.0, ceiling=21_600.0)
"""Pauses between offers of a channel that does not become active, in seconds.

Each offer can cost the server a round of challenges: four rounds a day in the long run.
"""


def application_started(transition: Transition) -> None:
    """An app instance wants notifications: activate, if no channel is active or one was closed."""
    if not transition.stored.active or transition.stored.closed:
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
    if pending.about != transition.stored.activated:
        transition.update(offer_pause=OfferPause(transition.model.offer_pause.number))
    transition.update_stored(activated=pending.about, activating=False, closed=frozenset())
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
        if answer.code == ErrorCode.CHALLENGE_EXPIRED:
            _offer_again(transition)  # the code came too late, and only an offer causes another one
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
    """The server has named the channels that it closed; offer again those that may be opened.

    Also those that it closed or could not open before this contact. If no channel is active, all
    are offered, whatever the reasons.
    """
    gone = {channel.type for channel in closed}
    if gone:
        transition.update_stored(
            channels=tuple(c for c in transition.stored.channels if c.type not in gone),
            closed=_closed_now(transition, closed),
        )
    for channel in closed:
        transition.emit(ChannelClosed(channel.type, channel.reason, channel.detail))
    if transition.stored.closed or (gone and not transition.stored.active):
        _offer_again(transition)


def pause_before_offer(transition: Transition) -> None:
    """Begin a pause if a channel is not active that may become active; later it is offered again.

    A challenge without an answer is not reported while the device is connected: a channel that
    stays pending is offered again, too. So is everything after a refusal.
    """
    pause = transition.model.offer_pause
    if not _incomplete(transition):
        if pause.running or pause.repeats:
            transition.update(offer_pause=OfferPause(pause.number))
    elif not pause.running and (_refused(transition) or not transition.stored.activating):
        number = pause.number + 1
        transition.add(OfferLater(number, pause.repeats))
        transition.update(offer_pause=OfferPause(number, pause.repeats + 1, running=True))


def offer_due(transition: Transition, number: int) -> None:
    """A pause is over: offer the channels again, unless all became active meanwhile."""
    pause = transition.model.offer_pause
    if pause.running and pause.number == number:
        transition.update(offer_pause=replace(pause, running=False))
        if _incomplete(transition):
            _offer_again(transition)


def pause_before_repeat(repeats: int, jitter: float) -> float:
    """Seconds before channels are offered again, after so many repeats; ``jitter`` in [0, 1)."""
    return _OFFER_AGAIN.delay(repeats, jitter)


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


def _offer_again(transition: Transition) -> None:
    """Offer all channels, with a new number, if any app instance wants notifications."""
    if transition.stored.any_wanted:
        transition.update_stored(activating=True)
        transition.allow(ACTIVATE, "")


def _incomplete(transition: Transition) -> bool:
    """Whether a channel that was offered is not active, and may become active."""
    stored = transition.stored
    unproved = any(channel.state == "pending" for channel in stored.channels)
    return stored.any_wanted and bool(stored.closed or unproved or _refused(transition))


def _refused(transition: Transition) -> bool:
    """Whether the server refused the last offer, on this connection."""
    postponed = (ACTIVATE, "") in transition.connection.postponed
    return transition.stored.activating and postponed


def _closed_now(transition: Transition, named: tuple[UnselectedChannel, ...]) -> frozenset[str]:
    """The stored closed types, with those of ``named`` that another offer may open, and no others
    of ``named``.
    """
    offered = {offer.type for offer in transition.model.offers}
    may_open = {c.type for c in named if c.type in offered and c.reason not in _LASTING}
    return (transition.stored.closed - {c.type for c in named}) | may_open


def _select(transition: Transition, answer: ChannelsActivatedV1) -> None:
    selected = {channel.type for channel in answer.selected}
    transition.update_stored(
        channels=answer.selected,
        closed=_closed_now(transition, answer.not_selected) - selected,
    )
    transition.emit(
        Activated(
            active=tuple(c.type for c in answer.selected if c.state == "active"),
            pending=tuple(c.type for c in answer.selected if c.state == "pending"),
            not_selected=answer.not_selected,
        )
    )
    start_listening(transition)
