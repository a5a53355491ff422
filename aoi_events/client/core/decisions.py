"""What an AOI Client does on each event: the whole rule book's table of contents.

``decide`` is pure: the same view, event and fresh secret give the same decision. Whoever carries it
out stores before everything else, so nothing goes out that a restart would not know of: above all
the secret of a registration (8.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, assert_never

from pydantic import ValidationError

from aoi_events.client.core import activation, applications, delivery, registration
from aoi_events.client.core import reconnect as connection
from aoi_events.client.core.effects import Effect
from aoi_events.client.core.events import Refused
from aoi_events.client.core.inputs import (
    ApplicationAsked,
    ApplicationLeft,
    ApplicationStopped,
    Closed,
    CodeEntered,
    Handled,
    IdentityChanged,
    Input,
    NetworkChanged,
    OffersChanged,
    Opened,
    PushArrived,
    Received,
    ReconnectAsked,
    ShortMessageArrived,
    Started,
    Unanswered,
)
from aoi_events.client.core.model import Pending, Phase, View
from aoi_events.client.core.transition import Turn
from aoi_events.contracts.answers import (
    ANSWERS,
    AnyAnswer,
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    ClientRegisteredV1,
    NotificationContentV1,
    RefusedV1,
)
from aoi_events.contracts.device import (
    AnswerFrame,
    GoodbyeFrame,
    NotificationFrame,
    ServerFrame,
    WakeUpFrame,
    WelcomeFrame,
)
from aoi_events.errors import ErrorCode

__all__ = ["Decision", "decide"]

_LATER: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL})
"""Refusals that a repeat after the usual time for an answer can mend."""
_SOMEBODY_WAITS: Final = frozenset({registration.REQUEST, applications.REGISTER})
"""Requests whose refusal for a quota goes to whoever asked; others wait, and are repeated."""
_UNKNOWN_CLIENT: Final = frozenset({ErrorCode.CLIENT_RETIRED, ErrorCode.UNAUTHENTICATED})


@dataclass(frozen=True, slots=True)
class Decision:
    """The view after an event, and what to do, in this order."""

    view: View
    effects: tuple[Effect, ...]


def decide(view: View, event: Input, *, fresh_secret: str) -> Decision:
    """Decide on one event.

    ``fresh_secret`` is 256 random bits that nobody has seen; it is used if a registration begins.
    """
    turn = Turn(view, fresh_secret)
    _react(turn, event)
    _settle(turn)
    return Decision(turn.view, turn.effects)


def _react(turn: Turn, event: Input) -> None:
    match event:
        case Started():
            activation.listen(turn)
        case ApplicationAsked(application, instance, sender_key):
            applications.asked(turn, application, instance, sender_key)
            activation.application_asked(turn)
        case ApplicationStopped(key):
            turn.view = replace(turn.view, running=turn.view.running - {key})
        case ApplicationLeft(key):
            applications.left(turn, key)
        case IdentityChanged(identity, assertion):
            turn.view = replace(turn.view, identity=identity, assertion=assertion)
        case NetworkChanged(network):
            connection.network_changed(turn, network)
            activation.changed(turn)
        case OffersChanged(offers):
            turn.view = turn.view.offering(offers=offers)
            activation.changed(turn)
        case CodeEntered(channel, code):
            activation.challenged(turn, channel, code)
        case ReconnectAsked():
            if turn.link.phase is Phase.CONNECTING:
                turn.close()
            turn.set_link(failures=0, replaced=False)
        case ShortMessageArrived(message, at):
            delivery.short_message(turn, message, at)
        case PushArrived(channel, octets):
            delivery.pushed(turn, channel, octets)
        case Handled(name, code):
            delivery.handled(turn, name, code)
        case Opened() | Received() | Closed() | Unanswered():
            # What an earlier connection still says came too late.
            if event.generation == turn.link.generation:
                _react_to_link(turn, event)
        case _:
            assert_never(event)


def _react_to_link(turn: Turn, event: Opened | Received | Closed | Unanswered) -> None:
    match event:
        case Opened():
            turn.set_link(phase=Phase.OPEN, replaced=False)
        case Received(frame=frame):
            _receive(turn, frame)
        case Closed():
            connection.closed(turn, event)
        case Unanswered(id=number):
            _unanswered(turn, number)
        case _:
            assert_never(event)


def _unanswered(turn: Turn, number: int) -> None:
    pending = turn.link.in_flight.get(number)
    if pending is None:
        return
    # A gateway answers in time, if only to say "later": without a word since, nobody is there.
    if turn.view.connected and turn.link.heard > pending.heard:
        _forget(turn, number)
    else:
        connection.lost(turn, f"no answer to {pending.name}")


def _receive(turn: Turn, frame: ServerFrame) -> None:
    turn.set_link(heard=turn.link.heard + 1)
    match frame:
        case WelcomeFrame():
            if turn.link.phase is Phase.GREETING:
                connection.welcomed(turn, frame)
                delivery.send_kept(turn)
        case AnswerFrame():
            pending = turn.link.in_flight.get(frame.id)
            if pending is not None:
                _answer(turn, frame, pending)
        case NotificationFrame():
            delivery.notified(turn, frame)
        case WakeUpFrame():
            delivery.woken(turn, frame)
        case GoodbyeFrame():
            turn.set_link(goodbye=frame.code)
        case _:
            assert_never(frame)


def _answer(turn: Turn, frame: AnswerFrame, pending: Pending) -> None:
    try:
        answer = ANSWERS[frame.name].model_validate(frame.body)
    except (KeyError, ValidationError):
        connection.lost(turn, f"an answer to {pending.name} that cannot be read")
        return
    if isinstance(answer, RefusedV1):
        # What is refused for a moment stays under way, until its time for an answer ends.
        busy = answer.code == ErrorCode.QUOTA_EXCEEDED and pending.name not in _SOMEBODY_WAITS
        if answer.code not in _LATER and not busy:
            _forget(turn, frame.id)
            _refuse(turn, pending, answer)
        return
    _forget(turn, frame.id)
    _accept(turn, pending, answer)


def _accept(turn: Turn, pending: Pending, answer: AnyAnswer) -> None:
    match pending.name, answer:
        case registration.REQUEST, ClientRegisteredV1():
            registration.answered(turn, answer)
        case applications.REGISTER, ApplicationRegisteredV1():
            applications.registered(turn, pending, answer)
        case applications.DEREGISTER, ApplicationDeregisteredV1():
            applications.deregistered(turn, pending, answer)
        case activation.ACTIVATE, ChannelsActivatedV1():
            activation.activated(turn, pending, answer)
        case activation.CONFIRM, ChannelsActivatedV1():
            activation.confirmed(turn, pending, answer)
        case delivery.FETCH, NotificationContentV1():
            delivery.fetched(turn, pending, answer)
        case _:
            connection.lost(turn, f"an answer that does not belong to {pending.name}")


def _refuse(turn: Turn, pending: Pending, answer: RefusedV1) -> None:
    if pending.name == registration.REQUEST:
        registration.refused(turn, answer)
    elif answer.code in _UNKNOWN_CLIENT:
        turn.tell(Refused(pending.name, pending.about, answer.code, answer.message))
        registration.renew(turn, f"the server refused the AOI Client ID: {answer.code}")
    elif pending.name in (applications.REGISTER, applications.DEREGISTER):
        applications.refused(turn, pending, answer)
    elif pending.name == delivery.FETCH:
        delivery.fetch_refused(turn, pending, answer)
    else:
        activation.refused(turn, pending, answer)


def _forget(turn: Turn, number: int) -> None:
    turn.set_link(in_flight={k: v for k, v in turn.link.in_flight.items() if k != number})


def _settle(turn: Turn) -> None:
    """Do whatever is due now; what is under way is not due."""
    registration.begin_if_due(turn)
    connection.open_if_due(turn)
    match turn.link.phase:
        case Phase.OPEN:
            registration.ask_or_greet(turn)
        case Phase.WELCOMED:
            applications.send_due(turn)
            activation.send_due(turn)
            activation.confirm_due(turn)
            delivery.fetch_due(turn)
        case _:
            pass
