"""Notification channels of a client, the traits of channel types, and proofs of addresses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from aoi_events.contracts.states import CloseReason

if TYPE_CHECKING:
    from aoi_events.contracts.content import Content

_LONGEST_DETAIL: Final = 200
_LONGEST_ADDRESS: Final = 512
_DIGEST: Final = "sha256:"

Parameters = dict[str, str | int | bool]
"""The parameters of an offer, checked and normalised by its channel."""


class ChannelState(StrEnum):
    """The state of a client's channel."""

    ACTIVE = "active"
    PENDING = "pending"
    """Waits for the proof of its address."""
    CLOSED = "closed"
    """Ended by the server or the client; ``reason`` says why, ``detail`` the provider's words."""


def address_key(address: str) -> str:
    """The address as rows name it: the address itself, or its digest if it is long.

    Databases limit the entries of their indexes: PostgreSQL to some 2,700 octets.
    """
    octets = address.encode()
    if len(octets) <= _LONGEST_ADDRESS and not address.startswith(_DIGEST):
        return address
    return _DIGEST + hashlib.sha256(octets).hexdigest()


@dataclass(frozen=True, slots=True)
class Channel:
    """A notification channel of one client; at most one per type.

    ``rank``: 0 is best. ``address`` is the one to prove, by its :func:`address_key`.
    """

    client: str
    type: str
    state: ChannelState
    rank: int
    parameters: Parameters = field(default_factory=dict)
    largest_content: int | None = None
    address: str | None = None
    reason: CloseReason | None = None
    detail: str | None = None
    changed_at: datetime | None = None

    @property
    def usable(self) -> bool:
        """Whether deliveries may use the channel."""
        return self.state is ChannelState.ACTIVE

    def closed(self, reason: CloseReason, now: datetime, detail: str | None = None) -> Channel:
        """The channel, closed because of ``reason``."""
        return replace(
            self,
            state=ChannelState.CLOSED,
            reason=reason,
            detail=None if detail is None else detail[:_LONGEST_DETAIL],
            changed_at=now,
        )


def octets_of(content: Content) -> int:
    """The size of the content in octets."""
    return len(content.octets())


def one_message(content: Content) -> int:
    """The default for ``messages``: a content of any size takes one message."""
    return 1


@dataclass(frozen=True, slots=True)
class ChannelTraits:
    """The properties of a channel type as values, so that decisions stay pure.

    ``ack_within`` seconds per attempt; ``largest_content`` octets; ``needs_proof``: its address
    must be proved with a challenge; ``cost`` per message, in any one unit. ``measure``: octets that
    a content takes on this channel, including its media type where that takes some; pure. Content
    that takes more than ``largest_content`` becomes a wake-up. ``messages``: how many messages a
    content takes, each at that ``cost``; a wake-up takes one. ``uses_data``: a message costs the
    device data and radio time, as everything over its data connection does.
    """

    type: str
    connection_oriented: bool
    ack_within: float
    largest_content: int | None = None
    needs_proof: bool = False
    cost: float = 0.0
    measure: Callable[[Content], int] = octets_of
    messages: Callable[[Content], int] = one_message
    uses_data: bool = True


class ProofState(StrEnum):
    """Whether a device has proved that it receives at an address."""

    OPEN = "open"
    """A challenge is out."""
    PROVED = "proved"
    FAILED = "failed"
    """Given up, or taken over by another client."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof that a client receives at an address, which is named by its :func:`address_key`.

    ``deadline``: when it is due again.
    ``sent`` counts the challenges of the present round, ``wrong`` its wrong codes.
    """

    client: str
    channel: str
    address: str
    state: ProofState
    sent: int
    wrong: int
    opened_at: datetime
    deadline: datetime | None
    proved_at: datetime | None = None
    proved_until: datetime | None = None

    def failed(self) -> Proof:
        """The proof, given up, or taken over by another client."""
        return replace(self, state=ProofState.FAILED, deadline=None)
