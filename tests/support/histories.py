"""Words to tell a delivery's history with, for tests that read like documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.delivery.facts import Decision, Fact, Planned, Reported
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.planning.plans import Step
from tests.support.rules import take
from tests.support.strategies import EPOCH, a_delivery

WEBSOCKET = Step("websocket", start_after=0.0, ack_within=10.0, connected=True)
SMS = Step("sms", start_after=None, ack_within=30.0)
BEHIND = replace(WEBSOCKET, start_after=None)
WAKE_UP = replace(SMS, wake_up=True)


def at(seconds: float) -> datetime:
    """That many seconds after acceptance."""
    return EPOCH + timedelta(seconds=seconds)


def planned(*steps: Step, ttl: float = 3600.0, storable: bool = True) -> Delivery:
    """A delivery accepted and planned at 0 s."""
    return take(a_delivery(ttl=ttl, storable=storable), Planned(steps), at(0)).delivery


def said(
    kind: OutcomeKind,
    when: float,
    step: int | None = 0,
    attempt: int | None = 1,
    *,
    retry_after: float = 0.0,
    closes_channel: bool = False,
    channel: str | None = None,
    epoch: int | None = None,
    detail: str = "",
    returns: int = 0,
) -> Reported:
    """An outcome."""
    return Reported(
        kind,
        at(when),
        step,
        attempt,
        channel=channel,
        retry_after=retry_after,
        closes_channel=closes_channel,
        epoch=epoch,
        detail=detail,
        returns=returns,
    )


def follow(delivery: Delivery, facts: Sequence[tuple[float, Fact]]) -> Decision:
    """The last decision after (seconds, fact) in turn."""
    decision = Decision(delivery, (), changed=False)
    for when, fact in facts:
        decision = take(decision.delivery, fact, at(when))
    return decision
