"""Publishing: the Application Servers' side, and the devices' side over the broker.

Both ask over direct reply-to and need no more than the broker port: they work against RabbitMQ
and ``memory://`` alike. What goes over the wire is in :mod:`aoi_events.contracts`; whoever speaks
another language needs only that, and any AMQP 0-9-1 client.
"""

from aoi_events.publishing.devices import DeviceRequests
from aoi_events.publishing.events import EventStream
from aoi_events.publishing.publisher import Publisher, Sent
from aoi_events.publishing.requests import send_request

__all__ = ["DeviceRequests", "EventStream", "Publisher", "Sent", "send_request"]
