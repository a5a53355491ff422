"""The webhook channel: notifications as signed HTTP requests to a URL of the device's own."""

from aoi_events.channels.webhook.plugin import plugin
from aoi_events.channels.webhook.settings import WebhookSettings

__all__ = ["WebhookSettings", "plugin"]
