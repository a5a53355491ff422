"""The policy file while workers run: what is written there counts, what is wrong there does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aoi_events.bootstrap.policy_file import PolicyFile, open_policy
from aoi_events.errors import ConfigurationError, PolicyRefused
from aoi_events.platform.followed_files import FollowedFiles
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.telemetry.prometheus import PrometheusMetrics
from aoi_events.testing.stopped_clock import ManualClock
from tests.support.limits import WITHIN

CHANNELS = ("websocket", "sms")


class Counting(PrometheusMetrics):
    """Metrics that remember what was told of the policy file."""

    def __init__(self) -> None:
        super().__init__(channels=CHANNELS, queues=())
        self.told: list[str] = []

    def policy_reloaded(self, result: str) -> None:
        """One more."""
        self.told.append(result)


class Following:
    """A policy file that is followed, on time that the test moves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.metrics = Counting()
        self.policy = PolicyFile(path, CHANNELS, metrics=self.metrics)

    @property
    def mode(self) -> str | None:
        """The mode that is in force."""
        return self.policy.rules_for("any").mode

    @property
    def refused(self) -> str:
        """Why the file as it is does not count; empty where it does."""
        return self.policy.refused or ""

    def write(self, text: str | None) -> None:
        """What stands in the file from now on; None: there is none."""
        if text is None:
            self.path.unlink()
        else:
            self.path.write_text(text)

    async def look(self, times: int = 1) -> None:
        """Let it look so many times."""
        for _ in range(times):
            self.clock.advance(0.5)
            async with asyncio.timeout(WITHIN):
                await self.clock.somebody_sleeps()


@asynccontextmanager
async def followed(path: Path) -> AsyncIterator[Following]:
    """A policy file that is followed until the block ends."""
    files = FollowedFiles()
    following = Following(path)
    watching = asyncio.create_task(files.watch(following.clock))
    await following.clock.somebody_sleeps()
    try:
        yield following
    finally:
        watching.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A policy file."""
    path = tmp_path / "policy.toml"
    path.write_text('mode = "parallel"')
    return path


async def test_a_change_counts_at_its_second_look(path: Path) -> None:
    """Written anew or replaced: in force once two looks saw the same, and told once."""
    async with followed(path) as policy:
        assert policy.mode == "parallel"
        policy.write('mode = "hedged"')
        await policy.look()
        assert policy.mode == "parallel", "it may be half-written"
        await policy.look(5)
        assert policy.mode == "hedged"
        other = path.with_name("other")
        other.write_text('mode = "fallback"')
        other.replace(path)
        await policy.look(2)
        assert policy.mode == "fallback"
        assert policy.metrics.told == ["taken", "taken"]


async def test_a_file_that_is_being_written_does_not_count(path: Path) -> None:
    """What changes from look to look is not taken before it stays."""
    async with followed(path) as policy:
        for text in ("", 'mode = "h', 'mode = "hedged"\nhedge_a'):
            policy.write(text)
            await policy.look()
        policy.write('mode = "hedged"\nhedge_after = 1')
        await policy.look(2)
        assert policy.mode == "hedged"
        assert policy.metrics.told == ["taken"]


async def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    """A symbolic link that is swapped, as Kubernetes does with what it mounts."""
    for mode in ("parallel", "hedged"):
        (tmp_path / mode).mkdir()
        (tmp_path / mode / "policy.toml").write_text(f'mode = "{mode}"')
    data = tmp_path / "data"
    data.symlink_to(tmp_path / "parallel")
    async with followed(data / "policy.toml") as policy:
        fresh = tmp_path / "fresh"
        fresh.symlink_to(tmp_path / "hedged")
        fresh.replace(data)
        await policy.look(2)
        assert policy.mode == "hedged"


@pytest.mark.parametrize(
    "text, said", [('mode = "both"', "mode: must be"), ("mode =", "no TOML"), (None, "No such")]
)
async def test_a_broken_file_leaves_the_policy_as_it_was(
    path: Path, text: str | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, logged once with the reason, counted, shown; mended, it counts again."""
    async with followed(path) as policy:
        policy.write(text)
        with caplog.at_level(logging.ERROR, "aoi_events"):
            await policy.look(6)
        assert policy.mode == "parallel"
        assert said in policy.refused
        (record,) = caplog.records
        assert said in record.__dict__["error"]
        assert record.__dict__["error"].startswith("AOI_POLICY_FILE: policy file ")
        policy.write('mode = "parallel"')
        await policy.look(2)
        assert policy.refused == ""
        assert policy.metrics.told == ["refused", "taken"]


def test_at_the_start_a_broken_file_is_refused(path: Path) -> None:
    """Nobody starts under a policy that is none."""
    path.write_text('mode = "both"')
    with pytest.raises(PolicyRefused, match="mode: must be 'fallback'"):
        PolicyFile(path, CHANNELS, metrics=NO_METRICS)
    with pytest.raises(PolicyRefused, match="cannot be read: Is a directory"):
        PolicyFile(path.parent, CHANNELS, metrics=NO_METRICS)


def test_only_who_plans_reads_it(path: Path) -> None:
    """Other workers need no such file; without one there is nothing to follow."""
    path.unlink()
    for names in ((), ("gateway", "outcome", "activation", "sms")):
        assert open_policy(path, names, CHANNELS, metrics=NO_METRICS) is None
    assert open_policy(None, ("notification",), CHANNELS, metrics=NO_METRICS) is None
    for name in ("notification", "deadlines"):
        with pytest.raises(ConfigurationError, match=r"^AOI_POLICY_FILE: .*No such file"):
            open_policy(path, (name,), CHANNELS, metrics=NO_METRICS)
