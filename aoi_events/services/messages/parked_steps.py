"""Outcomes of steps whose envelope was parked."""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from aoi_events.contracts.envelopes import (
    DeliverItem,
    DeliveryBatchV1,
    OutcomeKind,
)
from aoi_events.ports.broker import Outbound
from aoi_events.services.messages.envelopes import outcomes


def parked_steps(body: bytes, now: datetime) -> list[Outbound]:
    """The outcomes of a parked envelope: its steps fail, and nothing else.

    An unreadable envelope names no steps; their deadlines make the next attempt.
    """
    try:
        items = DeliveryBatchV1.decode(body).items
    except ValidationError:
        return []
    return outcomes(
        item.outcome(OutcomeKind.PARKED, now) for item in items if isinstance(item, DeliverItem)
    )
