"""The replies to a browser's commands, made of the workers' answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from aoi_events.contracts.answers import (
    ANSWERS,
    AnyAnswer,
    ApplicationDeregisteredV1,
    ApplicationRegisteredV1,
    RefusedV1,
)
from aoi_events.contracts.webpush import (
    RegisterMessage,
    RegisterReply,
    UnregisterMessage,
    UnregisterReply,
)
from aoi_events.errors import ErrorCode

Command = RegisterMessage | UnregisterMessage
"""A message of a browser that the workers answer."""

_OK: Final = 200
_STATUSES: Final[Mapping[str, int]] = {
    ErrorCode.INVALID: 400,
    ErrorCode.IDENTITY_UNPROVED: 403,
    ErrorCode.CONFLICT: 409,
    ErrorCode.CLIENT_RETIRED: 410,
    ErrorCode.UNAUTHENTICATED: 410,
    ErrorCode.QUOTA_EXCEEDED: 429,
    ErrorCode.UNAVAILABLE: 503,
}
"""Status of a reply by the code of a refusal; 500 for any other."""
_FAULT: Final = 500


def read_answer(name: str | None, body: bytes) -> AnyAnswer | None:
    """Decode the answer of a worker; None when it cannot be read."""
    try:
        return ANSWERS[name or ""].decode(body)
    except (KeyError, ValidationError):
        return None


def reply(command: Command, answer: AnyAnswer | None, *, endpoints: str) -> bytes:
    """Encode the reply to a command; each endpoint's URL begins with ``endpoints``."""
    if isinstance(answer, RefusedV1):
        # A subscription that does not exist counts as unregistered.
        if isinstance(command, UnregisterMessage) and answer.code == ErrorCode.NOT_FOUND:
            return UnregisterReply(channel=command.channel, status=_OK).encode()
        return refusal_reply(command, answer.code)
    match command, answer:
        case RegisterMessage(), ApplicationRegisteredV1() if answer.token is not None:
            endpoint = endpoints + answer.token
            return RegisterReply(channel=command.channel, status=_OK, endpoint=endpoint).encode()
        case UnregisterMessage(), ApplicationDeregisteredV1() if answer.applied:
            return UnregisterReply(channel=command.channel, status=_OK).encode()
        case _, ApplicationRegisteredV1() | ApplicationDeregisteredV1():
            return refusal_reply(command, ErrorCode.CONFLICT)
        case _:
            return refusal_reply(command, ErrorCode.INTERNAL)


def refusal_reply(command: Command, code: str) -> bytes:
    """Encode the reply to a command that was refused with ``code``."""
    status = _STATUSES.get(code, _FAULT)
    if isinstance(command, UnregisterMessage):
        return UnregisterReply(channel=command.channel, status=status).encode()
    return RegisterReply(channel=command.channel, status=status).encode()
