"""Attempts whose confirm came late: their windows start when the broker has taken them.

An attempt counts from its commit. While a broker is blocked or silent nothing reaches a device, and
its silence would start the next step, an SMS say, for everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from aoi_events.domain.delivery.attempts import restart
from aoi_events.domain.delivery.state import Delivery
from aoi_events.errors import StoreUnavailable
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Outbound, Published, StartedSteps
from aoi_events.ports.store import Store

log = get_logger(__name__)

_SLOW: Final = timedelta(seconds=1)


def later_starts(
    outputs: Sequence[Outbound], results: Sequence[Published], now: datetime
) -> list[tuple[Delivery, Delivery]]:
    """The deliveries with an attempt that started more than a second ago and was confirmed just
    now: as they were committed, and with the time that this attempt has from now on.
    """
    moved: dict[str, tuple[Delivery, Delivery]] = {}
    for output, result in zip(outputs, results, strict=True):
        if result is not Published.CONFIRMED or not isinstance(output.note, StartedSteps):
            continue
        for row, step, attempt in output.note.attempts:
            state = row.steps[step]
            if state.attempt != attempt or state.started_at is None:
                continue
            if now - state.started_at > _SLOW:
                _, after = moved.get(row.id, (row, row))
                moved[row.id] = row, restart(after, step, now)
    return list(moved.values())


async def postpone_slow_steps(
    store: Store, outputs: Sequence[Outbound], results: Sequence[Published], now: datetime
) -> None:
    """Move the deadlines of attempts whose confirm took longer than a second."""
    if moved := later_starts(outputs, results, now):
        try:
            async with store.transaction() as tx:
                await tx.postpone(moved)
        except StoreUnavailable as fault:
            # The messages are out: to publish them again would be worse than an early deadline.
            log.warning("deadlines_not_moved", deliveries=len(moved), error=str(fault))
