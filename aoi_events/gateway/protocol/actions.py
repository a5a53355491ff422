"""What a session wants done, as values; :mod:`aoi_events.gateway.sockets.connection` does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from aoi_events.contracts.envelopes import OutcomeItem
from aoi_events.contracts.identifiers import ClientId, ClientSecret

__all__ = ["Action", "Admit", "Ask", "Close", "Leave", "Report", "Send"]


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text frame (UTF-8) to the device."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Admit:
    """Ask whether this client has this secret; tell the session ``admitted`` or ``turned_away``.

    ``heard`` as in a device's hello.
    """

    client: ClientId
    secret: ClientSecret
    heard: str | None = None

    def __repr__(self) -> str:
        return f"Admit(client={self.client!r}, secret='…')"


@dataclass(frozen=True, slots=True)
class Ask:
    """Put a device's request to the workers; tell the session ``answered`` or ``unanswered``.

    ``client`` is the one that the session proved, None before its hello.
    """

    id: int
    name: str
    body: bytes
    client: ClientId | None = None

    def __repr__(self) -> str:
        return f"Ask(id={self.id}, name={self.name!r}, client={self.client!r}, body='…')"


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the outcome worker."""

    outcome: OutcomeItem


@dataclass(frozen=True, slots=True)
class Leave:
    """Tell the activation worker that presence of this epoch ended."""

    client: ClientId
    epoch: int


@dataclass(frozen=True, slots=True)
class Close:
    """Send a close frame; a frame that says why may have gone before it."""

    code: int
    reason: str
    """For the close frame: at most 123 octets (RFC 6455, section 5.5)."""


Action: TypeAlias = Send | Admit | Ask | Report | Leave | Close
