"""The sender of every channel over HTTP: one request for each item."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from aiohttp.abc import AbstractResolver

from aoi_events.channels.base.http.answers import verdict_of
from aoi_events.channels.base.http.client import HttpClient, NoAnswer
from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.channels.base.http.urls import origin_of
from aoi_events.channels.base.requests import Item, RequestChannel
from aoi_events.channels.base.results import Verdict
from aoi_events.contracts.envelopes import ChallengeItem, OutcomeKind
from aoi_events.domain.providers.breaker import BreakerPolicy
from aoi_events.domain.retry import Backoff
from aoi_events.ports.clock import Clock

__all__ = ["Compose", "HttpChannel", "Post"]


@dataclass(frozen=True, slots=True)
class Post:
    """One request, complete."""

    url: str
    body: bytes
    headers: Mapping[str, str]


Compose: TypeAlias = Callable[[Item, datetime], Post]
"""The request for an item now. Raises CannotSend."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request, and the statuses that say only "not yet"."""

    post: Post
    unready: Collection[int]


class HttpChannel(RequestChannel[_Request]):
    """Devices name hosts of their own, so none of them is *the* provider; a lane is an origin.

    ``address``: the parameter with the URL. ``unready``: statuses with which a receiver answers a
    challenge that it cannot read *yet*.
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
        super().__init__(
            name,
            within=settings.within,
            at_once=settings.connections,
            each=settings.connections_per_host,
            breakers=_policy(settings),
            clock=clock,
        )
        self._address = address
        self._compose = compose
        self._unready = unready
        self._client = HttpClient(settings, resolver=resolver)

    def lane(self, item: Item) -> str:
        """The origin of the item's URL."""
        return origin_of(str(item.parameters.get(self._address, "")))

    def prepare(self, item: Item, now: datetime) -> _Request:
        """The request for the item."""
        unready = self._unready if isinstance(item, ChallengeItem) else ()
        return _Request(self._compose(item, now), unready)

    async def submit(self, prepared: _Request) -> Verdict:
        """What the host answers, within its time."""
        post = prepared.post
        answer = await self._client.post(post.url, post.body, post.headers)
        if isinstance(answer, NoAnswer):
            kind = OutcomeKind.REJECTED if answer.never else OutcomeKind.REFUSED
            return Verdict(kind, answer.why, works=False if answer.host_failed else None)
        if answer.status in prepared.unready:
            detail = f"HTTP status {answer.status} to the challenge"
            return Verdict(OutcomeKind.REFUSED, detail)
        return verdict_of(answer.status, answer.retry_after, self._clock.now())

    async def close(self) -> None:
        """End every connection, too."""
        await super().close()
        await self._client.close()


def _policy(settings: OutgoingSettings) -> BreakerPolicy:
    most = max(settings.probe_first, settings.probe_most)
    return BreakerPolicy(
        failures=settings.failures,
        wait=Backoff(first=settings.probe_first, ceiling=most),
        # Longer than a probe may take with its answer's body.
        probe_within=settings.within + 5.0,
    )
