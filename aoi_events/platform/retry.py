"""Retries of calls that fail while infrastructure is away for seconds; the only user of tenacity.

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

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff between attempts, in seconds, and the number of attempts.

    The n-th pause is ``first * 2**n`` up to ``most``, and up to ``jitter`` more, so that many
    processes that lost the same broker do not come back in step. ``attempts`` None: no limit.
    """

    first: float = 0.1
    most: float = 5.0
    jitter: float = 0.5
    attempts: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that would retry without a pause, or never call at all."""
        if not 0 < self.first <= self.most:
            raise ValueError(f"first must be above 0 and at most {self.most:g} s, not {self.first}")
        if self.jitter < 0:
            raise ValueError(f"jitter must not be negative, not {self.jitter}")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts}")


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that failed: its number from 1, why, and the pause before the next in seconds."""

    number: int
    error: BaseException
    pause: float


async def retry(
    action: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    on: type[Exception] | tuple[type[Exception], ...] = InfrastructureError,
    failed: Callable[[FailedAttempt], None] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Call ``action`` until it returns, raises another error than ``on``, or used up ``policy``.

    ``failed`` is called for every attempt that will be repeated (to log or count it); ``sleep`` is
    the clock's, where time is simulated. Raises the error of the last attempt.
    """

    # tenacity awaits coroutine functions only, and an action may as well be a lambda.
    async def attempt() -> T:
        return await action()

    def before_sleep(state: RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        if failed is not None and error is not None:
            failed(FailedAttempt(state.attempt_number, error, state.upcoming_sleep))

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(on),
        wait=wait_exponential(multiplier=policy.first, max=policy.most)
        + wait_random(0, policy.jitter),
        stop=stop_never if policy.attempts is None else stop_after_attempt(policy.attempts),
        before_sleep=before_sleep,
        sleep=sleep,
        reraise=True,
    )
    return await retrying(attempt)
