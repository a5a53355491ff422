"""AOI events: one always-online connection for all the applications of a device.

Here are the names that backends use; :mod:`aoi_events.contracts` has what crosses the wire,
``aoi_events.client`` the devices' side, ``aoi_events.testing`` fixtures. Names are loaded when they
are first used, so that importing a part of the package never loads the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aoi_events.platform.lazy_names import lazy_names

if TYPE_CHECKING:
    from aoi_events.contracts.content import Content
    from aoi_events.contracts.events import CloudEvent
    from aoi_events.contracts.identifiers import Urgency
    from aoi_events.contracts.states import DeliveryState
    from aoi_events.errors import (
        AoiError,
        BrokerUnavailable,
        ConfigurationError,
        EndedOtherwise,
        ErrorCode,
        PublishRefused,
        RequestRefused,
        RequestTimeout,
        UnexpectedAnswer,
        WaitTimeout,
    )
    from aoi_events.publishing import DeviceRequests, EventStream, Publisher, Sent, send_request

__all__ = [
    "AoiError",
    "BrokerUnavailable",
    "CloudEvent",
    "ConfigurationError",
    "Content",
    "DeliveryState",
    "DeviceRequests",
    "EndedOtherwise",
    "ErrorCode",
    "EventStream",
    "PublishRefused",
    "Publisher",
    "RequestRefused",
    "RequestTimeout",
    "Sent",
    "UnexpectedAnswer",
    "Urgency",
    "WaitTimeout",
    "send_request",
]

_HOMES = dict.fromkeys(__all__, "aoi_events.errors") | {
    "CloudEvent": "aoi_events.contracts.events",
    "Content": "aoi_events.contracts.content",
    "DeliveryState": "aoi_events.contracts.states",
    "DeviceRequests": "aoi_events.publishing",
    "EventStream": "aoi_events.publishing",
    "Publisher": "aoi_events.publishing",
    "Sent": "aoi_events.publishing",
    "Urgency": "aoi_events.contracts.identifiers",
    "send_request": "aoi_events.publishing",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
