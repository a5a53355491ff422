"""The result of sending one item: a step of a delivery, or a challenge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aoi_events.contracts.envelopes import (
    ChallengeItem,
    DeliverItem,
    OutcomeKind,
)
from aoi_events.ports.channel import SubmitResult

_LONGEST_DETAIL: Final = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of a provider's answer for an item: the kind of its outcome, and what follows.

    *Unavailable* means that a fault may last, so that other channels are tried at once; *refused*
    that it is short, so that only this one is tried again, until its time to acknowledge is over.
    ``detail`` is for people, and contains no address. ``retry_after`` is in seconds; 0: the
    provider named no time. ``works``: whether the provider itself works, which it also shows when
    it refuses one message; None: unknown. ``host_works``: whether its host (see
    ``RequestChannel.host``) can be reached; None: unknown.
    """

    kind: OutcomeKind
    detail: str
    closes_channel: bool = False
    retry_after: float = 0.0
    works: bool | None = True
    host_works: bool | None = None


def result_of(
    item: DeliverItem | ChallengeItem,
    kind: OutcomeKind,
    now: datetime,
    detail: str,
    *,
    closes_channel: bool = False,
    provider_messages: tuple[str | None, ...] = (),
    retry_after: float = 0.0,
    throttled: bool = False,
    address: str = "",
) -> SubmitResult:
    """The result of an item; there is no outcome for a challenge that the provider accepted.

    ``detail`` is for people, senders among them: it contains no address. ``retry_after``: seconds
    until this item may be sent again; ``throttled``: because there were too many. ``address``: see
    `SubmitResult`.
    """
    if isinstance(item, ChallengeItem) and kind is OutcomeKind.ACCEPTED:
        return SubmitResult(None, provider_messages, throttled, address)
    outcome = item.outcome(
        kind,
        now,
        detail=detail[:_LONGEST_DETAIL] or None,
        closes_channel=closes_channel,
        retry_after=retry_after or None,
    )
    return SubmitResult(outcome, provider_messages, throttled, address)
