"""Waiting until a notification has come to a state: asked once, then told by events.

Events are not promised (a full queue, a lost connection), so they only say when it is worth
asking again, and the status decides. Where they fail to come, it is asked again now and then.
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
from aoi_events.platform.retry import Patience, patiently
from aoi_events.publishing.watching import Watch, Watches

_ASK_ANYWAY_AFTER: Final = 5.0
"""Seconds without a promising event after which the status is asked all the same."""
_AGAIN: Final = Patience(first=0.1, most=2.0, jitter=0.2)


@dataclass(frozen=True, slots=True)
class Awaited:
    """What every delivery shall come to: one state, or (None) any terminal one."""

    state: DeliveryState | None

    @classmethod
    def of(cls, state: DeliveryState | str) -> Awaited:
        """From what the caller said. Raises ValueError."""
        try:
            return cls(None if state == "terminal" else DeliveryState(state))
        except ValueError:
            names = ", ".join(DeliveryState)
            raise ValueError(f"one can wait for terminal, {names}; not for {state!r}") from None

    def __str__(self) -> str:
        return self.state or "terminal"

    def judge(self, states: Mapping[str, DeliveryState]) -> Literal["reached", "missed", "open"]:
        """What ``states`` of deliveries mean: *missed* is an end from which nothing leads here.

        (But a late acknowledgement may still turn any end into delivered.)
        """
        if self.state is None:
            return "reached" if all(state.terminal for state in states.values()) else "open"
        if states and all(state is self.state for state in states.values()):
            return "reached"
        elsewhere = any(s.terminal and s is not self.state for s in states.values())
        return "missed" if elsewhere or not states else "open"


async def wait_until(
    notification: str,
    awaited: Awaited,
    *,
    watches: Watches,
    ask: Callable[[], Awaitable[NotificationStatusV1]],
    timeout: float,
) -> NotificationStatusV1:
    """The status with which it is reached, within ``timeout`` seconds.

    Raises WaitTimeout, EndedOtherwise, and what ``ask`` raises for another reason than a broker
    or an answer that failed to come.
    """
    last: NotificationStatusV1 | None = None

    async def watching() -> Watch:
        return await watches.watch(notification)

    try:
        async with asyncio.timeout(timeout) as limit:
            watch = await patiently(watching, patience=_AGAIN, on=InfrastructureError)
            try:
                while True:
                    watch.forget()
                    last = await patiently(
                        ask, patience=_AGAIN, on=(InfrastructureError, RequestTimeout)
                    )
                    states = {each.delivery: each.state for each in last.deliveries}
                    match awaited.judge(states):
                        case "reached":
                            return last
                        case "missed":
                            raise EndedOtherwise(f"{notification} is not {awaited}: {_told(last)}")
                        case "open":
                            pass
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_ASK_ANYWAY_AFTER):
                            await watch.until(states, lambda now: awaited.judge(now) != "open")
            finally:
                watches.unwatch(watch)
    except TimeoutError:
        if not limit.expired():
            raise
        said = "its status could not be had" if last is None else _told(last)
        raise WaitTimeout(
            f"{notification} was not {awaited} within {timeout:g} s: {said}"
        ) from None


def _told(status: NotificationStatusV1) -> str:
    """How many deliveries are where, and why; such texts stay short."""
    counts: dict[str, int] = {}
    for each in status.deliveries:
        what = each.state if each.reason is None else f"{each.state} ({each.reason})"
        counts[what] = counts.get(what, 0) + 1
    return ", ".join(f"{n} {what}" for what, n in sorted(counts.items())) or "no token was accepted"
