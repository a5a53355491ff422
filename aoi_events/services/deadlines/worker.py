"""The deadlines worker: processes every row whose deadline has passed, so that nothing is lost.

Retries, hedges, acknowledgement time-outs, expiry, store-and-forward, challenges and the renewal of
proofs all use this one mechanism. Any number of copies may run: they share what is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.resubscribing_consumer import ResubscribingConsumer
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.platform.tasks import first_completed
from aoi_events.ports.broker import Broker
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import Kind, Store
from aoi_events.services.deadlines.clients import UnusedClients
from aoi_events.services.deadlines.deliveries import DueDeliveries
from aoi_events.services.deadlines.proofs import DueProofs
from aoi_events.services.messages.envelopes import hint
from aoi_events.services.runtime.pausing import PAUSES, Stopped, pause_unless_stopped
from aoi_events.services.runtime.settings import ServiceSettings
from aoi_events.topology import hints_queue

log = get_logger(__name__)

_RETRY_POLICY: Final = RetryPolicy(first=0.1, most=5.0, jitter=0.5)
_HINTS: Final = 100
_HINTS_RETRY_POLICY: Final = RetryPolicy(first=1.0, most=1.0, jitter=0.0)
_RETAIN: Final = 1_000
_LATE_REPORTS_WITHIN: Final = 2.0
"""Seconds for outcomes and confirms that waited for the broker, after it takes messages again."""


@dataclass(eq=False)
class DeadlinesWorker:
    """Claims due rows; writes deliveries, proofs, retention; publishes next steps and events."""

    store: Store
    broker: Broker
    settings: ServiceSettings
    clock: Clock
    dice: Dice
    _: KW_ONLY
    batch: int = 200
    metrics: WorkerMetrics = NO_METRICS

    def __post_init__(self) -> None:
        store, broker, settings, clock = self.store, self.broker, self.settings, self.clock
        batch, metrics = self.batch, self.metrics
        self._deliveries = DueDeliveries(
            store, broker, settings, clock, self.dice, batch=batch, metrics=metrics
        )
        self._proofs = DueProofs(store, broker, settings, clock, batch=batch, metrics=metrics)
        self._unused = UnusedClients(store, broker, settings.policies, clock, batch=batch)
        self._woken = asyncio.Event()
        self._in_doubt = False

    async def run(self, stop: asyncio.Event, started: asyncio.Event | None = None) -> None:
        """Process due rows every ``poll`` seconds, or at once after a hint; until ``stop``."""
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._listen()), group.create_task(self._retain())]
            if started is not None:
                started.set()
            try:
                while not stop.is_set():
                    await self._round(stop)
            except Stopped:
                pass
            for task in beside:
                task.cancel()

    async def process_due(self) -> bool:
        """Process what is due now; True when anything was, so that there may be more."""
        await self._wait_for_broker()
        deliveries = await self._deliveries.process_due()
        proofs = await self._proofs.process_due()
        return deliveries + proofs > 0

    async def _round(self, stop: asyncio.Event) -> None:
        # A hint that comes while we look is about something that we may have missed.
        self._woken.clear()
        busy = await retry(
            self.process_due,
            policy=_RETRY_POLICY,
            on=PAUSES,
            failed=self._complain,
            sleep=lambda seconds: pause_unless_stopped(self.clock, self.broker, seconds, stop),
        )
        if not busy:
            pause = self.clock.sleep(self.settings.policies.poll)
            await first_completed(pause, self._woken.wait(), stop.wait())

    def _complain(self, attempt: FailedAttempt) -> None:
        self._in_doubt |= isinstance(attempt.error, BrokerUnavailable)
        log.warning("paused", worker="deadlines", seconds=attempt.pause, error=str(attempt.error))

    async def _wait_for_broker(self) -> None:
        """Wait until the broker takes messages: a device's silence means nothing until then, and
        each decision on it could send an SMS. Raises BrokerUnavailable.
        """
        if not self._in_doubt and not await self.broker.blocked():
            return
        self._in_doubt = True
        await self.broker.publish([hint()])
        await self.clock.sleep(_LATE_REPORTS_WITHIN)
        self._in_doubt = False

    async def _listen(self) -> None:
        """Receive hints. They only save time, so a lost connection costs nothing:
        polling goes on.
        """
        consumer = ResubscribingConsumer(
            self.broker,
            lambda: hints_queue(self.dice.token_hex(8)),
            prefetch=_HINTS,
            policy=_HINTS_RETRY_POLICY,
            on=PAUSES,
            failed=_log_no_hints,
            sleep=self.clock.sleep,
        )
        await consumer.subscribe()
        while (messages := await consumer.take()) is not None:
            self._woken.set()
            await consumer.ack(messages)

    async def _retain(self) -> None:
        """Remove rows that are not needed any more, in batches, until there are none left."""
        parts: dict[str, Callable[[], Awaitable[int]]] = {
            kind.value: partial(self._remove, kind) for kind in Kind
        }
        parts["unused"] = self._unused.process_due
        while True:
            more = [await self._run_part(name, part) for name, part in parts.items()]
            if not any(more):
                await self.clock.sleep(self.settings.policies.retain_every)

    async def _remove(self, kind: Kind) -> bool:
        """Remove a batch; returns whether there may be more."""
        before = self.clock.now() - timedelta(seconds=self.settings.policies.keep_settled)
        async with self.store.transaction() as tx:
            return await tx.retain(kind, before=before, limit=_RETAIN) >= _RETAIN

    async def _run_part(self, name: str, part: Callable[[], Awaitable[int]]) -> int:
        """The result of ``part``: whether there may be more; 0 when it fails now, which does not
        stop the other parts.
        """
        try:
            return await part()
        except PAUSES as fault:
            log.warning("retention_paused", part=name, error=str(fault))
        except Exception:
            # A bug in retention must not end the processing of due rows.
            log.exception("retention_failed", part=name)
        return 0


def _log_no_hints(attempt: FailedAttempt) -> None:
    log.info("no_hints", error=str(attempt.error))
