"""The sender of every channel over HTTP: one request for each item."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from aiohttp.abc import AbstractResolver

from aoi_events.channels.http.answers import verdict_of
from aoi_events.channels.http.client import HttpClient, NoAnswer
from aoi_events.channels.http.settings import OutgoingSettings
from aoi_events.channels.results import ended
from aoi_events.contracts.envelopes import ChallengeItem, DeliverItem, OutcomeKind
from aoi_events.ports.channel import Receipt, Sent
from aoi_events.ports.clock import Clock, SystemClock

__all__ = ["CannotSend", "Compose", "HttpChannel", "Item", "Post"]

Item: TypeAlias = DeliverItem | ChallengeItem


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

    Devices name hosts of their own, so none of them is *the* provider: the channel is ready while
    it is open, and a host that is slow or away, or says when to come again, holds back its own
    items only. What was never answered counts as refused, so it is sent again and may arrive twice,
    with the same ID. ``unready``: statuses with which a receiver answers a challenge that it cannot
    read *yet*.
    """

    def __init__(
        self,
        name: str,
        settings: OutgoingSettings,
        compose: Compose,
        *,
        unready: Collection[int] = (),
        clock: Clock | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._name = name
        self._compose = compose
        self._unready = unready
        self._clock: Clock = clock or SystemClock()
        self._client = HttpClient(settings, resolver=resolver)
        self._closed = asyncio.Event()

    @property
    def provider(self) -> str:
        """The channel's own name: whose hosts they are, only the devices know."""
        return self._name

    async def deliver(self, items: Sequence[Item]) -> Sequence[Sent]:
        """One result per item, in order, within the time that one request may take."""
        return await asyncio.gather(*(self._deliver(item) for item in items))

    async def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """None ever come; ends when the channel is closed."""
        await self._closed.wait()
        none: tuple[Sequence[Receipt], ...] = ()
        for receipts in none:
            yield receipts

    async def ready(self) -> None:
        """At once: what holds back one host is no reason to hold back the others."""

    async def healthy(self) -> bool:
        """Whether the channel is open."""
        return not self._closed.is_set()

    async def close(self) -> None:
        """End every connection, and the receipts; idempotent."""
        self._closed.set()
        await self._client.close()

    async def _deliver(self, item: Item) -> Sent:
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
        answer = await self._client.post(post.url, post.body, post.headers)
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
