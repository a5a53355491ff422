"""The connection: when to make one, how long to wait before, and what its end means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aoi_events.client.core import registration
from aoi_events.client.core.activation import closed_by_server
from aoi_events.client.core.events import Connected, Disconnected, NotificationsLost
from aoi_events.client.core.inputs import ConnectionClosed
from aoi_events.client.core.model import Network, Phase
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.client.core.transition import Transition
from aoi_events.contracts.device import CloseCode, WelcomeFrame
from aoi_events.contracts.identifiers import MAX_SESSION
from aoi_events.domain.retry import Backoff

_SHORTEST: Final = 0.001


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """Pauses before connecting again, in seconds: they double from ``first`` up to ``most``.

    ``replaced`` is the pause after another connection of the client took over. Each pause is
    shortened by up to half at random, so that devices that lost the same server at the same time
    come back at different times.
    """

    first: float = 1.0
    most: float = 120.0
    replaced: float = 900.0

    def __post_init__(self) -> None:
        """Refuse pauses that would let the client connect in a tight loop."""
        if not _SHORTEST <= self.first <= self.most:
            raise ValueError(
                f"first must be from {_SHORTEST} s to most ({self.most:g} s), not {self.first}"
            )
        if self.replaced < _SHORTEST:
            raise ValueError(f"replaced must be at least {_SHORTEST} s, not {self.replaced}")

    def pause(self, failures: int, jitter: float, *, replaced: bool = False) -> float:
        """Seconds before the next attempt, after so many ``failures``; ``jitter`` in [0, 1).

        ``replaced``: another connection of the client took over.
        """
        if replaced:
            return Backoff(first=self.replaced, ceiling=self.replaced).delay(0, jitter)
        if failures <= 0:
            return 0.0
        return Backoff(first=self.first, ceiling=self.most).delay(failures - 1, jitter)


def connect_if_due(transition: Transition) -> None:
    """Connect when there is a registration to make or to use, and a network."""
    wanted = transition.stored.credentials is not None and transition.model.network.usable
    if wanted and transition.connection.phase is Phase.IDLE:
        transition.connect()


def network_changed(transition: Transition, network: Network) -> None:
    """Take over the new network; without a network, or with another address, disconnect."""
    before = transition.model.network
    transition.model = transition.model.offering(network=network)
    if network.same_path(before):
        return
    was_connected = transition.model.connected
    transition.disconnect()
    if was_connected:
        transition.emit(Disconnected(None, "the network changed", reconnecting=network.usable))
    transition.update_connection(failures=0, replaced=False)


def welcomed(transition: Transition, frame: WelcomeFrame) -> None:
    """The server accepted the hello. A new connection needs no new activation."""
    transition.update_connection(phase=Phase.WELCOMED, failures=0, postponed=frozenset())
    if transition.stored.sequence < frame.sequence < MAX_SEQUENCE:
        transition.update_stored(sequence=frame.sequence)
    transition.emit(Connected(frame.client, frame.session, frame.epoch))
    if frame.lost:
        transition.update_stored(heard=frame.session[:MAX_SESSION])
        transition.emit(NotificationsLost(frame.lost))
    closed_by_server(transition, frame.closed)


def closed(transition: Transition, ending: ConnectionClosed) -> None:
    """The connection ended: connect again after a pause.

    The pause is long when another connection of the client took over, so that the two do not end
    each other in turn. It is not endless, since the server may have been wrong.
    """
    opened = transition.connection.phase is not Phase.CONNECTING
    code = ending.code if ending.code is not None else transition.connection.goodbye
    transition.update_connection(
        phase=Phase.IDLE,
        failures=transition.connection.failures + 1,
        in_flight={},
        replaced=code == CloseCode.REPLACED,
    )
    _emit_disconnected(transition, code, ending.reason, opened=opened)
    if code == CloseCode.RETIRED:
        registration.renew(transition, "the AOI Client ID was retired")
    elif code == CloseCode.UNAUTHENTICATED:
        registration.renew(
            transition, "the server does not know the AOI Client ID with this secret"
        )


def abandon(transition: Transition, reason: str) -> None:
    """End a connection that is open but does not work, and count it as a failure."""
    transition.disconnect()
    transition.update_connection(failures=transition.connection.failures + 1)
    _emit_disconnected(transition, None, reason)


def _emit_disconnected(
    transition: Transition, code: int | None, reason: str, *, opened: bool = True
) -> None:
    usable = transition.model.network.usable
    transition.emit(Disconnected(code, reason, reconnecting=usable, opened=opened))
