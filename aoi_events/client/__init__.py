"""The AOI Client as a library (8.1): one connection for all the applications of a device."""

from aoi_events.client.application import Application
from aoi_events.client.client import AoiClient
from aoi_events.client.connection import Backoff
from aoi_events.client.effects import Notification
from aoi_events.client.mailbox import Handler, Wake
from aoi_events.client.ports import ShortMessage
from aoi_events.client.signals import EventStream
from aoi_events.client.storage import FileStorage, MemoryStorage
from aoi_events.client.view import Network
from aoi_events.client.websocket import WebSocketTransport
from aoi_events.contracts.requests import ChannelOffer, Circumstances

__all__ = [
    "AoiClient",
    "Application",
    "Backoff",
    "ChannelOffer",
    "Circumstances",
    "EventStream",
    "FileStorage",
    "Handler",
    "MemoryStorage",
    "Network",
    "Notification",
    "ShortMessage",
    "Wake",
    "WebSocketTransport",
]
