"""A worker whose clock is wrong would let notifications expire at the wrong time."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aoi_events.bootstrap.clocks import Clocks
from aoi_events.bootstrap.installation import open_installation
from aoi_events.bootstrap.keys import ephemeral_keys
from aoi_events.bootstrap.process import serve
from aoi_events.bootstrap.settings import load_settings
from aoi_events.errors import ConfigurationError
from aoi_events.platform.clock import SystemClock
from aoi_events.store.migration import upgrade
from aoi_events.store.store import open_store
from aoi_events.testing.movable_clock import MovableClock
from tests.support.limits import WITHIN


class Skewed(SystemClock):
    """The machine's clock, and so much more or less."""

    off = timedelta()

    def now(self) -> datetime:
        """Wrong by ``off``."""
        return datetime.now(UTC) + self.off


@pytest.mark.parametrize(
    "seconds, said",
    [(0, None), (0.5, None), (3, "ahead of the store's"), (-3, "behind the store's")],
)
async def test_small_differences_are_told(
    postgres_url: str, caplog: pytest.LogCaptureFixture, seconds: float, said: str | None
) -> None:
    """Above a second it is a warning, below it nothing."""
    store, clock = await open_store(postgres_url), Skewed()
    clock.off = timedelta(seconds=seconds)
    await store.now()  # what connecting takes is no difference, and would hide one
    with caplog.at_level(logging.INFO, "aoi_events"):
        await Clocks(store, clock, apart=5).compare()
    told = [record.__dict__["this_machine"].partition(" s ")[2] for record in caplog.records]
    assert told == ([] if said is None else [said])
    await store.close()


@pytest.mark.parametrize(
    "seconds, said", [(31, r"3[01]\.\d s ahead of"), (-31, r"3[01]\.\d s behind")]
)
async def test_large_differences_are_refused(postgres_url: str, seconds: float, said: str) -> None:
    """Beyond the setting a worker does not run, and hears what to do."""
    store, clock = await open_store(postgres_url), Skewed()
    clock.off = timedelta(seconds=seconds)
    await store.now()  # what connecting takes is no difference, and would hide some of it
    with pytest.raises(ConfigurationError, match=f"{said} the store's.*NTP.*AOI_CLOCK_APART"):
        await Clocks(store, clock, apart=5).compare()
    await Clocks(store, clock, apart=60).compare()
    await store.close()


async def test_a_clock_that_is_set_right_meanwhile(postgres_url: str) -> None:
    """NTP may correct a clock at any moment: what was wrong a moment ago ends nobody."""

    class Corrected(SystemClock):
        """Ahead when it is asked for the first time, and right ever after."""

        asked = 0

        def now(self) -> datetime:
            """The time that it shows."""
            self.asked += 1
            return datetime.now(UTC) + timedelta(seconds=31 if self.asked == 1 else 0)

    store, clock = await open_store(postgres_url), Corrected()
    await Clocks(store, clock, apart=5).compare()
    assert clock.asked == 4
    await store.close()


async def test_sqlite_has_no_clock_of_its_own(tmp_path: Path) -> None:
    """There is nothing to compare where the store is on this machine."""
    await upgrade(f"sqlite:///{tmp_path / 'aoi.db'}")
    store, clock = await open_store(f"sqlite:///{tmp_path / 'aoi.db'}"), Skewed()
    clock.off = timedelta(days=1)
    assert await store.now() is None
    await Clocks(store, clock, apart=5).compare()
    await store.close()


async def test_a_clock_that_runs_away_is_noticed(postgres_url: str) -> None:
    """Clocks are compared for as long as a worker runs, until it is told to stop."""
    store, clock, stop = await open_store(postgres_url), MovableClock(), asyncio.Event()
    clocks = Clocks(store, clock, apart=5)
    watching = asyncio.create_task(clocks.watch(stop))
    for _ in range(10):
        await asyncio.sleep(0)  # until it rests
    clock.advance(31)
    with pytest.raises(ConfigurationError, match="ahead of"):
        await asyncio.wait_for(watching, WITHIN)
    stop.set()
    await asyncio.wait_for(clocks.watch(stop), WITHIN)
    await store.close()


async def test_a_clock_that_jumps_counts_only_once_it_was_compared(postgres_url: str) -> None:
    """Workers look at the clock many times a second, so a jump must not reach them before somebody
    has seen that it was right: every notification of less than a day would expire.
    """
    store, clock = await open_store(postgres_url), Skewed()
    clocks = Clocks(store, clock, apart=7_200)
    await clocks.compare()
    for off in (timedelta(days=1), -timedelta(days=1)):
        clock.off = off
        assert abs(clocks.steady.now() - datetime.now(UTC)) < timedelta(minutes=1)
        with pytest.raises(ConfigurationError):
            await clocks.compare()
        assert abs(clocks.steady.now() - datetime.now(UTC)) < timedelta(minutes=1)
    clock.off = timedelta(hours=1)
    assert abs(clocks.steady.now() - datetime.now(UTC)) < timedelta(minutes=1)
    await clocks.compare()
    assert clocks.steady.now() - datetime.now(UTC) > timedelta(minutes=59)
    await store.close()


async def test_workers_have_the_clock_that_does_not_jump(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What decides in a process goes by it, and by no other."""
    monkeypatch.setattr("aoi_events.bootstrap.installation.SystemClock", Skewed)
    monkeypatch.setattr(Skewed, "off", timedelta())
    settings = load_settings(store=postgres_url)
    async with open_installation(
        settings, ["deadlines"], alone=True, keys=ephemeral_keys(), plugins={}
    ) as installation:
        monkeypatch.setattr(Skewed, "off", timedelta(days=1))
        shown = installation.deadlines().clock.now()
        assert abs(shown - datetime.now(UTC)) < timedelta(minutes=1)


async def test_no_worker_starts_with_a_wrong_clock(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever needs the store compares before it works: settings that cannot work, 78."""
    monkeypatch.setattr(Skewed, "off", timedelta(seconds=31))
    monkeypatch.setattr("aoi_events.bootstrap.installation.SystemClock", Skewed)
    settings = load_settings(store=postgres_url)
    keys = ephemeral_keys()
    opening = open_installation(settings, ["deadlines"], alone=True, keys=keys, plugins={})
    with pytest.raises(ConfigurationError, match="ahead of"):
        async with opening:
            raise AssertionError("unreachable")


async def test_a_running_process_ends_when_its_clock_runs_away(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers drain, and the reason is raised for the exit code."""
    monkeypatch.setattr("aoi_events.bootstrap.installation.SystemClock", Skewed)
    monkeypatch.setattr("aoi_events.bootstrap.clocks._AGAIN_AFTER", 0.01)
    monkeypatch.setattr(Skewed, "off", timedelta())
    settings = load_settings(store=postgres_url, health={"enabled": False})
    keys, stop, started = ephemeral_keys(), asyncio.Event(), asyncio.Event()
    async with open_installation(
        settings, ["deadlines"], alone=True, keys=keys, plugins={}
    ) as installation:
        serving = asyncio.create_task(serve(installation, stop, lambda _: started.set()))
        await asyncio.wait_for(started.wait(), WITHIN)
        monkeypatch.setattr(Skewed, "off", timedelta(seconds=-31))
        with pytest.raises(ConfigurationError, match="behind"):
            await asyncio.wait_for(serving, WITHIN)
        assert stop.is_set()
