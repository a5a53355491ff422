"""The connection: when to make one, how long to wait before, and what its end means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aoi_events.client.core import registration
from aoi_events.client.core.activation import closed_by_server
from aoi_events.client.core.events import Connected, Disconnected, NotificationsLost
from aoi_events.client.core.inputs import Closed
from aoi_events.client.core.model import Network, Phase
from aoi_events.client.core.state import MAX_SEQUENCE
from aoi_events.client.core.transition import Turn
from aoi_events.contracts.device import CloseCode, WelcomeFrame
from aoi_events.contracts.identifiers import MAX_SESSION

__all__ = ["Backoff", "closed", "lost", "network_changed", "open_if_due", "pause", "welcomed"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before connecting again, in seconds: they double from ``first`` up to ``most``.

    ``replaced`` is the pause after another connection of the client took over. Each is cut by up to
    half at random, so that devices that lost the same server come back spread.
    """

    first: float = 1.0
    most: float = 120.0
    replaced: float = 900.0

    def __post_init__(self) -> None:
        """Refuse what would spin."""
        if not 0 < self.first <= self.most:
            raise ValueError(f"first must be above 0 and at most {self.most:g} s, not {self.first}")
        if self.replaced <= 0:
            raise ValueError(f"replaced must be above 0 s, not {self.replaced}")


_DOUBLINGS: Final = 30
"""Beyond it every pause is the longest; keeps the power small."""


def pause(backoff: Backoff, failures: int, jitter: float, *, replaced: bool = False) -> float:
    """Seconds to wait after so many failures, or after another connection took over; ``jitter`` is
    uniform in [0, 1).
    """
    if replaced:
        return backoff.replaced * (1 - jitter / 2)
    if failures <= 0:
        return 0.0
    full = min(backoff.most, backoff.first * 2.0 ** min(failures - 1, _DOUBLINGS))
    return full * (1 - jitter / 2)


def open_if_due(turn: Turn) -> None:
    """Connect when there is a registration to make or to use, and a network to do it over."""
    wanted = turn.stored.credentials is not None and turn.view.network.usable
    if wanted and turn.link.phase is Phase.IDLE:
        turn.open()


def network_changed(turn: Turn, network: Network) -> None:
    """A connection does not survive the loss of its network, or another address."""
    before = turn.view.network
    turn.view = turn.view.offering(network=network)
    if network.same_path(before):
        return
    had = turn.view.connected
    turn.close()
    if had:
        turn.tell(Disconnected(None, "the network changed", reconnecting=network.usable))
    turn.set_link(failures=0, replaced=False)


def welcomed(turn: Turn, frame: WelcomeFrame) -> None:
    """The session is open. Connecting again needs no new activation."""
    turn.set_link(phase=Phase.WELCOMED, failures=0, held=frozenset())
    if turn.stored.sequence < frame.sequence < MAX_SEQUENCE:
        turn.keep(sequence=frame.sequence)
    turn.tell(Connected(frame.client, frame.session, frame.epoch))
    if frame.lost:
        turn.keep(heard=frame.session[:MAX_SESSION])
        turn.tell(NotificationsLost(frame.lost))
    closed_by_server(turn, frame.closed)


def closed(turn: Turn, ending: Closed) -> None:
    """The connection ended: connect again after a pause.

    A long one when another connection of the client took over, so that two do not chase each other
    away; but not for ever, since the server may have been wrong.
    """
    code = ending.code if ending.code is not None else turn.link.goodbye
    turn.set_link(
        phase=Phase.IDLE,
        failures=turn.link.failures + 1,
        in_flight={},
        replaced=code == CloseCode.REPLACED,
    )
    turn.tell(Disconnected(code, ending.reason, reconnecting=turn.view.network.usable))
    if code == CloseCode.RETIRED:
        registration.renew(turn, "the AOI Client ID was retired")
    elif code == CloseCode.UNAUTHENTICATED:
        registration.renew(turn, "the server does not know the AOI Client ID with this secret")


def lost(turn: Turn, reason: str) -> None:
    """Give up a connection that stands but does not work."""
    turn.close()
    turn.set_link(failures=turn.link.failures + 1)
    turn.tell(Disconnected(None, reason, reconnecting=turn.view.network.usable))
