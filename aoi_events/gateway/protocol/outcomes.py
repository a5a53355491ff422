"""Outcomes of deliveries, as a session reports them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from aoi_events.contracts.device import AckFrame
from aoi_events.contracts.envelopes import DeliverItem, OutcomeItem, OutcomeKind
from aoi_events.contracts.identifiers import ChannelType, ClientId, DeliveryId
from aoi_events.gateway.protocol.window import InFlight

_KINDS: Final = {
    "delivered": OutcomeKind.ACKNOWLEDGED,
    "no_such_application": OutcomeKind.NO_SUCH_APPLICATION,
    "could_not_wake": OutcomeKind.COULD_NOT_WAKE,
}


def acknowledged(
    frame: AckFrame, sent: InFlight | None, client: ClientId, now: datetime
) -> OutcomeItem:
    """The outcome of an acknowledgement; ``sent`` is the attempt that this session sent, if any.

    When the acknowledgement names another attempt or channel than ``sent``, it is about the
    delivery as a whole, and the outcome has neither step nor attempt.
    """
    if sent is not None and not (
        frame.attempt in (None, sent.attempt) and frame.channel in (None, sent.channel)
    ):
        sent = None
    kind = _KINDS[frame.code]
    return about(frame.delivery, kind, sent, client, now, channel=frame.channel)


def about(
    delivery: DeliveryId,
    kind: OutcomeKind,
    sent: InFlight | None,
    client: ClientId,
    now: datetime,
    *,
    channel: ChannelType | None = None,
    detail: str | None = None,
    epoch: int | None = None,
) -> OutcomeItem:
    """An outcome of the attempt ``sent``, or (None) of a delivery as a whole on ``channel``."""
    return OutcomeItem(
        delivery=delivery,
        kind=kind,
        at=now,
        client=client,
        channel=channel if sent is None else sent.channel,
        step=None if sent is None else sent.step,
        attempt=None if sent is None else sent.attempt,
        detail=detail,
        epoch=epoch,
    )


def route_lost(item: DeliverItem, now: datetime) -> OutcomeItem:
    """The session, or its epoch, that a step was addressed to does not exist here."""
    return item.outcome(OutcomeKind.ROUTE_LOST, now, epoch=item.epoch)
