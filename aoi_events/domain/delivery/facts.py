"""What can happen to a delivery, and what must be done because of it: values, both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Step

__all__ = [
    "Announce",
    "Cancelled",
    "CloseChannel",
    "DeadlineReached",
    "Decision",
    "Effect",
    "Fact",
    "Failed",
    "LosePresence",
    "Planned",
    "Replaced",
    "Reported",
    "RevokeToken",
    "StartStep",
]

# --- facts --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planned:
    """The channels that can be used now were looked up: at acceptance, or because of a release.

    ``returns``: how often the client had come back by then.
    """

    steps: tuple[Step, ...]
    returns: int = 0


@dataclass(frozen=True, slots=True)
class Reported:
    """An outcome of a step, or of the delivery as a whole when a device says so.

    ``returns``: how often the client had come back when this was merged, where that is known.
    """

    kind: OutcomeKind
    at: datetime
    step: int | None = None
    attempt: int | None = None
    channel: str | None = None
    detail: str = ""
    retry_after: float = 0.0
    closes_channel: bool = False
    epoch: int | None = None
    returns: int = 0


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """Somebody looks again because it is time."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The sender withdrew the notification."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """The sender sent a newer notification of the same topic to the same token."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It can never be delivered: the client or token is gone, or the backlog is full."""

    reason: Reason


Fact = Planned | Reported | DeadlineReached | Cancelled | Replaced | Failed

# --- effects ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartStep:
    """Hand this attempt of this step to its channel."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish the event of the delivery's present state."""


@dataclass(frozen=True, slots=True)
class CloseChannel:
    """The address is bad: close the client's channel of this type, unless it was activated since
    ``at``, when that was reported. ``detail``: what the provider said.
    """

    channel: str
    detail: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """The app instance is gone: its token ends."""


@dataclass(frozen=True, slots=True)
class LosePresence:
    """The connection of that epoch is gone; a newer one stays."""

    epoch: int


Effect = StartStep | Announce | CloseChannel | RevokeToken | LosePresence


@dataclass(frozen=True, slots=True)
class Decision:
    """The delivery after a fact, what must be done now, and whether anything changed."""

    delivery: Delivery
    effects: tuple[Effect, ...]
    changed: bool
