"""Fixtures and fakes for tests of code that uses AOI events; names are loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aoi_events.platform.lazy_names import lazy_names

if TYPE_CHECKING:
    from aoi_events.testing.containers import PostgresServer, RabbitServer
    from aoi_events.testing.devices import FakeApp, FakeDevice
    from aoi_events.testing.diary import DidNotHappen
    from aoi_events.testing.fixtures import MakeDevice
    from aoi_events.testing.scripted import Say, ScriptedPlugin, ScriptedProvider
    from aoi_events.testing.server import AoiServer, open_server
    from aoi_events.testing.smsc import LoopbackSmsc, Reply
    from aoi_events.testing.waiting import WaitFor

__all__ = [
    "AoiServer",
    "DidNotHappen",
    "FakeApp",
    "FakeDevice",
    "LoopbackSmsc",
    "MakeDevice",
    "PostgresServer",
    "RabbitServer",
    "Reply",
    "Say",
    "ScriptedPlugin",
    "ScriptedProvider",
    "WaitFor",
    "open_server",
]

_HOMES = {
    "AoiServer": "server",
    "DidNotHappen": "diary",
    "FakeApp": "devices",
    "FakeDevice": "devices",
    "LoopbackSmsc": "smsc",
    "MakeDevice": "fixtures",
    "PostgresServer": "containers",
    "RabbitServer": "containers",
    "Reply": "smsc",
    "Say": "scripted",
    "ScriptedPlugin": "scripted",
    "ScriptedProvider": "scripted",
    "WaitFor": "waiting",
    "open_server": "server",
}

__getattr__, __dir__ = lazy_names(
    __name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()}
)
