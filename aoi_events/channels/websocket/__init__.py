"""The WebSocket channel: devices connected to a gateway."""

from aoi_events.channels.websocket.plugin import plugin
from aoi_events.channels.websocket.settings import WebSocketSettings

__all__ = ["WebSocketSettings", "plugin"]
