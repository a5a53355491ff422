"""A delivery as people and programs see it: its state and its story, hop by hop."""

from __future__ import annotations

from aoi_events.contracts.answers import DeliveryStatus, Hop
from aoi_events.domain.costs import spent
from aoi_events.domain.delivery import Delivery

__all__ = ["delivery_status"]


def delivery_status(delivery: Delivery, *, story: bool = True) -> DeliveryStatus:
    """What may be shown of a delivery, with its ``story`` or without; nothing of it is a secret."""
    return DeliveryStatus(
        delivery=delivery.id,
        fingerprint=delivery.fingerprint,
        state=delivery.state,
        by=delivery.by,
        channel=delivery.channel,
        cost=spent(delivery),
        reason=delivery.reason,
        accepted_at=delivery.accepted_at,
        expires_at=delivery.expires_at,
        settled_at=delivery.settled_at,
        story=tuple(
            Hop(
                at=entry.at,
                what=entry.what,
                channel=entry.channel,
                step=entry.step,
                attempt=entry.attempt,
                detail=entry.detail,
                cost=entry.cost or None,
            )
            for entry in (delivery.story if story else ())
        ),
    )
