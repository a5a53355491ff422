"""Facts that change a delivery, and effects that follow from a change: values, both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import Reason
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Step

# --- facts --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planned:
    """The channels that are usable now were looked up, at acceptance or because of a release.

    ``returns``: the client's count of returns at that time.
    """

    steps: tuple[Step, ...]
    returns: int = 0


@dataclass(frozen=True, slots=True)
class Reported:
    """An outcome of a step, or of the delivery as a whole when a device reports it.

    ``returns``: the client's count of returns when this was merged, if it is known.
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
    """The deadline of the delivery has passed."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The sender withdrew the notification."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """The sender sent a newer notification of the same topic to the same token."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The delivery can never be delivered: the client or token is gone, or the backlog is full."""

    reason: Reason


Fact = Planned | Reported | DeadlineReached | Cancelled | Replaced | Failed

# --- effects ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartStep:
    """Send this attempt of this step to its channel."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish the event of the delivery's present state."""


@dataclass(frozen=True, slots=True)
class CloseChannel:
    """Close the client's channel of this type, because its address is bad.

    It stays open if it was activated after ``at``, when that was reported. ``detail``: the
    provider's words.
    """

    channel: str
    detail: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """Revoke the token: its app instance is gone."""


@dataclass(frozen=True, slots=True)
class LosePresence:
    """Remove the client's presence of that epoch, because the connection is gone; a newer one
    stays.
    """

    epoch: int


Effect = StartStep | Announce | CloseChannel | RevokeToken | LosePresence


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on a fact: the delivery after it, the effects to carry out, and whether it
    changed.
    """

    delivery: Delivery
    effects: tuple[Effect, ...]
    changed: bool
