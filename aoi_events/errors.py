"""The whole error tree of aoi-events, and the stable codes that leave the system.

Three kinds must never be mixed up:

* :class:`Refusal`: a request from outside is wrong. It has a stable :class:`ErrorCode`, is the
  answer to that request, and affects no other.
* :class:`InfrastructureError`: the broker or the store cannot do its part now. Workers pause and
  try again; nothing is parked because of it.
* any other exception: a bug. The message that met it is retried alone and then parked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

DOCUMENTATION: Final = "https://github.com/aoi-events/aoi-events/blob/main/docs"
"""The address of the documentation, for messages that name a page of it."""


class ErrorCode(StrEnum):
    """Stable codes of refusals; once published, a code keeps its meaning."""

    MALFORMED = "malformed"
    """The bytes are not UTF-8 JSON, or are nested too deeply."""
    TOO_LARGE = "too_large"
    """The message is larger than a request may be."""
    VERSION_UNSUPPORTED = "version_unsupported"
    """The body names no version, or one that this server does not speak."""
    INVALID = "invalid"
    """A field is missing, unknown, of the wrong type or out of bounds."""
    UNKNOWN_REQUEST = "unknown_request"
    """No request has this routing key."""
    REPLY_TO_MISSING = "reply_to_missing"
    """The request assigns something and must say where the answer goes."""
    REPLY_TO_REFUSED = "reply_to_refused"
    """``reply_to`` names a queue that answers may not be written to."""
    SENDER_UNKNOWN = "sender_unknown"
    """The message carries no ``user_id`` that the broker validated."""
    NOT_ALLOWED = "not_allowed"
    """This sender may not ask for this."""
    GATEWAY_UNKNOWN = "gateway_unknown"
    """Only gateways may ask for this, and workers take this broker user for none: see
    ``AOI_GATEWAY_USERS``."""
    UNAUTHENTICATED = "unauthenticated"
    """There is no such AOI Client with that secret (which of the two is not disclosed)."""
    CLIENT_RETIRED = "client_retired"
    """The AOI Client ID was retired; register again."""
    TOKEN_FORGED = "token_forged"  # noqa: S105 - a code, not a password
    """The Application Client Token was not issued by this server."""
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a code, not a password
    """The Application Client Token is no longer valid."""
    CONFLICT = "conflict"
    """The same ID was used before with another body."""
    NOT_FOUND = "not_found"
    """Nothing of that ID exists for this sender."""
    QUOTA_EXCEEDED = "quota_exceeded"
    """A limit of this client, sender or installation is reached."""
    IDENTITY_UNPROVED = "identity_unproved"
    """This server wants a signed assertion of the user identity, and there is no valid one."""
    CHALLENGE_WRONG = "challenge_wrong"
    """The code is not the one that was sent to the address."""
    CHALLENGE_EXPIRED = "challenge_expired"
    """There is no open challenge for this channel."""
    CANCELLED = "cancelled"
    """The notification was withdrawn."""
    EXPIRED = "expired"
    """It is too late: the notification has expired or was settled."""
    UNAVAILABLE = "unavailable"
    """The server could not answer in time; repeat the request later."""
    INTERNAL = "internal"
    """A fault on our side; the message was parked for a person."""


class AoiError(Exception):
    """Base of every error that aoi-events raises on purpose."""


class Refusal(AoiError):
    """A request from outside is wrong.

    ``message`` says what is wrong and what to do about it, ``field`` where (a dotted path into
    the body). Neither ever holds a secret or a token.
    """

    def __init__(self, code: ErrorCode, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{code}: {message}" if field is None else f"{code} at {field}: {message}")
        self.code = code
        self.message = message
        self.field = field


class ConfigurationError(AoiError):
    """A setting cannot work; the message names it and what to set instead."""


@contextmanager
def naming(setting: str) -> Iterator[None]:
    """Put the name of this setting before the message of a ConfigurationError."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


class PolicyRefused(ConfigurationError):
    """A policy file cannot be used. ``faults``: pairs of a key and what is wrong with it, and what
    to do; the key is empty where it is the file as a whole.
    """

    def __init__(self, file: str, faults: Sequence[tuple[str, str]]) -> None:
        listed = "; ".join(f"{key}: {what}" if key else what for key, what in faults)
        super().__init__(f"policy file {file}: {listed}")
        self.faults = tuple(faults)


class InfrastructureError(AoiError):
    """The broker or the store cannot do its part now; trying later can succeed."""


class BrokerUnavailable(InfrastructureError):
    """The broker cannot be reached, or the connection was lost half-way."""


class PublishRefused(InfrastructureError):
    """The broker did not take responsibility for a message that must not be lost."""


class StoreUnavailable(InfrastructureError):
    """The store cannot be reached, or gave up the transaction (lost connection, deadlock)."""


class Overtaken(InfrastructureError):
    """Another worker changed the same rows first, which was noticed half-way; repeat the work."""


class ProviderUnavailable(InfrastructureError):
    """The provider of a channel (an SMSC, a push service) cannot be reached or refuses us."""


class RequestTimeout(AoiError):
    """No answer arrived in time; the request may still take effect, and may be repeated."""


class WaitTimeout(AoiError):
    """The notification did not reach the awaited state in time."""


class EndedOtherwise(AoiError):
    """The notification ended in another state than the awaited one."""


class UnexpectedAnswer(AoiError):
    """An answer arrived that this version cannot read as an answer to the request."""


class RequestRefused(AoiError):
    """The server refused a request; carries its stable code, message and field."""

    def __init__(self, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{code}: {message}" if field is None else f"{code} at {field}: {message}")
        self.code = code
        self.message = message
        self.field = field


class ClientStateError(AoiError):
    """The state file of an AOI Client cannot be read, written or locked."""


class ClientStopped(AoiError):
    """The AOI Client stopped before the awaited event."""


class ClientUnreachable(AoiError):
    """No AOI Client answers at the socket for apps; the message names the socket."""


class ConnectionLost(AoiError):
    """A device's connection ended or could not be made; ``code`` is the close code, if any came."""

    def __init__(self, reason: str, *, code: int | None = None) -> None:
        super().__init__(reason if code is None else f"{reason} (close code {code})")
        self.reason = reason
        self.code = code


class ApplicationNotRegistered(AoiError):
    """The app instance has no Application Client Token now; await its registration."""


class CouldNotWake(AoiError):
    """The app does not run and could not be started now; the AOI Server stores the notification."""


class PduError(AoiError):
    """A connectionless push cannot be read from, or written to, short messages."""


class MalformedPdu(PduError):
    """The octets, or the values to encode, break the rules of the format."""


class PduTooLarge(PduError):
    """The push does not fit the number of short messages allowed."""

    def __init__(self, octets: int, limit: int) -> None:
        super().__init__(f"{octets} octets do not fit the {limit} that there is room for")
        self.octets = octets
        self.limit = limit


class NotAPush(PduError):
    """The short message is no push: another port, another PDU or another application."""
