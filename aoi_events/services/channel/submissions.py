"""What was handed to a provider: bounded, each lane for itself, and told as it is answered.

Theory of operation. A step is noted before it is handed over, and handed over once: from then on
its message is of no more use, because whoever got it again would find it noted. So the message is
acknowledged after a moment even if a provider takes longer, and the worker goes on with other
messages; should the process die meanwhile, nobody says anything of the step, and its deadline tries
again under a new attempt. The moment is for what kills the process: such a message comes again, and
ends in quarantine.

Lanes do not wait for each other, so that a provider that is slow holds back its own items only. How
many items are under way in all is bounded: what is too much stays in the broker. Items wait for
room before they are checked and noted, so that nothing changes while they wait after their check.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.platform.logs import get_logger
from aoi_events.platform.retry import Attempt, Patience, patiently
from aoi_events.ports.broker import Broker
from aoi_events.ports.channel import ConnectionlessChannel, Sent
from aoi_events.ports.clock import Clock
from aoi_events.ports.metrics import NO_METRICS, WorkerMetrics
from aoi_events.ports.store import ProviderMessage, Store, Submission
from aoi_events.services.messages.envelopes import outcomes
from aoi_events.services.messages.publish import publish_all
from aoi_events.services.runtime.pausing import PAUSES, Stopped, sleep_or_stop

__all__ = ["Key", "Submissions", "Work", "key_of"]

log = get_logger(__name__)

_MOMENT: Final = 0.25
_UNAVAILABLE_FOR: Final = 10.0
_PATIENCE: Final = Patience(first=0.1, most=5.0, jitter=0.5)

Work = DeliverItem | ChallengeItem
Key = tuple[str, int, int]

Known = tuple[Work, Sent]
"""An item that is not handed over, and its result."""

Check = Callable[[Sequence[Work], datetime], Awaitable[tuple[Sequence[Work], Sequence[Known]]]]
"""Notes, at a time, which of the items are still wanted; returns these, and results of others."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What became of an item, and when it was noted."""

    item: Work
    sent: Sent
    noted_at: datetime


