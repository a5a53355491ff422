"""The runtime of every worker that consumes messages: take, read, handle, publish, acknowledge.

Its guarantees, whatever happens:

* a message is acknowledged only after its effects are committed and its outputs confirmed;
* an exception in a batch reruns it item by item, and an item that fails alone is parked;
* a fault of the broker, the store or the settings pauses consumption, and parks nothing;
* a batch that makes no progress within its time limit, pauses aside, ends the process;
* a message that was being handled when a process died, twice, is moved to quarantine, where it is
  handled alone and under a shorter limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Final, Generic, TypeVar

from aoi_events.errors import ErrorCode, Refusal
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.ports.broker import Broker, Inbound, Outbound, Subscription
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.services.messages.answers import internal_error, refusal
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.messages.quarantine import as_sent, to_quarantine, unwrap
from aoi_events.services.messages.requests import may_answer
from aoi_events.services.messages.slow_confirms import postpone_slow_steps
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.parking import Parked, Parking
from aoi_events.services.runtime.pausing import PAUSES, Stopped, pause_unless_stopped
from aoi_events.services.runtime.watchdog import Watchdog
from aoi_events.topology import (
    QUARANTINE_AFTER,
    QUARANTINE_PREFETCH,
    REQUESTS,
    quarantine_of,
    worker_queue,
)

log = get_logger(__name__)

T = TypeVar("T")

_RETRY_POLICY: Final = RetryPolicy(first=0.1, most=5.0, jitter=0.5)


@dataclass(eq=False)
class BatchWorker(Generic[T]):
    """Runs one handler; any number of copies may run, here and on other machines.

    ``batch``: messages handled at once, and the prefetch. ``batch_limit`` seconds without
    progress for a batch, ``hard_limit`` for one quarantined message; past it ``give_up``, called
    from a thread of its own because the event loop may be what hangs, must end the process at once.
    ``slow``: seconds for handling and confirms after which steps count from their confirms.
    ``operators``: broker users who may put messages into the quarantine, beside the worker's own.
    """

    handler: Handler[T]
    _: KW_ONLY
    broker: Broker
    parking: Parking
    clock: Clock
    batch: int = 200
    batch_limit: float = 1_800.0
    hard_limit: float = 120.0
    slow: float = 1.0
    give_up: Callable[[], None]
    quarantine: bool = True
    operators: Collection[str] = ()
    metrics: WorkerMetrics = NO_METRICS

    def __post_init__(self) -> None:
        self._log = log.bind(queue=self.handler.queue)
        self.watchdog = Watchdog(self.batch_limit, self.give_up)
        self.hard_watchdog = Watchdog(self.hard_limit, self.give_up)

    async def run(self, stop: asyncio.Event, started: asyncio.Event | None = None) -> None:
        """Run until ``stop``; then finish the messages that were taken, and return."""
        main, quarantine = worker_queue(self.handler.queue)
        work = await self.broker.subscribe(main, prefetch=self.batch)
        sources = [(work, False)]
        if self.quarantine:
            alone = await self.broker.subscribe(quarantine, prefetch=QUARANTINE_PREFETCH)
            sources.append((alone, True))
        if started is not None:
            started.set()
        async with asyncio.TaskGroup() as group:
            for subscription, alone_only in sources:
                group.create_task(self._consume(subscription, stop, alone=alone_only))
            await stop.wait()
            await asyncio.gather(*(subscription.stop() for subscription, _ in sources))

    # --- taking and settling -----------------------------------------------------------------

    async def _consume(
        self, subscription: Subscription, stop: asyncio.Event, *, alone: bool
    ) -> None:
        queue = quarantine_of(self.handler.queue) if alone else self.handler.queue
        watchdog = self.hard_watchdog if alone else self.watchdog
        try:
            with watchdog.awake():
                while messages := await subscription.take(self.batch):
                    with self.metrics.batch(queue, [message.message_id for message in messages]):
                        await self._settle(subscription, messages, stop, watchdog, alone=alone)
        except Stopped:
            # Messages that were taken and not settled are redelivered to another worker.
            self._log.info("stopped_while_paused")

    async def _settle(
        self,
        subscription: Subscription,
        messages: Sequence[Inbound],
        stop: asyncio.Event,
        watchdog: Watchdog,
        *,
        alone: bool,
    ) -> None:
        """Handle and acknowledge messages, however long broker or store are unavailable.

        The same batch is tried again: if its messages were redelivered to others meanwhile, because
        the connection was lost, then the repeat does no harm.
        """
        paused = False

        async def attempt() -> None:
            nonlocal messages
            if alone:
                await self._handle_quarantined(messages)
            else:
                messages = await self._move_suspects(subscription, messages)
                await self._handle_together(messages)
            await subscription.ack(messages)

        async def pause(seconds: float) -> None:
            nonlocal messages, paused
            if not paused:
                paused = True
                await subscription.pause()
            # Effects may have been committed before the fault: all outputs are due again.
            messages = [replace(message, redelivered=True) for message in messages]
            with watchdog.asleep():
                await pause_unless_stopped(self.clock, self.broker, seconds, stop)

        with watchdog.watch():
            await retry(
                attempt, policy=_RETRY_POLICY, on=PAUSES, failed=self._complain, sleep=pause
            )
            if paused:
                await subscription.resume()
                self._log.info("resumed")

    def _complain(self, attempt: FailedAttempt) -> None:
        self._log.warning(
            "paused", attempt=attempt.number, seconds=attempt.pause, error=str(attempt.error)
        )

    # --- handling ------------------------------------------------------------------------------

    async def _move_suspects(
        self, subscription: Subscription, messages: Sequence[Inbound]
    ) -> Sequence[Inbound]:
        """Move to quarantine what was being handled twice when a process died; return the rest."""
        suspects = [m for m in messages if m.delivery_count >= QUARANTINE_AFTER]
        if not self.quarantine or not suspects:
            return messages
        queue = quarantine_of(self.handler.queue)
        await publish_all(self.broker, [to_quarantine(m, queue) for m in suspects])
        self._log.warning("quarantined", messages=len(suspects))
        await subscription.ack(suspects)
        return [m for m in messages if m.delivery_count < QUARANTINE_AFTER]

    async def _handle_together(self, messages: Sequence[Inbound]) -> None:
        # A queue without a quarantine has dead letters, which its handler unwraps.
        await self._work([as_sent(m) for m in messages] if self.quarantine else messages)

    async def _handle_quarantined(self, messages: Sequence[Inbound]) -> None:
        for message in messages:
            try:
                inner = unwrap(message, {*self.operators, self.broker.user})
            except Refusal as refused:
                await self._refuse_quarantined(message, refused)
            else:
                await self._work([inner])

    async def _refuse_quarantined(self, message: Inbound, refused: Refusal) -> None:
        """Park a message that its writer may not put into the quarantine, unless it is the replay
        of one that is parked.
        """
        answers = refusal(message, refused) if may_answer(message) else []
        parked = [Parked(as_sent(message), refused.code, _reason(refused))]
        if await self.parking.has_original(message):
            self._log.warning("replay_refused", user=message.user_id, reason=refused.message)
            parked = []
        await self._set_aside(parked, answers)

    async def _work(self, messages: Sequence[Inbound]) -> None:
        messages, items = await self._read(messages)
        if not items:
            return
        try:
            await self._handle(items, messages)
        except PAUSES:
            raise
        except Exception:  # noqa: BLE001 - a bug that one item brings out must not take others down
            self._log.exception("batch_failed", items=len(items))
            for message in messages:
                await self._handle_alone(replace(message, redelivered=True))

    async def _read(self, messages: Sequence[Inbound]) -> tuple[list[Inbound], list[T]]:
        """The valid messages, and their items; the others are answered and parked, except requests
        of an unknown gateway.
        """
        good: list[Inbound] = []
        items: list[T] = []
        bad: list[Parked] = []
        unknown_gateways: list[Refusal] = []
        answers: list[Outbound] = []
        for message in messages:
            try:
                items.append(self.handler.read(message))
            except Refusal as refused:
                # A setting is missing, and devices will ask again: there is nothing to replay.
                if refused.code is ErrorCode.GATEWAY_UNKNOWN:
                    unknown_gateways.append(refused)
                else:
                    bad.append(Parked(self._to_park(message), refused.code, _reason(refused)))
                answers += refusal(message, refused) if may_answer(message) else []
            except Exception as bug:  # noqa: BLE001 - parked for a person, with its traceback logged
                self._log.exception("unreadable", message_id=message.message_id)
                bad.append(_parked(self._to_park(message), bug))
                answers += internal_error(message) if may_answer(message) else []
            else:
                good.append(message)
        if unknown_gateways:
            reason = unknown_gateways[0].message
            self._log.warning("gateway_unknown", messages=len(unknown_gateways), reason=reason)
        await self._set_aside(bad, answers)
        return good, items

    async def _set_aside(self, bad: Sequence[Parked], answers: Sequence[Outbound]) -> None:
        if bad:
            stored = await self.parking.park(self.handler.queue, bad)
            self._log.warning("parked", messages=len(bad), stored=stored, code=bad[0].code)
        await self._publish_after_parking(answers)

    async def _handle(self, items: Sequence[T], messages: Sequence[Inbound]) -> None:
        # A clock that is set meanwhile makes nothing slow.
        time = asyncio.get_running_loop().time
        slow_at = time() + self.slow
        outputs = await self.handler.handle(items)
        results = await publish_all(self.broker, outputs)
        if time() > slow_at or any(message.redelivered for message in messages):
            await postpone_slow_steps(self.parking.store, outputs, results, self.clock.now())
        if self.quarantine:
            await self.parking.forget_replayed(messages)
        self.metrics.published(outputs, self.clock.now())
        self.metrics.unanswered(
            message.routing_key
            for message in messages
            if message.reply_to is None and message.exchange == REQUESTS
        )

    async def _handle_alone(self, message: Inbound) -> None:
        item = self.handler.read(message)
        try:
            await self._handle([item], [message])
        except PAUSES:
            raise
        except Exception as bug:  # noqa: BLE001 - parked for a person, with its traceback logged
            about = self.handler.about(item)
            self._log.exception("item_parked", message_id=message.message_id, **about)
            await self.parking.park(self.handler.queue, [_parked(self._to_park(message), bug)])
            await self._publish_after_parking(
                [*internal_error(message), *self.handler.abandoned(item)]
            )

    def _to_park(self, message: Inbound) -> Inbound:
        """The message as it is parked: a sender may have marked a dead letter as a replay."""
        return message if self.quarantine else as_sent(message)

    async def _publish_after_parking(self, outputs: Sequence[Outbound]) -> None:
        """Publish the messages that follow a parked one; a failure is logged and not repeated."""
        try:
            await publish_all(self.broker, outputs)
            self.metrics.published(outputs, self.clock.now())
        except PAUSES:
            raise
        except Exception:  # noqa: BLE001 - the message itself is safe in the store
            self._log.exception("unanswered", outputs=len(outputs))


def _reason(refused: Refusal) -> str:
    return f"{refused.field}: {refused.message}" if refused.field else refused.message


def _parked(message: Inbound, bug: Exception) -> Parked:
    reason = f"{type(bug).__name__} while handling it; see the worker's log"
    return Parked(message, ErrorCode.INTERNAL, reason)
