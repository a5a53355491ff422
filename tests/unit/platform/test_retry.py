from __future__ import annotations

import pytest

from aoi_events.errors import BrokerUnavailable, ConfigurationError
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry


class Flaky:
    """Fails a number of times, then answers."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or BrokerUnavailable("away")
        self.calls = 0
        self.pauses: list[float] = []
        self.heard: list[FailedAttempt] = []

    async def act(self, step: int) -> int:
        """Fail or return the number of the call."""
        self.calls += step
        if self.calls <= self.failures:
            raise self.error
        return self.calls

    async def sleep(self, seconds: float) -> None:
        """Remember instead of waiting."""
        self.pauses.append(seconds)

    async def run(self, policy: RetryPolicy) -> int:
        """Act retry."""
        return await retry(
            lambda: self.act(1), policy=policy, failed=self.heard.append, sleep=self.sleep
        )


async def test_success_needs_no_retry() -> None:
    """What works at once is called once, and nobody hears of anything."""
    flaky = Flaky(0)
    assert await flaky.run(RetryPolicy()) == 1
    assert (flaky.pauses, flaky.heard) == ([], [])


async def test_pauses_double_up_to_the_most() -> None:
    """Without jitter the pauses are first, twice that, and so on, up to the most."""
    flaky = Flaky(6)
    assert await flaky.run(RetryPolicy(first=0.5, most=4.0, jitter=0.0)) == 7
    assert flaky.pauses == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


async def test_jitter_stays_even_at_the_most() -> None:
    """Each pause is longer by up to the jitter, those at the cap too, and they differ."""
    flaky = Flaky(40)
    await flaky.run(RetryPolicy(first=1.0, most=1.0, jitter=0.5))
    assert all(1.0 <= pause <= 1.5 for pause in flaky.pauses)
    assert len(set(flaky.pauses)) > 30


async def test_every_failed_attempt_is_heard() -> None:
    """The hook gets number, error and pause of each attempt that is repeated."""
    flaky = Flaky(2)
    await flaky.run(RetryPolicy(first=0.5, most=4.0, jitter=0.0))
    assert [(each.number, each.error, each.pause) for each in flaky.heard] == [
        (1, flaky.error, 0.5),
        (2, flaky.error, 1.0),
    ]


async def test_the_last_attempt_raises_its_error() -> None:
    """After the last attempt its own error is raised, and it is not heard of as repeated."""
    flaky = Flaky(9)
    with pytest.raises(BrokerUnavailable, match="away"):
        await flaky.run(RetryPolicy(attempts=3))
    assert (flaky.calls, len(flaky.heard)) == (3, 2)


async def test_other_errors_are_not_waited_out() -> None:
    """A wrong setting does not become right by waiting."""
    flaky = Flaky(9, ConfigurationError("wrong"))
    with pytest.raises(ConfigurationError):
        await flaky.run(RetryPolicy())
    assert flaky.calls == 1


@pytest.mark.parametrize(
    "settings",
    [{"first": 0.0}, {"first": 9.0, "most": 1.0}, {"jitter": -1.0}, {"attempts": 0}],
)
def test_a_policy_that_could_spin_is_refused(settings: dict[str, float]) -> None:
    """No settings make a busy loop, or one that never tries."""
    with pytest.raises(ValueError, match="must"):
        RetryPolicy(**settings)  # type: ignore[arg-type]
