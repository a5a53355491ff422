"""Who plays: two devices with the AOI Client library, and the telephones' radio."""

from __future__ import annotations

from typing import Final

from aoi_events.cli.demo.timeline import Timeline
from aoi_events.testing.devices import FakeDevice
from aoi_events.testing.smsc import LoopbackSmsc

__all__ = ["WITHIN", "device"]

WITHIN: Final = 30.0
"""Seconds that anything in the story may take."""


def device(
    name: str, number: str, *, url: str, smsc: LoopbackSmsc, timeline: Timeline
) -> FakeDevice:
    """A device that shows on the timeline each short message that it gets."""

    def heard(user_data: bytes) -> None:
        timeline.say("SMSC", f"{len(user_data)} octets to {number}")

    return FakeDevice(name, url, number=number, smsc=smsc, heard=heard)
