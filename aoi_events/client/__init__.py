"""The AOI Client as a library (8.1): one connection for all applications of a device."""

from aoi_events.client.core.effects import Notification
from aoi_events.client.core.inputs import ShortMessage
from aoi_events.client.core.model import Network
from aoi_events.client.core.reconnect import ReconnectPolicy
from aoi_events.client.shell.application import Application
from aoi_events.client.shell.client import AoiClient
from aoi_events.client.shell.event_stream import ClientEventStream
from aoi_events.client.shell.mailbox import Handler, Wake
from aoi_events.client.shell.storage import FileStorage, MemoryStorage
from aoi_events.client.shell.websocket import WebSocketTransport
from aoi_events.contracts.requests import ChannelOffer, Circumstances

__all__ = [
    "AoiClient",
    "Application",
    "ChannelOffer",
    "Circumstances",
    "ClientEventStream",
    "FileStorage",
    "Handler",
    "MemoryStorage",
    "Network",
    "Notification",
    "ReconnectPolicy",
    "ShortMessage",
    "Wake",
    "WebSocketTransport",
]
