"""The states of a subscription, as a state machine without I/O; both brokers use it.

What a subscription does in a state is its own: whether it consumes, deletes a queue or gives
messages back. Which state follows is decided here only.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class SubscriptionState(Enum):
    """The states of a subscription, by how it treats messages that arrive."""

    CONSUMING = auto()
    """Messages arrive and may be taken."""
    PAUSED = auto()
    """Messages that arrived wait until RESUME; none is taken."""
    DRAINING = auto()
    """STOP was called: messages on their way still arrive and may be taken."""
    RETURNING = auto()
    """STOP was called while paused: messages on their way still arrive, and are given back."""
    ENDED = auto()
    """No message arrives any more; those that arrived may be taken and acknowledged."""
    LOST = auto()
    """The exclusive queue was deleted, alone or with its connection."""

    @property
    def may_take(self) -> bool:
        """Whether messages that arrived may be taken."""
        return self in (
            SubscriptionState.CONSUMING,
            SubscriptionState.DRAINING,
            SubscriptionState.ENDED,
        )

    @property
    def stopped(self) -> bool:
        """Whether STOP was called, so that nothing consumes again."""
        return self in (
            SubscriptionState.DRAINING,
            SubscriptionState.RETURNING,
            SubscriptionState.ENDED,
        )


class Input(Enum):
    """The events that change the state of a subscription."""

    PAUSE = auto()
    RESUME = auto()
    STOP = auto()
    DRAINED = auto()
    """Everything that was on its way has arrived."""
    QUEUE_LOST = auto()
    """The exclusive queue is gone."""


_NEXT: Final = {
    (SubscriptionState.CONSUMING, Input.PAUSE): SubscriptionState.PAUSED,
    (SubscriptionState.CONSUMING, Input.STOP): SubscriptionState.DRAINING,
    (SubscriptionState.CONSUMING, Input.QUEUE_LOST): SubscriptionState.LOST,
    (SubscriptionState.PAUSED, Input.RESUME): SubscriptionState.CONSUMING,
    (SubscriptionState.PAUSED, Input.STOP): SubscriptionState.RETURNING,
    (SubscriptionState.PAUSED, Input.QUEUE_LOST): SubscriptionState.LOST,
    (SubscriptionState.DRAINING, Input.PAUSE): SubscriptionState.RETURNING,
    (SubscriptionState.DRAINING, Input.DRAINED): SubscriptionState.ENDED,
    (SubscriptionState.RETURNING, Input.RESUME): SubscriptionState.DRAINING,
    (SubscriptionState.RETURNING, Input.DRAINED): SubscriptionState.ENDED,
    (SubscriptionState.LOST, Input.STOP): SubscriptionState.ENDED,
}


def next_state(state: SubscriptionState, happened: Input) -> SubscriptionState:
    """The state after ``happened``; the same one where the input changes nothing."""
    return _NEXT.get((state, happened), state)
