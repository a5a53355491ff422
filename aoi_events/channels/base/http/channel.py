"""Base of the channels that send one HTTP request for each item."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import ClassVar, Final, Generic, TypeVar

from aiohttp.abc import AbstractResolver

from aoi_events.channels.base.http.answers import FinalStatuses, verdict_of
from aoi_events.channels.base.http.client import HttpClient, NoAnswer
from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.channels.base.http.urls import BadUrl, checked_url, origin_of
from aoi_events.channels.base.requests import CannotSend, Item, RequestChannel
from aoi_events.channels.base.results import Verdict
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.providers.breaker import BreakerPolicy
from aoi_events.domain.retry import Backoff
from aoi_events.ports.clock import Clock

S = TypeVar("S", bound=OutgoingSettings)
K = TypeVar("K")

_DIGITS: Final = 12
"""Hexadecimal digits of a digest, which distinguish the URLs of one origin."""
_LANE_PART: Final = 4
"""One URL may use this part of the connections to its host."""


@dataclass(frozen=True, slots=True)
class Post:
    """One complete request."""

    url: str
    body: bytes
    headers: Mapping[str, str]


class HttpChannel(RequestChannel[Post], Generic[S, K]):
    """Posts each item to the URL that its device named, which is a lane; the origin of the URL is
    the host of that lane.

    A connection that cannot be made speaks for the origin; an answer, or silence on a connection,
    speaks for the URL. So one dead resource delays no other one of its host.

    Derive from it: :meth:`compose` makes the request, with the installation's ``key``. ``resolver``
    looks names up instead of the system's name servers.
    """

    url_parameter: ClassVar[str]
    """The parameter of the channel that contains the URL."""
    final: ClassVar[FinalStatuses]
    """The statuses of an answer after which no repeat can succeed."""

    def __init__(
        self,
        name: str,
        settings: S,
        key: K,
        *,
        clock: Clock | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        super().__init__(
            name,
            within=settings.within,
            at_once=settings.connections,
            each=max(settings.connections_per_host // _LANE_PART, 1),
            each_host=settings.connections_per_host,
            breakers=_policy(settings),
            clock=clock,
        )
        self._settings = settings
        self._key = key
        self._client = HttpClient(settings, resolver=resolver)

    @abstractmethod
    def compose(self, item: Item, url: str, now: datetime) -> Post:
        """The request for the item to its checked URL. Raises CannotSend."""

    def lane(self, item: Item) -> str:
        """The item's URL, as its origin and a digest: who has the URL may send to it."""
        return _places_of(self._url(item))[1]

    def host(self, item: Item) -> str:
        """The origin of the item's URL."""
        return _places_of(self._url(item))[0]

    def prepare(self, item: Item, now: datetime) -> Post:
        """The request for the item. Raises CannotSend."""
        try:
            url = checked_url(self._url(item), self._settings)
        except BadUrl as error:
            raise CannotSend(str(error), closes_channel=True) from None
        return self.compose(item, url, now)

    async def submit(self, prepared: Post) -> Verdict:
        """Post the request, and return what the answer means."""
        answer = await self._client.post(prepared.url, prepared.body, prepared.headers)
        if isinstance(answer, NoAnswer):
            kind = OutcomeKind.UNAVAILABLE if answer.forbidden else OutcomeKind.REFUSED
            return Verdict(kind, answer.why, works=answer.works, host_works=answer.host_works)
        verdict = verdict_of(answer.status, answer.retry_after, self._clock.now(), self.final)
        return replace(verdict, host_works=True)

    async def close(self) -> None:
        """Take nothing more, and end every connection; idempotent."""
        await super().close()
        await self._client.close()

    def _url(self, item: Item) -> str:
        return str(item.parameters.get(self.url_parameter, ""))


@lru_cache(maxsize=2_000)
def _places_of(url: str) -> tuple[str, str]:
    """The names of the host and the lane of a URL; each item asks several times."""
    origin = origin_of(url)
    return origin, f"{origin}#{hashlib.sha256(url.encode()).hexdigest()[:_DIGITS]}"


def _policy(settings: OutgoingSettings) -> BreakerPolicy:
    most = max(settings.probe_first, settings.probe_most)
    return BreakerPolicy(
        failures=settings.failures,
        wait=Backoff(first=settings.probe_first, ceiling=most),
        # Longer than a probe may take with its answer's body.
        probe_within=settings.within + 5.0,
    )
