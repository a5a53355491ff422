"""Waits until a notification has reached a state: its status decides, events say when to query it.

Events may be lost (a full queue, a lost connection), so the status is also queried every few
seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from aoi_events.contracts.answers import NotificationStatusV1
from aoi_events.contracts.states import DeliveryState
from aoi_events.errors import EndedOtherwise, InfrastructureError, RequestTimeout, WaitTimeout
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.publishing.watching import NotificationWatch, NotificationWatches

_QUERY_EVERY: Final = 5.0
"""Seconds after which the status is queried even without an event."""
_RETRY: Final = RetryPolicy(first=0.1, most=2.0, jitter=0.2)


@dataclass(frozen=True, slots=True)
class TargetState:
    """The state that every delivery has to reach; None: any terminal state."""

    state: DeliveryState | None

    @classmethod
    def of(cls, state: DeliveryState | str) -> TargetState:
        """From the argument of the caller. Raises ValueError."""
        try:
            return cls(None if state == "terminal" else DeliveryState(state))
        except ValueError:
            names = ", ".join(DeliveryState)
            raise ValueError(f"one can wait for terminal, {names}; not for {state!r}") from None

    def __str__(self) -> str:
        return self.state or "terminal"

    def evaluate(self, states: Mapping[str, DeliveryState]) -> Literal["reached", "missed", "open"]:
        """Compare the states of deliveries with the target.

        *missed*: a delivery ended in another terminal state (a late acknowledgement may still
        change that to delivered).
        """
        if self.state is None:
            return "reached" if all(state.terminal for state in states.values()) else "open"
        if states and all(state is self.state for state in states.values()):
            return "reached"
        elsewhere = any(s.terminal and s is not self.state for s in states.values())
        return "missed" if elsewhere or not states else "open"


async def wait_until(
    notification: str,
    target: TargetState,
    *,
    watches: NotificationWatches,
    ask: Callable[[], Awaitable[NotificationStatusV1]],
    timeout: float,
) -> NotificationStatusV1:
    """The first status that reaches the target, within ``timeout`` seconds.

    Raises WaitTimeout, EndedOtherwise, and errors of ``ask`` other than a lost connection or a
    missing answer.
    """
    last: NotificationStatusV1 | None = None

    async def watching() -> NotificationWatch:
        return await watches.watch(notification)

    try:
        async with asyncio.timeout(timeout) as limit:
            watch = await retry(watching, policy=_RETRY, on=InfrastructureError)
            try:
                while True:
                    watch.reset()
                    last = await retry(ask, policy=_RETRY, on=(InfrastructureError, RequestTimeout))
                    states = {each.delivery: each.state for each in last.deliveries}
                    match target.evaluate(states):
                        case "reached":
                            return last
                        case "missed":
                            raise EndedOtherwise(
                                f"{notification} is not {target}: {_summary(last)}"
                            )
                        case "open":
                            pass
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_QUERY_EVERY):
                            await watch.until(states, lambda now: target.evaluate(now) != "open")
            finally:
                watches.unwatch(watch)
    except TimeoutError:
        if not limit.expired():
            raise
        said = "its status could not be queried" if last is None else _summary(last)
        raise WaitTimeout(f"{notification} was not {target} within {timeout:g} s: {said}") from None


def _summary(status: NotificationStatusV1) -> str:
    """The number of deliveries in each state with its reason, as a short text."""
    counts: dict[str, int] = {}
    for each in status.deliveries:
        what = each.state if each.reason is None else f"{each.state} ({each.reason})"
        counts[what] = counts.get(what, 0) + 1
    listed = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    return listed or "it was cancelled before it was sent"
