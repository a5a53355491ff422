"""What a channel says became of one item: of a delivery's step, or of a challenge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aoi_events.contracts.envelopes import (
    ChallengeItem,
    ChallengeOutcome,
    DeliverItem,
    OutcomeKind,
)
from aoi_events.ports.channel import Sent

__all__ = ["Verdict", "ended"]

_LONGEST_DETAIL: Final = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a provider's answer means for the item: an outcome's kind, words for people that name no
    address, and what follows.

    ``retry_after`` in seconds, 0: not said. ``works``: whether the provider itself does, which its
    refusal of one message shows as well; None: nothing was learnt of it.
    """

    kind: OutcomeKind
    detail: str
    closes_channel: bool = False
    retry_after: float = 0.0
    works: bool | None = True


def ended(
    item: DeliverItem | ChallengeItem,
    kind: OutcomeKind,
    now: datetime,
    detail: str,
    *,
    closes_channel: bool = False,
    provider_messages: tuple[str | None, ...] = (),
    retry_after: float = 0.0,
    throttled: bool = False,
) -> Sent:
    """The result for an item; that a challenge was taken, nobody waits for.

    ``detail`` is for people, senders among them: it names no address. ``retry_after`` holds back
    this item, in seconds; ``throttled``: because there were too many.
    """
    if isinstance(item, ChallengeItem):
        if kind is OutcomeKind.ACCEPTED:
            return Sent(None, provider_messages, throttled)
        challenged = ChallengeOutcome(
            challenge=item.id,
            attempt=item.attempt,
            kind=kind,
            at=now,
            client=item.client,
            channel=item.channel,
            detail=detail[:_LONGEST_DETAIL] or None,
            closes_channel=closes_channel,
            retry_after=retry_after or None,
        )
        return Sent(challenged, provider_messages, throttled)
    outcome = item.outcome(
        kind,
        now,
        detail=detail[:_LONGEST_DETAIL] or None,
        closes_channel=closes_channel,
        retry_after=retry_after or None,
    )
    return Sent(outcome, provider_messages, throttled)
