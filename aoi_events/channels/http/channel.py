"""The sender of every channel over HTTP: one request for each item."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from aiohttp.abc import AbstractResolver

from aoi_events.channels.breakers import Admission, Breakers
from aoi_events.channels.http.answers import verdict_of
from aoi_events.channels.http.client import Answer, HttpClient, NoAnswer
from aoi_events.channels.http.settings import OutgoingSettings
from aoi_events.channels.http.turns import Turns, origin_of
from aoi_events.channels.results import ended
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.domain.breaker import Breaker, BreakerPolicy
from aoi_events.domain.retry import Backoff
from aoi_events.ports.channel import Receipt, Sent
from aoi_events.ports.clock import Clock, SystemClock

__all__ = ["CannotSend", "Compose", "HttpChannel", "Item", "Post"]

Item: TypeAlias = DeliverItem | ChallengeItem

_FOR_EACH_CONNECTION: Final = 5
_ITS_OWN_FAULT: Final = 500


@dataclass(frozen=True, slots=True)
class Post:
    """One request, complete."""

    url: str
    body: bytes
    headers: Mapping[str, str]


class CannotSend(Exception):
    """No request can be made of an item: its content or, ``closes_channel``, its address."""

    def __init__(self, why: str, *, closes_channel: bool = False) -> None:
        super().__init__(why)
        self.closes_channel = closes_channel


Compose: TypeAlias = Callable[[Item, datetime], Post]
"""The request for an item now. Raises CannotSend."""


class HttpChannel:
    """See :class:`aoi_events.ports.channel.ConnectionlessChannel`.

    Devices name hosts of their own, so none of them is *the* provider: a host that is slow or away,
    or says when to come again, holds back its own items only, and each origin has a circuit breaker
    of its own. What was never answered counts as refused, so it is sent again and may arrive twice,
    with the same ID. ``address``: the parameter with the URL. ``unready``: statuses with which a
    receiver answers a challenge that it cannot read *yet*.
    """

    def __init__(
        self,
        name: str,
        settings: OutgoingSettings,
        compose: Compose,
        *,
        address: str,
        unready: Collection[int] = (),
        clock: Clock | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._name = name
        self._connections = settings.connections
        self._within = settings.within
        self._address = address
        self._compose = compose
        self._unready = unready
        self._clock: Clock = clock or SystemClock()
        self._client = HttpClient(settings, resolver=resolver)
        self._turns = Turns(each=settings.connections_per_host, overall=settings.connections)
        self._breakers = Breakers(name, policy=_policy(settings), clock=self._clock)
        self._closed = asyncio.Event()

    @property
    def provider(self) -> str:
        """The channel's own name: whose hosts they are, only the devices know."""
        return self._name

    def lane(self, item: Item) -> str:
        """The origin of the item's URL."""
        return origin_of(str(item.parameters.get(self._address, "")))

    @property
    def at_once(self) -> int:
        """As many as make every connection busy, however long one origin keeps its own."""
        return _FOR_EACH_CONNECTION * self._connections

    async def deliver(self, items: Sequence[Item]) -> Sequence[Sent]:
        """One result per item, in order, within twice the time that one request may take."""
        return await asyncio.gather(*(self._deliver(item) for item in items))

    @property
    def providers(self) -> Collection[str]:
        """None: devices name them all."""
        return ()

    @property
    def in_trouble(self) -> Mapping[str, Breaker]:
        """Origins whose breaker is not closed."""
        return self._breakers.in_trouble

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
        """End every connection, and the receipts; idempotent."""
        self._closed.set()
        await self._client.close()

    async def _deliver(self, item: Item) -> Sent:
        origin = self.lane(item)
        async with self._turns.turn(origin, self._within) as has_turn:
            if has_turn:
                return await self._send(item, origin)
        why = f"no connection was free within {self._within:g} s"
        return ended(item, OutcomeKind.REFUSED, self._clock.now(), why)

    async def _send(self, item: Item, origin: str) -> Sent:
        now = self._clock.now()
        if item.expires_at <= now:
            return ended(item, OutcomeKind.REFUSED, now, "expired before it was sent")
        try:
            post = self._compose(item, now)
        except CannotSend as error:
            return ended(
                item,
                OutcomeKind.REJECTED,
                now,
                str(error),
                closes_channel=error.closes_channel,
            )
        admission = self._breakers.ask(origin)
        if admission is None:
            return self._breakers.kept_back(origin, item)
        with self._breakers.watched(admission):
            answer = await self._client.post(post.url, post.body, post.headers)
        self._learn(admission, answer)
        now = self._clock.now()
        if isinstance(answer, NoAnswer):
            kind = OutcomeKind.REJECTED if answer.never else OutcomeKind.REFUSED
            return ended(item, kind, now, answer.why)
        if isinstance(item, ChallengeItem) and answer.status in self._unready:
            detail = f"HTTP status {answer.status} to the challenge"
            return ended(item, OutcomeKind.REFUSED, now, detail)
        verdict = verdict_of(answer.status, answer.retry_after, now)
        return ended(
            item,
            verdict.kind,
            now,
            verdict.detail,
            closes_channel=verdict.closes_channel,
            retry_after=verdict.retry_after,
        )

    def _learn(self, admission: Admission, answer: Answer | NoAnswer) -> None:
        """Whether the origin works: a refusal of one message says that it does."""
        if isinstance(answer, Answer):
            if answer.status >= _ITS_OWN_FAULT:
                self._breakers.troubled(admission, f"HTTP status {answer.status}")
            else:
                self._breakers.answered(admission)
        elif answer.host_failed:
            self._breakers.troubled(admission, answer.why)
        else:
            self._breakers.unknown(admission)


def _policy(settings: OutgoingSettings) -> BreakerPolicy:
    most = max(settings.probe_first, settings.probe_most)
    return BreakerPolicy(
        failures=settings.failures,
        wait=Backoff(first=settings.probe_first, ceiling=most),
        # Longer than a probe may take with its answer's body.
        probe_within=settings.within + 5.0,
    )
