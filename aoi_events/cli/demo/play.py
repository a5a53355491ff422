"""The work of ``aoi demo``: run a server and play the example with it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from aoi_events.cli.demo.story import WITHIN, Story
from aoi_events.cli.demo.timeline import DemoFailed, Timeline
from aoi_events.cli.output import console, fail
from aoi_events.errors import AoiError
from aoi_events.telemetry.logs import configure_logging
from aoi_events.testing.devices import FakeDevice
from aoi_events.testing.server import AoiServer, open_server


def play(broker: str, store: str, *, verbose: bool) -> None:
    """Run a server, two devices and a sender, and show each step as it happens."""
    configure_logging(level="info" if verbose else "error", form="console")
    timeline = Timeline(console)
    try:
        with tempfile.TemporaryDirectory(prefix="aoi-demo-") as folder:
            url = store or f"sqlite:///{Path(folder) / 'demo.sqlite3'}"
            asyncio.run(_play(timeline, broker, url))
    except (DemoFailed, AssertionError) as failed:  # what fixtures expect of a server, too
        fail(f"the demo failed: {failed}")
    except AoiError as error:
        fail(f"the demo could not start: {error}")
    timeline.summary()


async def _play(timeline: Timeline, broker: str, store: str) -> None:
    settings = {"broker": broker, "store": store, "start_within": 6.0}
    sender = "memory://shop@" if broker.startswith("memory:") else broker
    async with open_server(settings, sender_url=lambda _: sender) as server:
        timeline.say("AOI Server", "every worker runs in this process")
        backend = await server.publisher(timeout=WITHIN)
        async with (
            _device("phone", "+15550101", server=server, timeline=timeline) as phone,
            _device("tablet", "+15550102", server=server, timeline=timeline) as tablet,
        ):
            await Story(timeline, phone, tablet, backend).play()


def _device(name: str, number: str, *, server: AoiServer, timeline: Timeline) -> FakeDevice:
    """A device that prints each short message it receives on the timeline."""

    def heard(user_data: bytes) -> None:
        timeline.say("SMSC", f"{len(user_data)} octets to {number}")

    return FakeDevice(
        name,
        server.gateway_url,
        number=number,
        smsc=server.smsc,
        diary=server.diary,
        heard=heard,
    )
