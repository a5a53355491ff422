from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.broker.subscription_state import Input, SubscriptionState, next_state

INPUTS = st.lists(st.sampled_from(Input), max_size=12)


def after(
    *inputs: Input, state: SubscriptionState = SubscriptionState.CONSUMING
) -> SubscriptionState:
    """The state after these inputs, one after another."""
    return reduce(next_state, inputs, state)


@pytest.mark.parametrize(
    "inputs, expected",
    [
        ((), SubscriptionState.CONSUMING),
        ((Input.PAUSE,), SubscriptionState.PAUSED),
        ((Input.PAUSE, Input.RESUME), SubscriptionState.CONSUMING),
        ((Input.STOP,), SubscriptionState.DRAINING),
        ((Input.STOP, Input.DRAINED), SubscriptionState.ENDED),
        ((Input.PAUSE, Input.STOP), SubscriptionState.RETURNING),
        ((Input.PAUSE, Input.STOP, Input.DRAINED), SubscriptionState.ENDED),
        ((Input.STOP, Input.PAUSE), SubscriptionState.RETURNING),
        ((Input.PAUSE, Input.STOP, Input.RESUME), SubscriptionState.DRAINING),
        ((Input.QUEUE_LOST,), SubscriptionState.LOST),
        ((Input.PAUSE, Input.QUEUE_LOST), SubscriptionState.LOST),
        ((Input.QUEUE_LOST, Input.STOP), SubscriptionState.ENDED),
        ((Input.STOP, Input.QUEUE_LOST), SubscriptionState.DRAINING),
    ],
)
def test_the_states_of_a_subscription(inputs: Sequence[Input], expected: SubscriptionState) -> None:
    """Each sequence of calls leads to the state that the port describes."""
    assert after(*inputs) is expected


@given(before=INPUTS, happened=st.sampled_from(Input))
def test_every_input_is_idempotent(before: Sequence[Input], happened: Input) -> None:
    """The same input a second time changes nothing, in whatever state."""
    state = after(*before, happened)
    assert after(happened, state=state) is state


@given(before=INPUTS, afterwards=INPUTS)
def test_a_stopped_subscription_never_consumes_again(
    before: Sequence[Input], afterwards: Sequence[Input]
) -> None:
    """After STOP no input leads back to a state in which it consumes, pauses or loses its queue."""
    state = after(*before, Input.STOP)
    for happened in afterwards:
        assert state.stopped
        state = next_state(state, happened)
    assert after(Input.DRAINED, state=state) is SubscriptionState.ENDED


@given(inputs=INPUTS)
def test_nothing_is_taken_while_paused(inputs: Sequence[Input]) -> None:
    """Messages may be taken exactly where they were not withheld by a pause or lost."""
    withheld = (SubscriptionState.PAUSED, SubscriptionState.RETURNING, SubscriptionState.LOST)
    assert after(*inputs).may_take == (after(*inputs) not in withheld)
