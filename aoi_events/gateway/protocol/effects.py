"""The effects of a session's inputs, as values.

:mod:`aoi_events.gateway.sockets.device_connection` performs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from aoi_events.contracts.envelopes import OutcomeItem
from aoi_events.contracts.identifiers import ClientId, ClientSecret


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text frame (UTF-8) to the device."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Admit:
    """Ask the workers whether the client has this secret.

    The session's next input about it is ``admitted`` or ``hello_refused``. ``heard`` is that of
    the device's hello.
    """

    client: ClientId
    secret: ClientSecret = field(repr=False)
    heard: str | None = None


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """Forward a device's request to the workers.

    The session's next input about it is ``answered`` or ``unanswered``. ``client`` is the AOI
    Client that the session has proved to be, None before its hello.
    """

    id: int
    name: str
    body: bytes = field(repr=False)
    client: ClientId | None = None


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """Report an outcome of a delivery to the outcome worker."""

    outcome: OutcomeItem


@dataclass(frozen=True, slots=True)
class EndPresence:
    """Report to the activation worker that the client's presence of this epoch ended."""

    client: ClientId
    epoch: int


@dataclass(frozen=True, slots=True)
class Close:
    """Send a close frame; an earlier frame may have explained it to the device."""

    code: int
    reason: str
    """For the close frame: at most 123 octets (RFC 6455, section 5.5)."""


Effect: TypeAlias = Send | Admit | ForwardRequest | ReportOutcome | EndPresence | Close
