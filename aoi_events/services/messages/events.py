"""Events, as messages to the exchange ``aoi.events``."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from aoi_events.contracts.events import CloudEvent, DeliveryChanged, EventData, event_routing_key
from aoi_events.domain.delivery.state import Delivery
from aoi_events.ports.broker import Assurance, Outbound
from aoi_events.topology import EVENTS

_EVENT_TYPE: Final = "application/cloudevents+json"


def event(kind: str, sender: str, data: EventData, *, at: datetime, key: str) -> Outbound:
    """The event of one fact; its ID follows from ``kind`` and ``key``, so a repeat has
    the same ID.
    """
    body = CloudEvent(
        id=hashlib.sha256(f"{kind}\0{key}".encode()).hexdigest()[:32],
        type=f"aoi.{kind}.v1",
        subject=key.partition("@")[0],
        time=at,
        data=data,
    )
    return Outbound(
        exchange=EVENTS,
        routing_key=event_routing_key(kind, sender),
        body=body.encode(),
        mandatory=False,
        assurance=Assurance.BEST_EFFORT,
        content_type=_EVENT_TYPE,
        type=body.type,
    )


def delivery_event(delivery: Delivery, now: datetime) -> Outbound:
    """The event of the delivery's present state (stored or terminal)."""
    at = delivery.settled_at or delivery.stored_at or now
    return event(
        f"notification.{delivery.state}",
        delivery.sender,
        DeliveryChanged(
            notification=delivery.notification,
            delivery=delivery.id,
            fingerprint=delivery.fingerprint,
            application=delivery.application,
            state=delivery.state,
            by=delivery.by,
            channel=delivery.channel,
            reason=delivery.reason,
            supersedes=delivery.supersedes,
        ),
        at=at,
        key=f"{delivery.id}@{at.timestamp():.6f}",
    )
