"""Everything that a decision looks at: what is stored, and what is true just now."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, Literal

from aoi_events.client.core.events import Refused
from aoi_events.client.core.state import Stored
from aoi_events.contracts.requests import ChannelOffer, Circumstances

__all__ = ["HANDLING_LIMIT", "Link", "Network", "Origin", "Pending", "Phase", "View"]

HANDLING_LIMIT: Final = 256
"""Notifications that apps are given but have not taken yet; what comes beyond is put off."""


@dataclass(frozen=True, slots=True)
class Network:
    """The network that the device has: circumstances for the server, and the local address.

    ``address`` never leaves the device; another one means that the old connection is dead.
    """

    circumstances: Circumstances = field(default_factory=Circumstances)
    address: str | None = None

    @property
    def usable(self) -> bool:
        """Whether a connection can be tried at all."""
        return self.circumstances.bearer != "none"

    def same_path(self, other: Network) -> bool:
        """Whether a connection made over this network still stands on the other."""
        return (self.circumstances.bearer, self.address) == (
            other.circumstances.bearer,
            other.address,
        )


class Phase(Enum):
    """Where the connection stands."""

    IDLE = auto()
    """There is none, and none is being made."""
    CONNECTING = auto()
    """One is being made, at once or after a pause."""
    OPEN = auto()
    """The socket is open, nobody has said hello."""
    GREETING = auto()
    """Hello was said."""
    WELCOMED = auto()
    """The session is open."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that waits for its answer: what it asks, about what, with which number or code.

    ``heard``: how many frames had come over the connection when it was sent. ``again``: the same
    was asked for anew meanwhile, which the answer does not know of.
    """

    name: str
    about: str
    sequence: int | None = None
    code: str | None = field(default=None, repr=False)
    heard: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """The connection. ``generation`` tells its events from those of earlier ones.

    ``failures`` counts connections that ended since the last welcome; ``held`` are requests that
    were refused and wait for another occasion; ``heard`` counts the frames that came. ``replaced``:
    the last one ended because another connection of this client took over, so the next one waits.
    """

    phase: Phase = Phase.IDLE
    generation: int = 0
    failures: int = 0
    next_id: int = 1
    in_flight: dict[int, Pending] = field(default_factory=dict)
    held: frozenset[tuple[str, str]] = frozenset()
    goodbye: int | None = None
    heard: int = 0
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """How a delivery came: the channel, and the attempt where the channel says it."""

    channel: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What a decision looks at.

    ``running`` are app instances with a handler; ``can_wake``: others can be tried to be woken.
    ``handling`` are the deliveries that apps are being given. ``refusals`` are the last refusals,
    by app instance. ``started`` are the channel types that listen already. ``assertion`` is the
    newest of the identity, kept nowhere else.
    """

    device: str
    identity: str | None
    offers: tuple[ChannelOffer, ...]
    register_on: Literal["install", "first_application"] = "first_application"
    can_wake: bool = False
    stored: Stored = field(default_factory=Stored)
    network: Network = field(default_factory=Network)
    link: Link = field(default_factory=Link)
    running: frozenset[str] = frozenset()
    handling: dict[str, tuple[Origin, ...]] = field(default_factory=dict)
    refusals: dict[str, Refused] = field(default_factory=dict)
    assertion: str | None = field(default=None, repr=False)
    started: frozenset[str] = frozenset()
    offered: str = ""
    """Names what the server should know of the channels: offers, circumstances, address. Made
    here where it is empty."""

    def __post_init__(self) -> None:
        if not self.offered:
            object.__setattr__(self, "offered", _named(self.offers, self.network))

    def offering(
        self, *, offers: tuple[ChannelOffer, ...] | None = None, network: Network | None = None
    ) -> View:
        """The view with other channels, or in another network."""
        offers = self.offers if offers is None else offers
        return replace(self, offers=offers, network=network or self.network, offered="")

    @property
    def connected(self) -> bool:
        """Whether the session is open."""
        return self.link.phase is Phase.WELCOMED


def _named(offers: tuple[ChannelOffer, ...], network: Network) -> str:
    parts = [
        [offer.model_dump(mode="json") for offer in offers],
        network.circumstances.model_dump(mode="json"),
        network.address,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
