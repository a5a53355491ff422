"""8.1.3, Application Client registration (empty in the seed; the design fills it in)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aoi_events.client.core.events import ApplicationDeregistered, ApplicationRegistered, Refused
from aoi_events.client.core.model import Pending
from aoi_events.client.core.state import MAX_SEQUENCE, ApplicationRecord, application_key
from aoi_events.client.core.transition import Turn
from aoi_events.contracts.answers import (
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.requests import DeregisterApplicationV1, RegisterApplicationV1
from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.errors import ErrorCode

__all__ = ["REGISTER", "asked", "deregistered", "left", "refused", "registered", "send_due"]

REGISTER = "application.register"
DEREGISTER = "application.deregister"
_NOBODY: Final = "no_such_application"


def asked(turn: Turn, application: str, instance: str, sender_key: str | None = None) -> None:
    """An app instance runs and wants notifications; said to the server each time that it starts.

    Another ``sender_key`` (None: as it was) means another token, and the old one ends.
    """
    key = application_key(application, instance)
    known = turn.stored.applications.get(key)
    record = known or ApplicationRecord(application, instance, wanted=True, due=True)
    if sender_key not in (None, record.sender_key):
        # Counted, so that what is under way for the old key is of no account any more.
        number = min(record.sequence + 1, MAX_SEQUENCE)
        record = replace(record, sender_key=sender_key, token=None, sequence=number)
    turn.keep_application(replace(record, wanted=True, due=True))
    turn.view = replace(
        turn.view,
        running=turn.view.running | {key},
        refusals={k: v for k, v in turn.view.refusals.items() if k != key},
    )
    turn.release(REGISTER, key)
    # The server may have carried out what is under way before it stored what waits for this start.
    turn.set_link(
        in_flight={
            number: replace(pending, again=True)
            if (pending.name, pending.about) == (REGISTER, key)
            else pending
            for number, pending in turn.link.in_flight.items()
        }
    )


def left(turn: Turn, key: str) -> None:
    """An app instance gives its registration up; its token is void at once."""
    turn.view = replace(turn.view, running=turn.view.running - {key})
    known = turn.stored.applications.get(key)
    if known is None:
        return
    # Without an AOI Client ID there is nothing at the server to end, unless a request is under way.
    due = turn.stored.credentials is not None
    turn.keep_application(replace(known, wanted=False, due=due, token=None, sender_key=None))
    turn.release(DEREGISTER, key)


def send_due(turn: Turn) -> None:
    """Tell the server what it does not know yet of app instances."""
    client = turn.stored.client
    if client is None:
        return
    for key, record in turn.stored.applications.items():
        name = REGISTER if record.wanted else DEREGISTER
        if not record.due or not turn.may_ask(name, key):
            continue
        under_way = turn.asking(name, key)
        if under_way is not None and under_way.sequence == record.sequence:
            continue
        if record.sequence >= MAX_SEQUENCE:
            turn.hold(name, key)
            continue
        number = record.sequence + 1
        turn.keep_application(replace(record, sequence=number))
        turn.ask(Pending(name, key, number), _request(client, record, number))


def _request(
    client: str, record: ApplicationRecord, number: int
) -> RegisterApplicationV1 | DeregisterApplicationV1:
    if record.wanted:
        return RegisterApplicationV1(
            version=1,
            client=client,
            application=record.application,
            instance=record.instance,
            sequence=number,
            sender_key=record.sender_key,
        )
    return DeregisterApplicationV1(
        version=1,
        client=client,
        application=record.application,
        instance=record.instance,
        sequence=number,
    )


def registered(turn: Turn, pending: Pending, answer: ApplicationRegisteredV1) -> None:
    """Keep the token, unless the app has changed its mind meanwhile."""
    record = turn.stored.applications.get(pending.about)
    if record is None or record.sequence != pending.sequence or not record.wanted:
        return
    if not answer.applied:
        _go_above(turn, record, REGISTER, answer.sequence)
    elif answer.token is not None:
        turn.keep_application(replace(record, token=answer.token, due=pending.again))
        _forget_nobody(turn)
        fingerprint = fingerprint_of(answer.token)
        changed = answer.token != record.token
        turn.tell(ApplicationRegistered(record.application, record.instance, fingerprint, changed))
    else:
        turn.hold(REGISTER, record.key)


def _forget_nobody(turn: Turn) -> None:
    """What reached nobody before may be for the app that registered: a repeat is not answered from
    memory, and what was not said yet is not said any more.
    """
    seen, acks = turn.stored.seen, turn.stored.acks
    if any(code == _NOBODY for code in seen.values()):
        turn.keep(seen={id_: code for id_, code in seen.items() if code != _NOBODY})
    if any(ack.code == _NOBODY for ack in acks.values()):
        turn.keep(
            acks={
                id_: replace(ack, code="could_not_wake") if ack.code == _NOBODY else ack
                for id_, ack in acks.items()
            }
        )


def deregistered(turn: Turn, pending: Pending, answer: ApplicationDeregisteredV1) -> None:
    """The server knows that the app instance is gone."""
    record = turn.stored.applications.get(pending.about)
    if record is None or record.sequence != pending.sequence or record.wanted:
        return
    if not answer.applied:
        _go_above(turn, record, DEREGISTER, answer.sequence)
        return
    turn.keep_application(replace(record, due=False))
    turn.tell(ApplicationDeregistered(record.application, record.instance))


def refused(turn: Turn, pending: Pending, answer: RefusedV1) -> None:
    """Not asked again before the next connection, or before the app asks again.

    What the server does not know has ended there, so there is nothing left to deregister.
    """
    record = turn.stored.applications.get(pending.about)
    if (
        pending.name == DEREGISTER
        and answer.code == ErrorCode.NOT_FOUND
        and record is not None
        and not record.wanted
    ):
        turn.keep_application(replace(record, due=False))
        turn.tell(ApplicationDeregistered(record.application, record.instance))
        return
    refusal = Refused(pending.name, pending.about, answer.code, answer.message)
    turn.hold(pending.name, pending.about)
    turn.view = replace(turn.view, refusals={**turn.view.refusals, pending.about: refusal})
    turn.tell(refusal)


def _go_above(turn: Turn, record: ApplicationRecord, name: str, theirs: int) -> None:
    if not record.sequence <= theirs < MAX_SEQUENCE:
        turn.hold(name, record.key)  # an answer that makes no sense; asking at once would loop
        return
    turn.keep_application(replace(record, sequence=theirs))
