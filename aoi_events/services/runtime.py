"""The batch runtime of every worker that takes messages: take, read, handle, publish, acknowledge.

What it promises, whatever happens:

* a message is acknowledged only after its effects are committed and its outputs confirmed;
* an exception in a batch reruns it item by item, and an item that fails alone is parked;
* a fault of the broker or the store pauses consumption, and parks nothing;
* a message that was being handled when a process died, twice, is moved to quarantine, where it is
  handled alone and under a hard time limit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import structlog

from aoi_events.broker.topology import (
    QUARANTINE_AFTER,
    QUARANTINE_PREFETCH,
    quarantine_of,
    worker_queue,
)
from aoi_events.domain.retry import Backoff
from aoi_events.errors import (
    ErrorCode,
    InfrastructureError,
    PublishRefused,
    Refusal,
)
from aoi_events.ports.broker import Broker, Inbound, Outbound, Published, Subscription
from aoi_events.ports.clock import Clock, Dice
from aoi_events.services.incoming import check_reply_to, to_quarantine, unwrap
from aoi_events.services.outgoing import refusal
from aoi_events.services.parking import Parked, Parking

__all__ = ["BatchWorker", "Handler", "publish_all"]

log = structlog.get_logger(__name__)

T = TypeVar("T")

_PAUSE: Final = Backoff(first=0.2, factor=2.0, ceiling=10.0)


class Handler(Protocol[T]):
    """What one kind of worker does with messages of one queue."""

    @property
    def queue(self) -> str:
        """The queue that it takes from."""

    def read(self, message: Inbound) -> T:
        """What the message asks. Raises Refusal for bytes that ask nothing valid."""

    async def handle(self, items: Sequence[T]) -> Sequence[Outbound]:
        """Commit the effects of all items at once; return what must be published before the ack.

        May run again with the same items. Raises InfrastructureError when broker or store fail;
        any other exception is a bug in handling one of the items.
        """

    def abandoned(self, item: T) -> Sequence[Outbound]:
        """What must be published when this item is parked because handling it fails."""


class BatchWorker(Generic[T]):
    """Drives one handler: any number of these may run, here and on other machines."""

    def __init__(
        self,
        handler: Handler[T],
        *,
        broker: Broker,
        parking: Parking,
        clock: Clock,
        dice: Dice,
        batch: int = 200,
        hard_limit: float = 30.0,
        give_up: Callable[[], None],
        quarantine: bool = True,
    ) -> None:
        """``batch``: messages handled at once, and the prefetch. ``hard_limit`` seconds for one
        quarantined message; past it ``give_up`` must end the process at once.
        """
        self._handler = handler
        self._broker = broker
        self._parking = parking
        self._clock = clock
        self._dice = dice
        self._batch = batch
        self._hard_limit = hard_limit
        self._give_up = give_up
        self._quarantine = quarantine
        self._log = log.bind(queue=handler.queue)

    async def run(self, stop: asyncio.Event, started: asyncio.Event | None = None) -> None:
        """Work until ``stop``; then finish what was taken and return."""
        main, quarantine = worker_queue(self._handler.queue)
        sources = [(await self._broker.subscribe(main, prefetch=self._batch), False)]
        if self._quarantine:
            alone = await self._broker.subscribe(quarantine, prefetch=QUARANTINE_PREFETCH)
            sources.append((alone, True))
        if started is not None:
            started.set()
        async with asyncio.TaskGroup() as group:
            for subscription, alone_only in sources:
                group.create_task(self._consume(subscription, stop, alone=alone_only))
            await stop.wait()
            for subscription, _ in sources:
                await subscription.stop()

    async def _consume(
        self, subscription: Subscription, stop: asyncio.Event, *, alone: bool
    ) -> None:
        while messages := await subscription.take(self._batch):
            faults = 0
            while True:
                try:
                    if alone:
                        await self._alone(messages)
                    else:
                        await self._batch_of(messages)
                    await subscription.ack(messages)
                    break
                except InfrastructureError as fault:
                    # The same batch again: were its messages given to others meanwhile, because
                    # the connection was lost, then the repeat does no harm.
                    self._log.warning("paused", error=str(fault), messages=len(messages))
                    await subscription.pause()
                    if not await self._patience(faults, stop):
                        return
                    faults += 1
            if faults:
                await subscription.resume()
                self._log.info("resumed")

    async def _patience(self, faults: int, stop: asyncio.Event) -> bool:
        """Wait before another try; False when stopped meanwhile (what is unsettled comes again)."""
        delay = _PAUSE.delay(faults, self._dice.jitter())
        waiting = asyncio.ensure_future(self._clock.sleep(delay))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            stopping.cancel()
        return not stop.is_set()

    async def _batch_of(self, messages: Sequence[Inbound]) -> None:
        suspects = [m for m in messages if self._quarantine and _suspect(m)]
        if suspects:
            queue = quarantine_of(self._handler.queue)
            self._log.warning("quarantined", messages=len(suspects))
            await publish_all(self._broker, [to_quarantine(m, queue) for m in suspects])
        items, outputs = await self._read_all(
            [m for m in messages if not (self._quarantine and _suspect(m))]
        )
        await self._handle_all(items, outputs)

    async def _alone(self, messages: Sequence[Inbound]) -> None:
        for message in messages:
            watchdog = threading.Timer(self._hard_limit, self._give_up)
            watchdog.daemon = True
            watchdog.start()
            try:
                items, outputs = await self._read_all([unwrap(message)])
                await self._handle_all(items, outputs)
            finally:
                watchdog.cancel()

    async def _read_all(
        self, messages: Sequence[Inbound]
    ) -> tuple[list[tuple[Inbound, T]], list[Outbound]]:
        items: list[tuple[Inbound, T]] = []
        outputs: list[Outbound] = []
        parked: list[Parked] = []
        for message in messages:
            try:
                items.append((message, self._handler.read(message)))
            except Refusal as refused:
                parked.append(Parked(message, refused.code, refused.message))
                if _may_answer(message):
                    outputs.extend(refusal(message, refused))
        if parked:
            stored = await self._parking.park(self._handler.queue, parked)
            self._log.warning("parked", messages=len(parked), stored=stored, code=parked[0].code)
        return items, outputs

    async def _handle_all(
        self, items: Sequence[tuple[Inbound, T]], outputs: list[Outbound]
    ) -> None:
        if items:
            try:
                outputs.extend(await self._handler.handle([item for _, item in items]))
            except InfrastructureError:
                raise
            except Exception:  # noqa: BLE001 - a bug that one item brings out must not take the others with it
                self._log.exception("batch_failed", items=len(items))
                outputs.extend(await self._one_by_one(items))
        await publish_all(self._broker, outputs)

    async def _one_by_one(self, items: Sequence[tuple[Inbound, T]]) -> list[Outbound]:
        outputs: list[Outbound] = []
        for message, item in items:
            try:
                outputs.extend(await self._handler.handle([item]))
            except InfrastructureError:
                raise
            except Exception as bug:  # noqa: BLE001 - parked for a person, with the traceback in the log
                self._log.exception("item_parked", message_id=message.message_id)
                reason = f"{type(bug).__name__} while handling it; see the worker's log"
                await self._parking.park(
                    self._handler.queue, [Parked(message, ErrorCode.INTERNAL, reason)]
                )
                internal = Refusal(
                    ErrorCode.INTERNAL,
                    "a fault on our side; the request was set aside for a person",
                )
                outputs.extend(refusal(message, internal))
                outputs.extend(self._handler.abandoned(item))
        return outputs


async def publish_all(broker: Broker, outputs: Sequence[Outbound]) -> None:
    """Publish; raises PublishRefused unless the broker took every message that must not be lost."""
    if not outputs:
        return
    results = await broker.publish(outputs)
    for output, result in zip(outputs, results, strict=True):
        lost = result is Published.NACKED or (
            result is Published.RETURNED and output.if_returned is None
        )
        if lost and not output.best_effort:
            raise PublishRefused(
                f"the broker did not take a message for {output.exchange or 'queue'} "
                f"{output.routing_key!r} ({result.value}); is the queue declared, is it full?"
            )


def _suspect(message: Inbound) -> bool:
    return message.delivery_count >= QUARANTINE_AFTER


def _may_answer(message: Inbound) -> bool:
    try:
        check_reply_to(message)
    except Refusal:
        return False
    return message.reply_to is not None
