"""The decisions of the AOI Client: from an input to a transition of the model, with effects.

`decide` is pure: the same model, input and fresh secret give the same transition. The caller
carries the effects out in their order. Save comes first, so that nothing is sent that a restart
would not know of; above all the secret of a registration (8.1.1).
"""

from __future__ import annotations

from typing import Final, assert_never

from pydantic import ValidationError

from aoi_events.client.core import activation, applications, delivery, reconnect, registration
from aoi_events.client.core.events import Refused
from aoi_events.client.core.inputs import (
    ApplicationRemoved,
    ApplicationStarted,
    ApplicationStopped,
    ClientStarted,
    CodeEntered,
    ConnectionClosed,
    ConnectionOpened,
    FrameReceived,
    IdentityChanged,
    Input,
    NetworkChanged,
    NotificationHandled,
    OfferDue,
    OffersChanged,
    PushArrived,
    ReconnectRequested,
    RequestTimedOut,
    ShortMessageArrived,
)
from aoi_events.client.core.model import Model, PendingRequest, Phase
from aoi_events.client.core.transition import Transition
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

_TEMPORARY: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL})
"""Refusals after which the request is repeated when its time for an answer is over."""
_CALLER_WAITS: Final = frozenset({registration.REQUEST, applications.REGISTER})
"""Requests whose refusal for a quota is reported to the caller; others are repeated."""
_UNKNOWN_CLIENT: Final = frozenset({ErrorCode.CLIENT_RETIRED, ErrorCode.UNAUTHENTICATED})


def decide(model: Model, cause: Input, *, fresh_secret: str) -> Transition:
    """The transition that an input causes.

    ``fresh_secret`` is 256 random bits that were never used; it is used if a registration begins.
    """
    transition = Transition(model, fresh_secret)
    _react(transition, cause)
    _do_what_is_due(transition)
    return transition


def _react(transition: Transition, cause: Input) -> None:
    match cause:
        case ClientStarted():
            activation.start_listening(transition)
        case ApplicationStarted(application, instance, sender_key):
            applications.started(transition, application, instance, sender_key)
            activation.application_started(transition)
        case ApplicationStopped(key):
            transition.update(running=transition.model.running - {key})
        case ApplicationRemoved(key):
            applications.removed(transition, key)
        case IdentityChanged(identity, assertion):
            transition.update(identity=identity, assertion=assertion)
        case NetworkChanged(network):
            reconnect.network_changed(transition, network)
            transition.allow(activation.ACTIVATE, "")
        case OffersChanged(offers):
            transition.model = transition.model.offering(offers=offers)
            transition.allow(activation.ACTIVATE, "")
        case CodeEntered(channel, code):
            activation.challenge_received(transition, channel, code)
        case OfferDue(number):
            activation.offer_due(transition, number)
        case ReconnectRequested():
            if transition.connection.phase is Phase.CONNECTING:
                transition.disconnect()
            transition.update_connection(failures=0, replaced=False)
        case ShortMessageArrived(message, at):
            delivery.short_message_received(transition, message, at)
        case PushArrived(channel, octets):
            delivery.push_received(transition, channel, octets)
        case NotificationHandled(name, code):
            delivery.notification_handled(transition, name, code)
        case ConnectionOpened() | FrameReceived() | ConnectionClosed() | RequestTimedOut() if (
            cause.generation != transition.connection.generation
        ):
            pass  # an input of an earlier connection comes too late
        case ConnectionOpened():
            transition.update_connection(phase=Phase.OPEN, replaced=False)
        case FrameReceived(frame=frame):
            _receive(transition, frame)
        case ConnectionClosed():
            reconnect.closed(transition, cause)
        case RequestTimedOut(id=number):
            _request_timed_out(transition, number)
        case _:
            assert_never(cause)


