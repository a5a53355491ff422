"""The work of ``aoi demo``: run a server and play the example with it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from aoi_events.bootstrap.installation import open_installation
from aoi_events.bootstrap.keys import ephemeral_keys
from aoi_events.bootstrap.process import serve
from aoi_events.bootstrap.settings import load_settings
from aoi_events.cli.demo.cast import WITHIN, device
from aoi_events.cli.demo.story import Story
from aoi_events.cli.demo.timeline import DemoFailed, Timeline
from aoi_events.cli.output import console, fail
from aoi_events.errors import AoiError
from aoi_events.platform.tasks import first_completed
from aoi_events.publishing import Publisher
from aoi_events.telemetry.logs import configure_logging
from aoi_events.testing.smsc import LoopbackSmsc


def play(broker: str, store: str, *, verbose: bool) -> None:
    """Run a server, two devices and a sender, and show each step as it happens."""
    configure_logging(level="info" if verbose else "error", form="console")
    timeline = Timeline(console)
    try:
        with tempfile.TemporaryDirectory(prefix="aoi-demo-") as folder:
            url = store or f"sqlite:///{Path(folder) / 'demo.sqlite3'}"
            asyncio.run(_play(timeline, broker, url))
    except DemoFailed as failed:
        fail(f"the demo failed: {failed}")
    except AoiError as error:
        fail(f"the demo could not start: {error}")
    timeline.summary()


async def _play(timeline: Timeline, broker: str, store: str) -> None:
    stop, started = asyncio.Event(), asyncio.Event()
    async with LoopbackSmsc() as smsc:
        settings = load_settings(**_settings(broker, store, smsc))
        async with open_installation(settings, alone=True, keys=ephemeral_keys()) as installation:
            server = asyncio.create_task(serve(installation, stop, lambda _: started.set()))
            try:
                await _unless_ended(server, started.wait())
                workers = ", ".join(installation.names)
                timeline.say("AOI Server", f"workers: {workers}")
                url = f"ws://127.0.0.1:{installation.gateway.port}/aoi"
                sender = "memory://shop@" if settings.in_process else broker
                await _unless_ended(server, _play_story(timeline, url, smsc, sender))
            finally:
                stop.set()
                await asyncio.gather(server, return_exceptions=True)


async def _play_story(timeline: Timeline, url: str, smsc: LoopbackSmsc, sender: str) -> None:
    async with (
        device("phone", "+15550101", url=url, smsc=smsc, timeline=timeline) as phone,
        device("tablet", "+15550102", url=url, smsc=smsc, timeline=timeline) as tablet,
        Publisher(sender, timeout=WITHIN) as backend,
    ):
        await Story(timeline, phone, tablet, backend).play()


async def _unless_ended(server: asyncio.Task[int], part: Coroutine[Any, Any, Any]) -> None:
    """Await ``part``. Raises DemoFailed at once when the server ends before it."""
    _, playing = await first_completed(server, part)
    if not server.done():
        playing.result()
        return
    fault = server.exception()
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    raise DemoFailed(
        f"the AOI Server ended ({type(fault).__name__}: {str(fault).splitlines()[0]}); "
        "see its logs with --verbose"
        if fault is not None
        else "the AOI Server ended by itself; see its logs with --verbose"
    )


def _settings(broker: str, store: str, smsc: LoopbackSmsc) -> dict[str, Any]:
    """Short time limits, so that it can be watched; everything else as in production."""
    return {
        "broker": broker,
        "store": store,
        "start_within": 6.0,
        "gateway": {"port": 0, "ping_every": 5.0, "pong_within": 2.0},
        "endpoint": {"port": 0},
        "health": {"enabled": False},
        "channels": {
            "websocket": {"ack_within": 2.0},
            "sms": {"host": smsc.host, "port": smsc.port, "ack_within": 2.0},
        },
    }
