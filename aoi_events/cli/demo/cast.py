"""The devices of the demo, with the AOI Client library."""

from __future__ import annotations

from typing import Final

from aoi_events.cli.demo.timeline import Timeline
from aoi_events.testing.devices import FakeDevice
from aoi_events.testing.server import AoiServer

WITHIN: Final = 30.0
"""Seconds that one step of the demo may take."""


def device(name: str, number: str, *, server: AoiServer, timeline: Timeline) -> FakeDevice:
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
