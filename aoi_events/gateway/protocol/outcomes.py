"""What a session reports of deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from aoi_events.contracts.device import AckFrame
from aoi_events.contracts.envelopes import DeliverItem, OutcomeItem, OutcomeKind
from aoi_events.contracts.identifiers import ClientId, DeliveryId
from aoi_events.gateway.protocol.window import UnderWay

__all__ = ["acknowledged", "discarded", "refused", "route_lost", "sent_in_vain"]

_KINDS: Final = {
    "delivered": OutcomeKind.ACKNOWLEDGED,
    "no_such_application": OutcomeKind.NO_SUCH_APPLICATION,
    "could_not_wake": OutcomeKind.COULD_NOT_WAKE,
}


def acknowledged(
    frame: AckFrame, sent: UnderWay | None, client: ClientId, now: datetime
) -> OutcomeItem:
    """What the device says, about what was ``sent`` to it here if it speaks of that.

    Otherwise it speaks for the delivery as a whole, and neither step nor attempt is taken from it.
    """
    if sent is not None and not (
        frame.attempt in (None, sent.attempt) and frame.channel in (None, sent.channel)
    ):
        sent = None
    return OutcomeItem(
        delivery=frame.delivery,
        kind=_KINDS[frame.code],
        at=now,
        client=client,
        channel=frame.channel if sent is None else sent.channel,
        step=None if sent is None else sent.step,
        attempt=None if sent is None else sent.attempt,
    )


def discarded(item: DeliverItem, detail: str, now: datetime) -> OutcomeItem:
    """Never: the device can do nothing with it."""
    return item.outcome(OutcomeKind.DISCARDED, now, detail=detail)


def refused(item: DeliverItem, detail: str, now: datetime) -> OutcomeItem:
    """Not now; the delivery's own retries go on from here."""
    return item.outcome(OutcomeKind.REFUSED, now, detail=detail)


def route_lost(item: DeliverItem, now: datetime) -> OutcomeItem:
    """The session, or the epoch of it, that a step was meant for is not there."""
    return item.outcome(OutcomeKind.ROUTE_LOST, now, epoch=item.epoch)


def sent_in_vain(
    delivery: DeliveryId, sent: UnderWay, client: ClientId, epoch: int | None, now: datetime
) -> OutcomeItem:
    """The session ended before the device acknowledged."""
    return OutcomeItem(
        delivery=delivery,
        kind=OutcomeKind.ROUTE_LOST,
        at=now,
        client=client,
        channel=sent.channel,
        step=sent.step,
        attempt=sent.attempt,
        epoch=epoch,
    )
