"""The model of the AOI Client: the stored state, and the state of network and connection."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, Literal

from aoi_events.client.core.events import Refused
from aoi_events.client.core.state import Origin, StoredState
from aoi_events.contracts.requests import ChannelOffer, Circumstances

HANDLING_LIMIT: Final = 256
"""Notifications that apps may handle at once; more are acknowledged as *could not wake*."""


@dataclass(frozen=True, slots=True)
class Network:
    """The network of the device: circumstances for the server, and the local address.

    ``address`` never leaves the device; another address means that the old connection is dead.
    """

    circumstances: Circumstances = field(default_factory=Circumstances)
    address: str | None = None

    @property
    def usable(self) -> bool:
        """Whether a connection can be tried at all."""
        return self.circumstances.bearer != "none"

    def same_path(self, other: Network) -> bool:
        """Whether a connection that was made over this network survives a change to ``other``."""
        return (self.circumstances.bearer, self.address) == (
            other.circumstances.bearer,
            other.address,
        )


class Phase(Enum):
    """The phase of the connection."""

    IDLE = auto()
    """There is no connection, and none is being made."""
    CONNECTING = auto()
    """A connection is being made, at once or after a pause."""
    OPEN = auto()
    """The socket is open; nothing was sent yet, or the registration."""
    GREETING = auto()
    """The hello was sent."""
    WELCOMED = auto()
    """The server has answered with welcome: the session is open."""


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A request in flight: its name, its subject, and its sequence number or code.

    ``frames_before`` is the number of frames that had come over the connection when it was sent.
    ``requested_again``: the app started again meanwhile, so the request has to be repeated.
    """

    name: str
    about: str
    sequence: int | None = None
    code: str | None = field(default=None, repr=False)
    frames_before: int = 0
    requested_again: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """The state of the connection. Its ``generation`` tells its inputs from those of earlier ones.

    ``failures`` counts connections that ended since the last welcome. ``postponed`` are refused
    requests (name and subject) that are sent after the next welcome, or when there is a new reason.
    ``replaced``: the last connection ended because another connection of this client took over, so
    the next one waits.
    """

    phase: Phase = Phase.IDLE
    generation: int = 0
    failures: int = 0
    next_id: int = 1
    in_flight: dict[int, PendingRequest] = field(default_factory=dict)
    postponed: frozenset[tuple[str, str]] = frozenset()
    goodbye: int | None = None
    frames_received: int = 0
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class OfferPause:
    """The pause before channels are offered again: its ``number``, and how many came before it.

    ``running``: the pause of this number is not over.
    """

    number: int = 0
    repeats: int = 0
    running: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that a decision depends on.

    ``running`` are app instances with a handler; ``can_wake``: other app instances can be woken.
    ``handling`` are the deliveries that apps are handling. ``refusals`` are the last refusals, by
    app instance. ``started`` are the channel types whose messages are read. ``assertion`` is the
    newest assertion of the identity; it is not stored.
    """

    device: str
    identity: str | None
    offers: tuple[ChannelOffer, ...]
    register_on: Literal["install", "first_application"] = "first_application"
    can_wake: bool = False
    stored: StoredState = field(default_factory=StoredState)
    network: Network = field(default_factory=Network)
    connection: ConnectionState = field(default_factory=ConnectionState)
    running: frozenset[str] = frozenset()
    handling: dict[str, tuple[Origin, ...]] = field(default_factory=dict)
    refusals: dict[str, Refused] = field(default_factory=dict)
    assertion: str | None = field(default=None, repr=False)
    started: frozenset[str] = frozenset()
    offer_pause: OfferPause = field(default_factory=OfferPause)
    offered: str = ""
    """Digest of what the server should know: offers, circumstances, address. Computed here."""

    def __post_init__(self) -> None:
        if not self.offered:
            object.__setattr__(self, "offered", _digest(self.offers, self.network))

    def offering(
        self, *, offers: tuple[ChannelOffer, ...] | None = None, network: Network | None = None
    ) -> Model:
        """The model with other offers, or in another network."""
        offers = self.offers if offers is None else offers
        return replace(self, offers=offers, network=network or self.network, offered="")

    @property
    def connected(self) -> bool:
        """Whether the session is open."""
        return self.connection.phase is Phase.WELCOMED


def _digest(offers: tuple[ChannelOffer, ...], network: Network) -> str:
    parts = [
        [offer.model_dump(mode="json") for offer in offers],
        network.circumstances.model_dump(mode="json"),
        network.address,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
