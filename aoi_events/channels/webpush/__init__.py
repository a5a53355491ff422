"""The Web Push channel: to subscriptions that devices have at other push services."""

from aoi_events.channels.webpush.plugin import plugin
from aoi_events.channels.webpush.settings import WebPushSettings

__all__ = ["WebPushSettings", "plugin"]
