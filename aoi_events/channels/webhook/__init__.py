"""The webhook channel: signed HTTP requests to a URL that the device names."""

from aoi_events.channels.webhook.plugin import plugin
from aoi_events.channels.webhook.settings import WebhookSettings

__all__ = ["WebhookSettings", "plugin"]
