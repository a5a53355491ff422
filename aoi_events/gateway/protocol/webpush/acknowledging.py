"""What a browser's acknowledgements mean for a delivery."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.contracts.identifiers import ClientId
from aoi_events.contracts.webpush import AckUpdate
from aoi_events.gateway.protocol.window import UnderWay

__all__ = ["outcome"]

_DELIVERY: Final = re.compile(r"dlv_[a-z2-7]{26}")
_NOT_DECRYPTED: Final = 101
_NOT_DELIVERED: Final = 102


def outcome(
    update: AckUpdate, sent: UnderWay | None, client: ClientId, now: datetime
) -> OutcomeItem | None:
    """What is reported for an acknowledgement; ``sent``: the delivery as it is under way here.

    100, none and unknown ones: the service worker has it. 101: the browser cannot read it, and
    never will. 102: the browser did not pass it on. It says so of a subscription that it has given
    up, and of every notification that it has passed on before; it keeps a hundred to know. So a
    first attempt was thrown away, and a later one is the echo of one whose acknowledgement was
    lost. Nothing is said of a 102 for what is not under way: the attempt to come will tell.
    None, too, for what names no delivery.
    """
    if not _DELIVERY.fullmatch(update.version):
        return None
    kind, detail = OutcomeKind.ACKNOWLEDGED, None
    if update.code == _NOT_DECRYPTED:
        kind, detail = OutcomeKind.DISCARDED, "the browser could not decrypt it"
    elif update.code == _NOT_DELIVERED:
        if sent is None:
            return None
        if sent.attempt == 1:
            kind, detail = OutcomeKind.DISCARDED, "the browser had nobody to give it to"
        else:
            detail = "the browser has had it before"
    return OutcomeItem(
        delivery=update.version,
        kind=kind,
        at=now,
        client=client,
        channel=None if sent is None else sent.channel,
        step=None if sent is None else sent.step,
        attempt=None if sent is None else sent.attempt,
        detail=detail,
    )
