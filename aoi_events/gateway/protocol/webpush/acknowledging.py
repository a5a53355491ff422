"""The outcomes of deliveries that a browser acknowledges."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.contracts.identifiers import ClientId
from aoi_events.contracts.webpush import AckUpdate
from aoi_events.gateway.protocol.outcomes import about
from aoi_events.gateway.protocol.window import InFlight

_DELIVERY: Final = re.compile(r"dlv_[a-z2-7]{26}")
_NOT_DECRYPTED: Final = 101
_NOT_DELIVERED: Final = 102


def outcome(
    update: AckUpdate, sent: InFlight | None, client: ClientId, now: datetime
) -> OutcomeItem | None:
    """The outcome of an acknowledgement; ``sent`` is the attempt in flight here, if any.

    Code 100, no code and unknown codes: the service worker has the notification. 101: the browser
    cannot decrypt it, now or later. 102: the browser did not deliver it to a page. It sends 102 for
    a subscription that has ended, and for a notification that it delivered before (it remembers
    100 of them). So a first attempt was discarded, and a later one repeats an attempt whose
    acknowledgement was lost. Returns None for a 102 without an attempt in flight, whose next
    attempt will decide, and for a version that names no delivery.
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
            kind, detail = OutcomeKind.DISCARDED, "the browser had no page to deliver it to"
        else:
            detail = "the browser already had it"
    return about(update.version, kind, sent, client, now, detail=detail)
