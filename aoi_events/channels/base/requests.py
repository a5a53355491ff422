"""What channels share whose providers have said all that they say in their answer.

Derive from `RequestChannel`: say in :meth:`~RequestChannel.prepare` what is sent for an item, and
in :meth:`~RequestChannel.submit` how. Expiry, turns, circuit breakers, time-outs, results and the
end are done here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Generic, TypeAlias, TypeVar

from aoi_events.channels.base.breakers import Admission, Breakers
from aoi_events.channels.base.results import Verdict, ended
from aoi_events.channels.base.turns import Turns
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.domain.providers.breaker import Breaker, BreakerPolicy
from aoi_events.platform.clock import SystemClock
from aoi_events.platform.logs import get_logger
from aoi_events.ports.channel import Receipt, Sent
from aoi_events.ports.clock import Clock

__all__ = ["CannotSend", "Item", "RequestChannel"]

log = get_logger(__name__)

Item: TypeAlias = DeliverItem | ChallengeItem
P = TypeVar("P")

_FOR_EACH_PLACE: Final = 5
_GRACE: Final = 1.0
"""Seconds in which a channel that watches the time itself may say what was slow."""
_POLICY: Final = BreakerPolicy()


class CannotSend(Exception):
    """Nothing can be sent for an item: because of its content or, ``closes_channel``, its
    address.
    """

    def __init__(self, why: str, *, closes_channel: bool = False) -> None:
        super().__init__(why)
        self.closes_channel = closes_channel


class RequestChannel(ABC, Generic[P]):
    """See :class:`aoi_events.ports.channel.ConnectionlessChannel`.

    Each lane (see :meth:`lane`) has a circuit breaker of its own: one that is slow or away, or says
    when to come again, holds back its own items only. What was never answered counts as refused, so
    it is sent again and may arrive twice, with the same ID. An item that brings out a bug (an
    exception) is parked, and no other with it.

    ``name``: of the provider, or of the channel where only devices know whose hosts they are.
    ``within``: seconds that an answer may take, and before it the wait for a turn; the traits'
    ``ack_within`` is more than twice that, or what is still on its way goes out again. ``at_once``:
    requests at once, ``each`` of them in one lane.
    """

    def __init__(
        self,
        name: str,
        *,
        within: float,
        at_once: int,
        each: int,
        breakers: BreakerPolicy = _POLICY,
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self._within = within
        self._places = at_once
        self._clock: Clock = clock or SystemClock()
        self._turns = Turns(each=each, overall=at_once)
        self._breakers = Breakers(name, policy=breakers, clock=self._clock)
        self._closed = asyncio.Event()

    @abstractmethod
    def lane(self, item: Item) -> str:
        """What the item waits behind: its host, or whatever works or fails as a whole."""

    @abstractmethod
    def prepare(self, item: Item, now: datetime) -> P:
        """What is sent for the item. Raises CannotSend."""

    @abstractmethod
    async def submit(self, prepared: P) -> Verdict:
        """Send it, and say what was answered. A failure is a verdict; an exception is a bug."""

    @property
    def provider(self) -> str:
        """The name."""
        return self._name

    @property
    def at_once(self) -> int:
        """As many as keep every place busy, however long one lane keeps its own."""
        return _FOR_EACH_PLACE * self._places

    @property
    def providers(self) -> Collection[str]:
        """Those that are known beforehand: none, where devices name them all."""
        return ()

    @property
    def in_trouble(self) -> Mapping[str, Breaker]:
        """Lanes whose breaker is not closed."""
        return self._breakers.in_trouble

    async def deliver(self, items: Sequence[Item]) -> Sequence[Sent]:
        """One result per item, in order, within twice the time that an answer may take."""
        return await asyncio.gather(*(self._alone(item) for item in items))

    async def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """None ever come; ends when the channel is closed."""
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

    async def _alone(self, item: Item) -> Sent:
        try:
            return await self._deliver(item)
        except Exception:
            # Whoever heard of a bug of one item would hand over the others once more.
            log.exception("step_parked", channel=self._name, client=item.client)
        if isinstance(item, ChallengeItem):
            return Sent(None)
        why = "the channel could not handle it"
        return ended(item, OutcomeKind.PARKED, self._clock.now(), why)

    async def _deliver(self, item: Item) -> Sent:
        lane = self.lane(item)
        async with self._turns.turn(lane, self._within) as has_turn:
            if has_turn:
                return await self._send(item, lane)
        why = f"had no turn within {self._within:g} s"
        return ended(item, OutcomeKind.REFUSED, self._clock.now(), why)

    async def _send(self, item: Item, lane: str) -> Sent:
        now = self._clock.now()
        if self._closed.is_set():
            return ended(item, OutcomeKind.REFUSED, now, "the worker is stopping")
        if item.expires_at <= now:
            return ended(item, OutcomeKind.REFUSED, now, "expired before it was sent")
        try:
            prepared = self.prepare(item, now)
        except CannotSend as error:
            closes = error.closes_channel
            return ended(item, OutcomeKind.REJECTED, now, str(error), closes_channel=closes)
        admission = self._breakers.ask(lane)
        if admission is None:
            return self._breakers.kept_back(lane, item)
        verdict = await self._verdict(admission, prepared)
        return ended(
            item,
            verdict.kind,
            self._clock.now(),
            verdict.detail,
            closes_channel=verdict.closes_channel,
            retry_after=verdict.retry_after,
        )

    async def _verdict(self, admission: Admission, prepared: P) -> Verdict:
        with self._breakers.watched(admission):
            try:
                async with asyncio.timeout(self._within + _GRACE):
                    verdict = await self.submit(prepared)
            except TimeoutError:
                why = f"no answer within {self._within:g} s"
                verdict = Verdict(OutcomeKind.REFUSED, why, works=False)
        if verdict.works is None:
            self._breakers.unknown(admission)
        elif verdict.works:
            self._breakers.answered(admission)
        else:
            self._breakers.troubled(admission, verdict.detail)
        return verdict
