"""Base of the channels whose providers answer each request, and send no receipts later.

Derive from `RequestChannel`: :meth:`~RequestChannel.prepare` makes the request of an item, and
:meth:`~RequestChannel.submit` sends it. Expiry, limits, circuit breakers, time-outs, results and
closing are done here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Generic, TypeAlias, TypeVar

from aoi_events.channels.base.breakers import Admission, Breakers
from aoi_events.channels.base.concurrency import ConcurrencyLimit
from aoi_events.channels.base.results import Verdict, result_of
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.domain.providers.breaker import Breaker, BreakerPolicy
from aoi_events.domain.retry import Backoff
from aoi_events.platform.clock import SystemClock, SystemDice
from aoi_events.platform.logs import get_logger
from aoi_events.ports.channel import Receipt, SubmitResult
from aoi_events.ports.clock import Clock, Dice

log = get_logger(__name__)

Item: TypeAlias = DeliverItem | ChallengeItem
"""An item that a channel delivers."""
P = TypeVar("P")

_GRACE: Final = 1.0
"""Seconds more for a channel that has a time-out of its own, with a better error text."""
_POLICY: Final = BreakerPolicy()
_REPEAT: Final = Backoff()
"""Seconds until an item that was sent and is *unavailable* may be sent again, by its attempts."""


class CannotSend(Exception):
    """An item cannot be sent: because of its content or, with ``closes_channel``, its address."""

    def __init__(self, why: str, *, closes_channel: bool = False) -> None:
        super().__init__(why)
        self.closes_channel = closes_channel


class RequestChannel(ABC, Generic[P]):
    """A channel that sends one request for each item; see
    :class:`aoi_events.ports.channel.ConnectionlessChannel`.

    Each lane (see :meth:`lane`) has slots and a circuit breaker of its own: a lane that is slow or
    down, or that asks to retry later, delays its own items only. So has each host (see
    :meth:`host`), which several lanes may share. An item without an answer counts as refused, so it
    is sent again and may arrive twice, with the same ID. An item that causes an exception is
    parked, and no other item with it.

    ``name``: the provider, or the channel if devices name the hosts. ``within``: seconds that an
    answer may take, and the same again for the wait before it; the traits' ``ack_within`` must be
    more than twice that, or an item that is still under way is sent again. ``at_once``: requests at
    once, at most ``each`` of them in one lane, and ``each_host`` to one host.
    """

    def __init__(
        self,
        name: str,
        *,
        within: float,
        at_once: int,
        each: int,
        each_host: int | None = None,
        breakers: BreakerPolicy = _POLICY,
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self._within = within
        self._clock: Clock = clock or SystemClock()
        self._dice: Dice = SystemDice()
        self._limit = ConcurrencyLimit(each=each, overall=at_once, each_host=each_host)
        # Two memories, so that many lanes in trouble do not drop the breakers of hosts.
        self._breakers = Breakers(name, policy=breakers, clock=self._clock)
        self._host_breakers = Breakers(name, policy=breakers, clock=self._clock)
        self._closed = asyncio.Event()

    @abstractmethod
    def lane(self, item: Item) -> str:
        """The lane of an item: the smallest unit that works or fails as a whole, like one resource
        of a host. It is logged, so it contains no secret.
        """

    def host(self, item: Item) -> str:
        """The host of an item's lane, which other lanes may share and which may fail as a whole;
        empty: the lanes have nothing in common.
        """
        return ""

    @abstractmethod
    def prepare(self, item: Item, now: datetime) -> P:
        """Make the request of the item. Raises CannotSend."""

    @abstractmethod
    async def submit(self, prepared: P) -> Verdict:
        """Send the request, and return what the answer means; a failure is a verdict, too."""

    @property
    def provider(self) -> str:
        """The name of the provider, or of the channel."""
        return self._name

    @property
    def at_once(self) -> int:
        """Items that the worker may pass at once."""
        return self._limit.room

    @property
    def providers(self) -> Collection[str]:
        """The providers that the operator set: none, because devices name them."""
        return ()

    @property
    def in_trouble(self) -> Mapping[str, Breaker]:
        """The hosts and lanes whose breaker is not closed."""
        return {**self._breakers.in_trouble, **self._host_breakers.in_trouble}

    async def deliver(self, items: Sequence[Item]) -> Sequence[SubmitResult]:
        """One result per item, in order, within twice the time that an answer may take."""
        if len(items) == 1:
            return [await self._deliver_safely(items[0])]  # without the cost of a task
        return await asyncio.gather(*(self._deliver_safely(item) for item in items))

    async def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """No receipts: ends when the channel is closed."""
        await self._closed.wait()
        none: tuple[Sequence[Receipt], ...] = ()
        for receipts in none:
            yield receipts

    async def healthy(self) -> bool:
        """Whether the channel is open."""
        return not self._closed.is_set()

    async def close(self) -> None:
        """Take nothing more, and end the receipts; idempotent."""
        self._closed.set()

    async def _deliver_safely(self, item: Item) -> SubmitResult:
        try:
            return await self._deliver(item)
        except Exception:
            # An exception here would make the worker send the other items a second time.
            log.exception("step_parked", channel=self._name, client=item.client)
        if isinstance(item, ChallengeItem):
            return SubmitResult(None)
        why = "the channel could not handle it"
        return result_of(item, OutcomeKind.PARKED, self._clock.now(), why)

    async def _deliver(self, item: Item) -> SubmitResult:
        lane, host = self.lane(item), self.host(item)
        if (down := self._down(item, lane, host)) is not None:
            return down
        doubtful = bool(self._breakers.of(lane).failures or self._host_breakers.of(host).failures)
        async with self._limit.slot(lane, self._within, host=host, doubtful=doubtful) as has_slot:
            if has_slot:
                return await self._send(item, lane, host)
        why = "too many other requests were under way"
        return result_of(item, OutcomeKind.REFUSED, self._clock.now(), why)

    def _down(self, item: Item, lane: str, host: str) -> SubmitResult | None:
        """The result of an item whose host or lane is down, so that it does not wait for a slot."""
        for breakers, name in ((self._host_breakers, host), (self._breakers, lane)):
            if breakers.refuses(name):
                return breakers.unavailable(name, item)
        return None

    async def _send(self, item: Item, lane: str, host: str) -> SubmitResult:
        now = self._clock.now()
        if self._closed.is_set():
            return result_of(item, OutcomeKind.REFUSED, now, "the worker is stopping")
        if item.expires_at <= now:
            return result_of(item, OutcomeKind.REFUSED, now, "expired before it was sent")
        try:
            prepared = self.prepare(item, now)
        except CannotSend as error:
            closes = error.closes_channel
            return result_of(item, OutcomeKind.REJECTED, now, str(error), closes_channel=closes)
        of_host = self._host_breakers.ask(host)
        if of_host is None:
            return self._host_breakers.unavailable(host, item)
        of_lane = self._breakers.ask(lane)
        if of_lane is None:
            self._host_breakers.unknown(of_host)
            return self._breakers.unavailable(lane, item)
        verdict = await self._verdict(of_host, of_lane, prepared)
        wait = verdict.retry_after
        if verdict.kind is OutcomeKind.UNAVAILABLE:
            wait = max(wait, _REPEAT.delay(item.attempt - 1, self._dice.jitter()))
        return result_of(
            item,
            verdict.kind,
            self._clock.now(),
            verdict.detail,
            closes_channel=verdict.closes_channel,
            retry_after=wait,
        )

    async def _verdict(self, of_host: Admission, of_lane: Admission, prepared: P) -> Verdict:
        with self._host_breakers.watched(of_host), self._breakers.watched(of_lane):
            try:
                async with asyncio.timeout(self._within + _GRACE):
                    verdict = await self.submit(prepared)
            except TimeoutError:
                why = f"no answer within {self._within:g} s"
                verdict = Verdict(OutcomeKind.REFUSED, why, works=False)
        self._host_breakers.report(of_host, verdict.host_works, verdict.detail)
        self._breakers.report(of_lane, verdict.works, verdict.detail)
        return verdict
