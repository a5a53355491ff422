"""Submissions in flight to providers: bounded, and outcomes published as answers arrive.

Theory of operation. A step is noted before it is submitted, and submitted once: from then on its
message is of no more use, because a worker that received it again would find it noted. So the
message is acknowledged after a moment even if a provider takes longer, and the worker goes on with
other messages; if the process dies meanwhile, there is no report on the step, and its deadline
starts a new attempt. The moment is for messages that kill the process: such a message is
redelivered, and ends in quarantine.

Items do not wait for each other: each one's result is reported, and its room free, as soon as the
channel returns it. The number of items under way is bounded: the others stay in the broker. Items
wait for room before they are checked and noted, so that nothing changes while they wait after their
check. While room becomes free, the time limit of their batch starts again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.domain.providers.message_ids import of_challenges
from aoi_events.platform.logs import SeldomLog, get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.ports.broker import Broker
from aoi_events.ports.channel import ConnectionlessChannel, SubmitResult
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import WorkerMetrics
from aoi_events.ports.store import ProviderMessage, Store
from aoi_events.services.messages.envelopes import outcomes
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.runtime.pausing import PAUSES, Stopped, pause_unless_stopped
from aoi_events.services.runtime.watchdog import progressed

log = get_logger(__name__)

_MOMENT: Final = 0.25
_UNAVAILABLE_FOR: Final = 10.0
_RETRY_POLICY: Final = RetryPolicy(first=0.1, most=5.0, jitter=0.5)

Work = DeliverItem | ChallengeItem
Key = tuple[str, int, int]

Known = tuple[Work, SubmitResult]
"""An item that is not submitted, and its result."""

Check = Callable[[Sequence[Work], datetime], Awaitable[tuple[Sequence[Work], Sequence[Known]]]]
"""Notes, at a time, which of the items are still wanted; returns these, and results of others."""


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of an item, and when the item was noted."""

    item: Work
    sent: SubmitResult
    noted_at: datetime


