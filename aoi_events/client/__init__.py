"""The AOI Client as a library (8.1): one connection for all applications of a device."""

from aoi_events.client.core.effects import Notification
from aoi_events.client.core.events import (
    Activated,
    ApplicationDeregistered,
    ApplicationRegistered,
    ChallengeReceived,
    ChannelClosed,
    ClientEvent,
    Connected,
    Disconnected,
    DuplicateDropped,
    NotificationAcknowledged,
    NotificationReceived,
    NotificationsLost,
    PartsDropped,
    PushIgnored,
    Refused,
    Registered,
    RegistrationStarted,
    ShortMessageIgnored,
    WakeUpEnded,
    WakeUpReceived,
)
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
from aoi_events.errors import ClientStopped, CouldNotWake

__all__ = [
    "Activated",
    "AoiClient",
    "Application",
    "ApplicationDeregistered",
    "ApplicationRegistered",
    "ChallengeReceived",
    "ChannelClosed",
    "ChannelOffer",
    "Circumstances",
    "ClientEvent",
    "ClientEventStream",
    "ClientStopped",
    "Connected",
    "CouldNotWake",
    "Disconnected",
    "DuplicateDropped",
    "FileStorage",
    "Handler",
    "MemoryStorage",
    "Network",
    "Notification",
    "NotificationAcknowledged",
    "NotificationReceived",
    "NotificationsLost",
    "PartsDropped",
    "PushIgnored",
    "ReconnectPolicy",
    "Refused",
    "Registered",
    "RegistrationStarted",
    "ShortMessage",
    "ShortMessageIgnored",
    "Wake",
    "WakeUpEnded",
    "WakeUpReceived",
    "WebSocketTransport",
]
