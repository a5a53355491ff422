"""Everything that can be told to metrics, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.states import DeliveryState, Evidence, Reason
from aoi_events.domain.delivery.state import Delivery
from aoi_events.domain.providers.breaker import Breaker, BreakerState
from aoi_events.platform.message_ids import MessageIds
from aoi_events.ports.broker import Answered, Outbound, Published, StartedSteps
from aoi_events.ports.channel import SubmitResult
from aoi_events.ports.metrics import Level, Limit, Metrics
from tests.support.strategies import EPOCH, a_delivery

CHANNELS: Final = ("websocket", "sms")
QUEUES: Final = ("aoi.notification", "aoi.outcome")
PROVIDERS: Final = ("eu",)


def after(seconds: float) -> datetime:
    """That long after acceptance."""
    return EPOCH + timedelta(seconds=seconds)


def settled(row: Delivery, state: DeliveryState, **more: object) -> Delivery:
    """The delivery after it ended, 2 s after its acceptance."""
    return replace(row, state=state, settled_at=after(2), **more)  # type: ignore[arg-type]


def tell_everything(
    metrics: Metrics,
    *,
    channel: str | None = "websocket",
    queue: str = "aoi.notification",
    request: str = "notification.send",
    code: str = "ok",
    reason: str | None = Reason.PARKED,
    close: int = 1000,
) -> None:
    """Every call that there is, with these texts wherever one can come from outside."""
    with metrics.batch(queue, [next(MessageIds().now()), code, None]):
        pass
    body = Outbound("", "", b"")
    started = [replace(a_delivery(), accepted_at=at) for at in (EPOCH, after(0.5))]
    metrics.published(
        [
            replace(body, note=Answered(request, code)),
            replace(body, note=StartedSteps(tuple((row, 0, 1) for row in started))),
            replace(body, note=StartedSteps(((started[0], 1, 2),))),
            body,
        ],
        after(1),
    )
    metrics.unanswered([request])
    row = replace(a_delivery(), state=DeliveryState.SENDING)
    failed = settled(row, DeliveryState.FAILED, reason=reason, channel=channel)
    delivered = settled(failed, DeliveryState.DELIVERED, by=Evidence.DEVICE, reason=None)
    stored = replace(row, state=DeliveryState.STORED, reason=reason)
    metrics.deliveries([(None, row), (row, stored), (row, failed), (failed, delivered)])
    metrics.outcomes([(OutcomeKind.ACKNOWLEDGED, channel), (code, None)])
    metrics.parked(queue, [code, code])
    metrics.due("delivery", 2, [0.1, -0.1])
    metrics.due("proof", 1)
    metrics.submitted(channel or "", [SubmitResult(None), SubmitResult(None, throttled=True)])
    metrics.providers(PROVIDERS)
    metrics.receipt(channel or "", PROVIDERS[0], "exact")
    metrics.receipt(channel or "", channel, "unknown")
    metrics.watch_window(channel or "", lambda: 3)
    metrics.watch_breakers(channel or "", lambda: {"a": Breaker(BreakerState.OPEN)})
    metrics.policy_reloaded("taken")
    metrics.policy_reloaded("refused")
    metrics.frame_received()
    metrics.frame_sent()
    metrics.closed("server", close)
    metrics.closed("device", close)
    metrics.closed(None, None)
    for limit in Limit:
        metrics.refused(limit)
    metrics.gave_up()
    metrics.answered("POST", "/wpush/v1/x", 201, 0.1)
    metrics.answered(request, code, close, None)
    metrics.watch(dict.fromkeys(Level, lambda: 7))
    for read_only in (True, False):
        with metrics.transaction(read_only=read_only):
            pass
    metrics.confirmed([*Published, Published.CONFIRMED])
    metrics.uncertain(4)
    metrics.reconnected("consuming")
