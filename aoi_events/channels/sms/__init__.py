"""The SMS channel: OMA Connectionless Push in short messages, through SMSCs."""

from aoi_events.channels.sms.plugin import plugin
from aoi_events.channels.sms.settings import SmsSettings

__all__ = ["SmsSettings", "plugin"]