def _request_timed_out(transition: Transition, number: int) -> None:
    pending = transition.connection.in_flight.get(number)
    if pending is None:
        return
    # A gateway answers in time, at least with a temporary refusal. If no frame at all came since
    # the request was sent, the connection is dead.
    alive = transition.connection.frames_received > pending.frames_before
    if transition.model.connected and alive:
        _remove_in_flight(transition, number)
    else:
        reconnect.abandon(transition, f"no answer to {pending.name}")


def _receive(transition: Transition, frame: ServerFrame) -> None:
    transition.update_connection(frames_received=transition.connection.frames_received + 1)
    match frame:
        case WelcomeFrame():
            if transition.connection.phase is Phase.GREETING:
                reconnect.welcomed(transition, frame)
                delivery.send_pending_acks(transition)
        case AnswerFrame():
            pending = transition.connection.in_flight.get(frame.id)
            if pending is not None:
                _answer(transition, frame, pending)
        case NotificationFrame() | WakeUpFrame():
            delivery.frame_received(transition, frame)
        case GoodbyeFrame():
            transition.update_connection(goodbye=frame.code)
        case _:
            assert_never(frame)


def _answer(transition: Transition, frame: AnswerFrame, pending: PendingRequest) -> None:
    try:
        answer = ANSWERS[frame.name].model_validate(frame.body)
    except (KeyError, ValidationError):
        reconnect.abandon(transition, f"an answer to {pending.name} that cannot be read")
        return
    if isinstance(answer, RefusedV1):
        # A temporary refusal leaves the request in flight, until its time for an answer is over.
        busy = answer.code == ErrorCode.QUOTA_EXCEEDED and pending.name not in _CALLER_WAITS
        if answer.code not in _TEMPORARY and not busy:
            _remove_in_flight(transition, frame.id)
            _refuse(transition, pending, answer)
        return
    _remove_in_flight(transition, frame.id)
    _accept(transition, pending, answer)


def _accept(transition: Transition, pending: PendingRequest, answer: AnyAnswer) -> None:
    match pending.name, answer:
        case registration.REQUEST, ClientRegisteredV1():
            registration.accepted(transition, answer)
        case applications.REGISTER, ApplicationRegisteredV1():
            applications.registered(transition, pending, answer)
        case applications.DEREGISTER, ApplicationDeregisteredV1():
            applications.deregistered(transition, pending, answer)
        case activation.ACTIVATE, ChannelsActivatedV1():
            activation.activated(transition, pending, answer)
        case activation.CONFIRM, ChannelsActivatedV1():
            activation.confirmed(transition, pending, answer)
        case delivery.FETCH, NotificationContentV1():
            delivery.content_fetched(transition, pending, answer)
        case _:
            reconnect.abandon(transition, f"an answer that does not belong to {pending.name}")


def _refuse(transition: Transition, pending: PendingRequest, answer: RefusedV1) -> None:
    if pending.name == registration.REQUEST:
        registration.refused(transition, answer)
    elif answer.code in _UNKNOWN_CLIENT:
        transition.emit(Refused(pending.name, pending.about, answer.code, answer.message))
        registration.renew(transition, f"the server refused the AOI Client ID: {answer.code}")
    elif pending.name in (applications.REGISTER, applications.DEREGISTER):
        applications.refused(transition, pending, answer)
    elif pending.name == delivery.FETCH:
        delivery.fetch_refused(transition, pending, answer)
    else:
        activation.refused(transition, pending, answer)


def _remove_in_flight(transition: Transition, number: int) -> None:
    left = {k: v for k, v in transition.connection.in_flight.items() if k != number}
    transition.update_connection(in_flight=left)


def _do_what_is_due(transition: Transition) -> None:
    """Start what is due now; a request in flight is not due again."""
    registration.begin_if_due(transition)
    reconnect.connect_if_due(transition)
    match transition.connection.phase:
        case Phase.OPEN:
            registration.send_request_or_hello(transition)
        case Phase.WELCOMED:
            applications.send_due(transition)
            activation.send_due(transition)
            activation.send_codes(transition)
            activation.pause_before_offer(transition)
            delivery.fetch_due(transition)
        case _:
            pass