class Submissions:
    """Hands items of one channel to its providers; writes provider message IDs and publishes
    outcomes.
    """

    def __init__(
        self,
        channel_type: str,
        channel: ConnectionlessChannel,
        store: Store,
        broker: Broker,
        clock: Clock,
        metrics: WorkerMetrics = NO_METRICS,
    ) -> None:
        self._type = channel_type
        self._channel = channel
        self._store = store
        self._broker = broker
        self._clock = clock
        self._metrics = metrics
        self._under_way = 0
        self._freed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._untold: list[tuple[Sequence[_Said], asyncio.Future[None]]] = []
        self._teller: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def noted(self, item: Work, now: datetime) -> Submission:
        """The note that the item is handed over."""
        delivery, step, attempt = key_of(item)
        return Submission(
            delivery=delivery,
            step=step,
            attempt=attempt,
            channel=self._type,
            client=item.client,
            provider=self._channel.provider,
            at=now,
        )

    async def hand_over(self, items: Sequence[Work], check: Check) -> None:
        """Hand over those of the items that ``check`` chooses, each part of them as soon as there
        is room for it, and report the others that ``check`` knows a result of. Returns when all
        results are reported, or after a moment.
        """
        parts: set[asyncio.Task[None]] = set()
        # A long lane has to wait for room itself, before it makes others wait.
        left = [item for lane in sorted(self._lanes(items), key=len) for item in lane]
        while left:
            room = await self._room()
            part, left = left[:room], left[room:]
            now = self._clock.now()
            self._under_way += len(part)
            try:
                wanted, known = await check(part, now)
            finally:
                self._free(len(part))
            if known:
                parts.add(self._begin(self._tell([_Said(*each, now) for each in known]), 0))
            for lane in self._lanes(wanted):
                parts.add(self._begin(self._submit(lane, now), len(lane)))
        if parts:
            await asyncio.wait(parts, timeout=_MOMENT)

    async def drain(self) -> None:
        """Return once everything is answered and told; what cannot be told any more is left to the
        deadlines.
        """
        self._stop.set()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """End at once; what is under way is left to the deadlines."""
        tasks = [*self._tasks, *([self._teller] if self._teller is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- handing over ---------------------------------------------------------------------------

    async def _room(self) -> int:
        while (room := self._channel.at_once - self._under_way) <= 0:
            self._freed.clear()
            await self._freed.wait()
        return room

    def _free(self, items: int) -> None:
        self._under_way -= items
        self._freed.set()

    def _lanes(self, items: Iterable[Work]) -> Collection[Sequence[Work]]:
        lanes: dict[str, list[Work]] = defaultdict(list)
        for item in items:
            lanes[self._channel.lane(item)].append(item)
        return lanes.values()

    def _begin(self, work: Coroutine[Any, Any, None], items: int) -> asyncio.Task[None]:
        self._under_way += items
        task = asyncio.create_task(self._counted(work, items))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _counted(self, work: Coroutine[Any, Any, None], items: int) -> None:
        try:
            await work
        finally:
            self._free(items)

    async def _submit(self, part: Sequence[Work], now: datetime) -> None:
        results = await self._deliver(part)
        self._metrics.submitted(self._type, results)
        await self._tell([_Said(item, sent, now) for item, sent in zip(part, results, strict=True)])

    async def _deliver(self, part: Sequence[Work]) -> Sequence[Sent]:
        try:
            return await self._channel.deliver(part)
        except PAUSES as fault:
            log.warning("provider_unavailable", channel=self._type, error=str(fault))
            return [self._sent(item, OutcomeKind.UNAVAILABLE) for item in part]
        except Exception:
            if len(part) == 1:
                # This step fails, and no other.
                log.exception("step_parked", channel=self._type, client=part[0].client)
                return [self._sent(part[0], OutcomeKind.PARKED)]
            # One item that breaks the channel must not fail the others.
            log.exception("submission_failed", channel=self._type, items=len(part))
        return [sent for item in part for sent in await self._deliver([item])]

    def _sent(self, item: Work, kind: OutcomeKind) -> Sent:
        if isinstance(item, ChallengeItem):
            return Sent(None)
        parked = kind is OutcomeKind.PARKED
        detail = "the channel could not handle it" if parked else "the channel cannot be used now"
        wait = None if parked else _UNAVAILABLE_FOR
        return Sent(item.outcome(kind, self._clock.now(), detail=detail, retry_after=wait))

    # -- telling --------------------------------------------------------------------------------

    async def _tell(self, said: Sequence[_Said]) -> None:
        """Return once it is told, with all that came together."""
        if not said:
            return
        told = asyncio.get_running_loop().create_future()
        self._untold.append((said, told))
        if self._teller is None:
            self._teller = asyncio.create_task(self._tell_all())
        await told

    async def _tell_all(self) -> None:
        try:
            while self._untold:
                await asyncio.sleep(0)  # whatever is answered in the same turn goes together
                together, self._untold = self._untold, []
                await self._publish([each for said, _ in together for each in said])
                for _, told in together:
                    if not told.done():
                        told.set_result(None)
        finally:
            self._teller = None

    async def _publish(self, said: Sequence[_Said]) -> None:
        async def attempt() -> None:
            await self._name(said)
            outputs = outcomes(each.sent.outcome for each in said if each.sent.outcome is not None)
            await publish_all(self._broker, outputs)
            self._metrics.published(outputs, self._clock.now())

        try:
            await patiently(
                attempt,
                patience=_PATIENCE,
                on=PAUSES,
                failed=self._complain,
                sleep=lambda seconds: sleep_or_stop(self._clock, seconds, self._stop),
            )
        except Stopped:
            log.warning("outcomes_untold", channel=self._type, items=len(said))
        except Exception:
            # Nobody waits here who could be told; the deadlines of the steps look again.
            log.exception("outcomes_untold", channel=self._type, items=len(said))

    def _complain(self, failed: Attempt) -> None:
        error = str(failed.error)
        log.warning("outcomes_wait", channel=self._type, attempt=failed.number, error=error)

    async def _name(self, said: Iterable[_Said]) -> None:
        """Note what the provider calls the messages, for its receipts."""
        named = [
            ProviderMessage(
                delivery=each.item.delivery,
                step=each.item.step,
                attempt=each.item.attempt,
                part=part,
                parts=len(each.sent.provider_messages),
                provider=self._channel.provider,
                message=message,
                client=each.item.client,
                at=each.noted_at,
            )
            for each in said
            if isinstance(each.item, DeliverItem)
            for part, message in enumerate(each.sent.provider_messages, 1)
            if message is not None
        ]
        if named:
            async with self._store.transaction() as tx:
                await tx.note_provider_messages(named)


def key_of(item: Work) -> Key:
    """What names the submission of an item."""
    if isinstance(item, DeliverItem):
        return item.delivery, item.step, item.attempt
    return item.id, 0, item.attempt
