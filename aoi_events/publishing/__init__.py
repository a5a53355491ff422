"""Publishing: clients of an AOI Server over the broker, for Application Servers and for devices.

Both send requests over direct reply-to and need only the broker port, so they work with RabbitMQ
and with ``memory://``. The messages are in :mod:`aoi_events.contracts`; a program in another
language needs only these, and any AMQP 0-9-1 client.
"""

from aoi_events.publishing.devices import DeviceRequests
from aoi_events.publishing.events import EventStream
from aoi_events.publishing.publisher import Publisher, Sent
from aoi_events.publishing.requests import send_request

__all__ = ["DeviceRequests", "EventStream", "Publisher", "Sent", "send_request"]
