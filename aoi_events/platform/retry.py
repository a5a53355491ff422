"""Patience with infrastructure faults that pass within seconds; the only user of tenacity.

For lost connections, refused transactions and the like, and for nothing that takes minutes:
retries of deliveries, Retry-After and time-outs are deadlines in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_never,
    wait_exponential,
    wait_random,
)

from aoi_events.errors import InfrastructureError

__all__ = ["Attempt", "Patience", "patiently"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait between attempts, in seconds, and how many to make.

    The n-th pause is ``first * 2**n`` up to ``most``, and up to ``jitter`` more, so that many
    processes that lost the same broker do not come back in step. ``attempts`` None: for ever.
    """

    first: float = 0.1
    most: float = 5.0
    jitter: float = 0.5
    attempts: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could spin or never try."""
        if not 0 < self.first <= self.most:
            raise ValueError(f"first must be above 0 and at most {self.most:g} s, not {self.first}")
        if self.jitter < 0:
            raise ValueError(f"jitter must not be negative, not {self.jitter}")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that failed: its number from 1, why, and the pause before the next in seconds."""

    number: int
    error: BaseException
    pause: float


async def patiently(
    action: Callable[[], Awaitable[T]],
    *,
    patience: Patience,
    on: type[Exception] | tuple[type[Exception], ...] = InfrastructureError,
    failed: Callable[[Attempt], None] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Await ``action()`` until it succeeds, raises something else than ``on``, or patience ends.

    ``failed`` hears of every attempt that will be repeated (to log or count it); ``sleep`` is the
    clock's, where time is simulated. Raises what the last attempt raised.
    """

    # tenacity awaits coroutine functions only, and an action may as well be a lambda.
    async def attempt() -> T:
        return await action()

    def hear(state: RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        if failed is not None and error is not None:
            failed(Attempt(state.attempt_number, error, state.upcoming_sleep))

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(on),
        wait=wait_exponential(multiplier=patience.first, max=patience.most)
        + wait_random(0, patience.jitter),
        stop=stop_never if patience.attempts is None else stop_after_attempt(patience.attempts),
        before_sleep=hear,
        sleep=sleep,
        reraise=True,
    )
    return await retrying(attempt)
