"""8.1.3, Application Client registration: which app instances the server has to know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from aoi_events.client.core.events import ApplicationDeregistered, ApplicationRegistered, Refused
from aoi_events.client.core.model import PendingRequest
from aoi_events.client.core.state import MAX_SEQUENCE, ApplicationRecord, application_key
from aoi_events.client.core.transition import Transition
from aoi_events.contracts.answers import (
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.requests import DeregisterApplicationV1, RegisterApplicationV1
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.errors import ErrorCode

REGISTER = "application.register"
DEREGISTER = "application.deregister"
_NO_SUCH_APPLICATION: Final = "no_such_application"


def started(
    transition: Transition, application: str, instance: str, sender_key: str | None = None
) -> None:
    """An app instance runs and wants notifications: register it, at each start anew.

    Another ``sender_key`` (None: unchanged) means another token, and the old token ends.
    """
    key = application_key(application, instance)
    known = transition.stored.applications.get(key)
    record = known or ApplicationRecord(application, instance, wanted=True, due=True)
    if sender_key not in (None, record.sender_key):
        # The number rises, so that an answer for the old key is ignored.
        number = min(record.sequence + 1, MAX_SEQUENCE)
        record = replace(record, sender_key=sender_key, token=None, sequence=number)
    transition.update_application(replace(record, wanted=True, due=True))
    transition.update(
        running=transition.model.running | {key},
        refusals={k: v for k, v in transition.model.refusals.items() if k != key},
    )
    transition.allow(REGISTER, key)
    # The server may have handled a request in flight before it stored notifications for this start.
    transition.update_connection(
        in_flight={
            number: replace(pending, requested_again=True)
            if (pending.name, pending.about) == (REGISTER, key)
            else pending
            for number, pending in transition.connection.in_flight.items()
        }
    )


def removed(transition: Transition, key: str) -> None:
    """An app instance ends its registration; its token is void at once."""
    transition.update(running=transition.model.running - {key})
    known = transition.stored.applications.get(key)
    if known is None:
        return
    # Without credentials the server cannot know the app instance.
    due = transition.stored.credentials is not None
    transition.update_application(
        replace(known, wanted=False, due=due, token=None, sender_key=None)
    )
    transition.allow(DEREGISTER, key)


def send_due(transition: Transition) -> None:
    """Register and deregister app instances whose state the server does not know yet."""
    client = transition.stored.client
    if client is None:
        return
    for key, record in transition.stored.applications.items():
        name = REGISTER if record.wanted else DEREGISTER
        if not record.due or not transition.may_request(name, key):
            continue
        in_flight = transition.request_in_flight(name, key)
        if in_flight is not None and in_flight.sequence == record.sequence:
            continue
        if record.sequence >= MAX_SEQUENCE:
            transition.postpone(name, key)
            continue
        number = record.sequence + 1
        transition.update_application(replace(record, sequence=number))
        transition.request(PendingRequest(name, key, number), _request(client, record, number))


def _request(
    client: str, record: ApplicationRecord, number: int
) -> RegisterApplicationV1 | DeregisterApplicationV1:
    names: dict[str, Any] = {
        "client": client,
        "application": record.application,
        "instance": record.instance,
        "sequence": number,
    }
    if record.wanted:
        return RegisterApplicationV1(version=1, **names, sender_key=record.sender_key)
    return DeregisterApplicationV1(version=1, **names)


def registered(
    transition: Transition, pending: PendingRequest, answer: ApplicationRegisteredV1
) -> None:
    """Store the token, unless a later command of the app instance was sent meanwhile."""
    record = transition.stored.applications.get(pending.about)
    if record is None or record.sequence != pending.sequence or not record.wanted:
        return
    if not answer.applied:
        _adopt_sequence(transition, record, REGISTER, answer.sequence)
    elif answer.token is not None:
        transition.update_application(
            replace(record, token=answer.token, due=pending.requested_again)
        )
        _forget_unknown_tokens(transition)
        fingerprint = fingerprint_of(answer.token)
        changed = answer.token != record.token
        transition.emit(
            ApplicationRegistered(record.application, record.instance, fingerprint, changed)
        )
    else:
        transition.postpone(REGISTER, record.key)


def _forget_unknown_tokens(transition: Transition) -> None:
    """Forget *no such application*: those notifications may be for the app that registered now.

    A repeat is delivered then, and a pending acknowledgement becomes *could not wake*.
    """
    seen, acks = transition.stored.seen, transition.stored.acks
    if any(code == _NO_SUCH_APPLICATION for code in seen.values()):
        transition.update_stored(
            seen={id_: code for id_, code in seen.items() if code != _NO_SUCH_APPLICATION}
        )
    if any(ack.code == _NO_SUCH_APPLICATION for ack in acks.values()):
        transition.update_stored(
            acks={
                id_: ack.model_copy(update={"code": "could_not_wake"})
                if ack.code == _NO_SUCH_APPLICATION
                else ack
                for id_, ack in acks.items()
            }
        )


def deregistered(
    transition: Transition, pending: PendingRequest, answer: ApplicationDeregisteredV1
) -> None:
    """The server confirmed that the registration of the app instance ended."""
    record = transition.stored.applications.get(pending.about)
    if record is None or record.sequence != pending.sequence or record.wanted:
        return
    if not answer.applied:
        _adopt_sequence(transition, record, DEREGISTER, answer.sequence)
        return
    transition.update_application(replace(record, due=False))
    transition.emit(ApplicationDeregistered(record.application, record.instance))


def refused(transition: Transition, pending: PendingRequest, answer: RefusedV1) -> None:
    """Postpone a refused request until the next connection, or until the app starts again.

    A deregistration of an app instance that the server does not know is complete.
    """
    record = transition.stored.applications.get(pending.about)
    if (
        pending.name == DEREGISTER
        and answer.code == ErrorCode.NOT_FOUND
        and record is not None
        and not record.wanted
    ):
        transition.update_application(replace(record, due=False))
        transition.emit(ApplicationDeregistered(record.application, record.instance))
        return
    refusal = Refused(pending.name, pending.about, answer.code, answer.message)
    transition.postpone(pending.name, pending.about)
    transition.update(refusals={**transition.model.refusals, pending.about: refusal})
    transition.emit(refusal)


def _adopt_sequence(
    transition: Transition, record: ApplicationRecord, name: str, theirs: int
) -> None:
    """Go on with the number that the server has stored, which is not below ours."""
    if not record.sequence <= theirs < MAX_SEQUENCE:
        transition.postpone(name, record.key)  # an impossible number; repeating would loop
        return
    transition.update_application(replace(record, sequence=theirs))