@dataclass(eq=False)
class Submissions:
    """Submits items of one channel to its providers; writes provider message IDs and publishes
    outcomes.
    """

    channel_type: str
    channel: ConnectionlessChannel
    store: Store
    broker: Broker
    clock: Clock
    metrics: WorkerMetrics = NO_METRICS

    def __post_init__(self) -> None:
        self._under_way = 0
        self._freed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unreported: list[tuple[Sequence[_Result], asyncio.Future[None]]] = []
        self._reporter: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._stop = asyncio.Event()
        self._seldom = SeldomLog(log)

    async def submit_all(self, items: Sequence[Work], check: Check) -> None:
        """Submit those of the items that ``check`` chooses, each part of them as soon as there is
        room for it, and report the others that ``check`` has a result of. Returns when all results
        are reported, or after a moment. Raises the fault of store or broker that keeps results from
        being reported while these leave no room.
        """
        parts: set[asyncio.Task[None]] = set()
        # A long lane has to wait for room itself, before it makes others wait.
        lanes: dict[str, list[Work]] = defaultdict(list)
        for item in items:
            lanes[self.channel.lane(item)].append(item)
        left = [item for lane in sorted(lanes.values(), key=len) for item in lane]
        while left:
            room = await self._room()
            part, left = left[:room], left[room:]
            now = self.clock.now()
            self._under_way += len(part)
            try:
                wanted, known = await check(part, now)
            finally:
                self._free(len(part))
            if known:
                parts.add(
                    self._start_task(self._report([_Result(*each, now) for each in known]), 0)
                )
            for item in wanted:
                parts.add(self._start_task(self._submit(item, now), 1))
        if parts:
            await asyncio.wait(parts, timeout=_MOMENT)

    async def drain(self) -> None:
        """Wait until every result is reported; results that cannot be reported any more are left to
        the deadlines.
        """
        self._stop.set()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """End at once; items under way are left to the deadlines."""
        tasks = [*self._tasks, *([self._reporter] if self._reporter is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- submitting ------------------------------------------------------------------------------

    async def _room(self) -> int:
        while (room := self.channel.at_once - self._under_way) <= 0:
            if self._fault is not None:
                raise self._fault
            self._freed.clear()
            await self._freed.wait()
            progressed()
        return room

    def _free(self, items: int) -> None:
        self._under_way -= items
        self._freed.set()

    def _start_task(self, work: Coroutine[Any, Any, None], items: int) -> asyncio.Task[None]:
        self._under_way += items
        task = asyncio.create_task(self._run_counted(work, items))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run_counted(self, work: Coroutine[Any, Any, None], items: int) -> None:
        try:
            await work
        finally:
            self._free(items)

    async def _submit(self, item: Work, now: datetime) -> None:
        sent = await self._deliver(item)
        self.metrics.submitted(self.channel_type, [sent])
        await self._report([_Result(item, sent, now)])

    async def _deliver(self, item: Work) -> SubmitResult:
        try:
            (sent,) = await self.channel.deliver([item])
        except PAUSES as fault:
            self._seldom.warning(
                "provider_unavailable", channel=self.channel_type, error=str(fault)
            )
            return self._failed(item, OutcomeKind.UNAVAILABLE)
        except Exception:
            # This step fails, and no other.
            log.exception("step_parked", channel=self.channel_type, client=item.client)
            return self._failed(item, OutcomeKind.PARKED)
        return sent

    def _failed(self, item: Work, kind: OutcomeKind) -> SubmitResult:
        if isinstance(item, ChallengeItem):
            return SubmitResult(None)
        parked = kind is OutcomeKind.PARKED
        detail = "the channel could not handle it" if parked else "the channel cannot be used now"
        wait = None if parked else _UNAVAILABLE_FOR
        return SubmitResult(item.outcome(kind, self.clock.now(), detail=detail, retry_after=wait))

    # -- reporting -------------------------------------------------------------------------------

    async def _report(self, results: Sequence[_Result]) -> None:
        """Publish results, together with all that arrive at the same time."""
        if not results:
            return
        reported = asyncio.get_running_loop().create_future()
        self._unreported.append((results, reported))
        if self._reporter is None:
            self._reporter = asyncio.create_task(self._report_all())
        await reported

    async def _report_all(self) -> None:
        try:
            while self._unreported:
                await asyncio.sleep(0)  # results of the same turn are published together
                together, self._unreported = self._unreported, []
                await self._publish([each for results, _ in together for each in results])
                for _, reported in together:
                    if not reported.done():
                        reported.set_result(None)
        finally:
            self._reporter = None

    async def _publish(self, results: Sequence[_Result]) -> None:
        async def attempt() -> None:
            await self._save_provider_messages(results)
            outputs = outcomes(
                each.sent.outcome for each in results if each.sent.outcome is not None
            )
            await publish_all(self.broker, outputs)
            self.metrics.published(outputs, self.clock.now())

        try:
            await retry(
                attempt,
                policy=_RETRY_POLICY,
                on=PAUSES,
                failed=self._complain,
                sleep=lambda seconds: pause_unless_stopped(
                    self.clock, self.broker, seconds, self._stop
                ),
            )
        except Stopped:
            log.warning("outcomes_unreported", channel=self.channel_type, items=len(results))
        except Exception:
            # No caller waits for this; the deadlines of the steps make the next attempt.
            log.exception("outcomes_unreported", channel=self.channel_type, items=len(results))
        finally:
            self._fault = None

    def _complain(self, failed: FailedAttempt) -> None:
        self._fault = failed.error
        self._freed.set()
        error = str(failed.error)
        log.warning("outcomes_wait", channel=self.channel_type, attempt=failed.number, error=error)

    async def _save_provider_messages(self, results: Iterable[_Result]) -> None:
        """Write the provider's message IDs, for its receipts."""
        named = [
            ProviderMessage(
                *key_of(each.item),
                part=part,
                parts=len(each.sent.provider_messages),
                provider=self._provider_of(each.item),
                message=message,
                client=each.item.client,
                at=each.noted_at,
                address=each.sent.address,
            )
            for each in results
            for part, message in enumerate(each.sent.provider_messages, 1)
            if message is not None
        ]
        if named:
            async with self.store.transaction() as tx:
                await tx.note_provider_messages(named)

    def _provider_of(self, item: Work) -> str:
        provider = self.channel.provider
        return of_challenges(provider) if isinstance(item, ChallengeItem) else provider


def key_of(item: Work) -> Key:
    """The key of an item's submission."""
    if isinstance(item, DeliverItem):
        return item.delivery, item.step, item.attempt
    return item.id, 0, item.attempt
