"""The breakers of a channel over HTTP: opened by failures, probed, and closed by an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest

from aoi_events.channels.base.http.answers import FinalStatuses
from aoi_events.channels.base.http.channel import HttpChannel, Post
from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.channels.base.requests import Item
from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.testing.stopped_clock import ManualClock
from tests.support.limits import WITHIN
from tests.support.receivers import Receiver, Reply
from tests.unit.channels.test_requests import delivery

FAILURES = 3
FIRST, MOST = 8.0, 30.0


class Posting(HttpChannel[OutgoingSettings, None]):
    """A channel over HTTP whose requests all have the same body."""

    url_parameter = "url"
    final = FinalStatuses(gone=frozenset({410}))

    def compose(self, item: Item, url: str, now: datetime) -> Post:
        """The request to the item's URL."""
        return Post(url, b"x", {})


class Origins:
    """A channel over HTTP with two receivers, of which the tests break the first."""

    def __init__(self, clock: ManualClock, receivers: tuple[Receiver, Receiver]) -> None:
        self.clock = clock
        self.broken, self.other = receivers
        self.settings = OutgoingSettings.model_validate(
            {
                "allow_http": True,
                "ports": [],
                "networks": ["127.0.0.0/8"],
                "within": 5.0,
                "failures": FAILURES,
                "probe_first": FIRST,
                "probe_most": MOST,
            }
        )
        self.channel = Posting("post", self.settings, None, clock=clock)

    def another(self, **changes: Any) -> Posting:
        """Another channel, with other settings."""
        settings = self.settings.model_copy(update=changes)
        return Posting("post", settings, None, clock=self.clock)

    async def send(
        self, receiver: Receiver | None = None, *, url: str = "", channel: Posting | None = None
    ) -> OutcomeItem:
        """The end of a delivery to a receiver, by default to the broken one."""
        to = url or (receiver or self.broken).url()
        item = delivery(1, url=to).model_copy(
            update={"expires_at": self.clock.now() + timedelta(hours=1)}
        )
        (sent,) = await (channel or self.channel).deliver([item])
        assert isinstance(sent.outcome, OutcomeItem)
        return sent.outcome

    async def kinds(self, times: int) -> list[OutcomeKind]:
        """The ends of so many deliveries to the broken receiver."""
        return [(await self.send()).kind for _ in range(times)]

    async def open(self) -> None:
        """Let the first one fail until its breaker opens."""
        self.broken.default = Reply(503)
        assert await self.kinds(FAILURES) == [OutcomeKind.REFUSED] * FAILURES
        assert await self.kinds(2) == [OutcomeKind.UNAVAILABLE] * 2


@pytest.fixture
async def origins() -> AsyncIterator[Origins]:
    """A channel that is closed at the end."""
    async with AsyncExitStack() as stack:
        receivers = (
            await stack.enter_async_context(Receiver()),
            await stack.enter_async_context(Receiver()),
        )
        origins = Origins(ManualClock(), receivers)
        stack.push_async_callback(origins.channel.close)
        yield origins


@pytest.mark.parametrize(
    "status, kind",
    [
        (201, OutcomeKind.ACCEPTED),
        (400, OutcomeKind.UNAVAILABLE),
        (410, OutcomeKind.REJECTED),
        (429, OutcomeKind.REFUSED),
    ],
)
async def test_the_answer_to_a_probe_closes_it(
    origins: Origins, status: int, kind: OutcomeKind
) -> None:
    """Half open, one request goes out; any answer of a receiver that works, also one that refuses
    the message, closes the breaker: everything is let through, and failures count from zero.
    """
    await origins.open()
    got = len(origins.broken.got)
    origins.clock.advance(FIRST)
    origins.broken.default = Reply(status)
    assert await origins.kinds(4) == [kind] * 4
    assert len(origins.broken.got) == got + 4
    assert origins.channel.in_trouble == {}
    origins.broken.default = Reply(500)
    assert await origins.kinds(FAILURES - 1) == [OutcomeKind.REFUSED] * (FAILURES - 1)
    origins.broken.default = Reply(status)
    assert await origins.kinds(1) == [kind]


async def test_a_probe_that_fails_opens_it_for_longer(origins: Origins) -> None:
    """Half open, one failure is enough; the time until the next probe doubles up to its limit, and
    nothing goes out before half of it is over.
    """
    await origins.open()
    got = len(origins.broken.got)
    for probes, seconds in enumerate((FIRST, 2 * FIRST, MOST, MOST), 1):
        origins.clock.advance(seconds / 2 - 0.1)
        assert await origins.kinds(1) == [OutcomeKind.UNAVAILABLE]
        origins.clock.advance(seconds / 2 + 0.1)
        assert await origins.kinds(3) == [
            OutcomeKind.REFUSED,
            OutcomeKind.UNAVAILABLE,
            OutcomeKind.UNAVAILABLE,
        ]
        assert len(origins.broken.got) == got + probes


async def test_each_url_has_its_own(origins: Origins) -> None:
    """One URL answers 5xx: others of its origin, and other origins, are served, and their answers
    do not close the first's. Its breaker is named by the origin, and never by the URL itself.
    """
    await origins.open()
    origins.broken.by_path["/live"] = Reply()
    assert (await origins.send(url=origins.broken.url("/live"))).kind is OutcomeKind.ACCEPTED
    assert (await origins.send(origins.other)).kind is OutcomeKind.ACCEPTED
    assert await origins.kinds(1) == [OutcomeKind.UNAVAILABLE]
    dead = origins.broken.url("/secret")
    assert [(await origins.send(url=dead)).kind for _ in range(FAILURES)] == [
        OutcomeKind.REFUSED
    ] * FAILURES
    names = list(origins.channel.in_trouble)
    assert [name.partition("#")[0] for name in names] == [origins.broken.url().rstrip("/")] * 2
    assert not any("secret" in name for name in names)


async def test_silence_speaks_for_its_url_only(origins: Origins) -> None:
    """A URL takes the connection and never answers: its breaker opens, and not that of others."""
    origins.broken.by_path["/silent"] = Reply(silent=True)
    silent = origins.broken.url("/silent")
    channel = origins.another(within=0.3)
    kinds = [(await origins.send(url=silent, channel=channel)).kind for _ in range(FAILURES + 1)]
    assert kinds == [*[OutcomeKind.REFUSED] * FAILURES, OutcomeKind.UNAVAILABLE]
    live = await origins.send(url=origins.broken.url("/live"), channel=channel)
    assert live.kind is OutcomeKind.ACCEPTED
    await channel.close()


async def test_an_origin_that_cannot_be_reached_speaks_for_all_its_urls(origins: Origins) -> None:
    """Connections fail, each for another URL: no URL of the origin is tried any more; one probe
    that makes a connection closes the breaker, whatever the answer is.
    """
    await origins.broken.go_down()
    urls = [origins.broken.url(f"/{number}") for number in range(FAILURES + 1)]
    kinds = [(await origins.send(url=url)).kind for url in urls]
    assert kinds == [*[OutcomeKind.REFUSED] * FAILURES, OutcomeKind.UNAVAILABLE]
    assert list(origins.channel.in_trouble) == [origins.broken.url().rstrip("/")]
    await origins.broken.come_back()
    origins.broken.by_path["/0"] = Reply(507)
    origins.clock.advance(FIRST)
    assert [(await origins.send(url=url)).kind for url in urls] == [
        OutcomeKind.REFUSED,
        *[OutcomeKind.ACCEPTED] * FAILURES,
    ]


async def test_an_origin_that_cannot_be_reached_opens_it(origins: Origins) -> None:
    """A failed connection opens the breaker like a 5xx response, and a success closes it."""
    await origins.broken.go_down()
    assert await origins.kinds(FAILURES) == [OutcomeKind.REFUSED] * FAILURES
    assert await origins.kinds(1) == [OutcomeKind.UNAVAILABLE]
    await origins.broken.come_back()
    assert await origins.kinds(1) == [OutcomeKind.UNAVAILABLE], "not before its time"
    origins.clock.advance(FIRST)
    assert await origins.kinds(2) == [OutcomeKind.ACCEPTED] * 2


async def test_an_address_that_is_not_permitted_says_nothing_of_its_origin(
    origins: Origins,
) -> None:
    """It was not asked, so its breaker stays as it is, however often."""
    for _ in range(FAILURES + 1):
        outcome = await origins.send(url="http://10.0.0.1/")
        assert outcome.kind is OutcomeKind.REJECTED
    assert origins.channel.in_trouble == {}


async def test_connections_to_one_host_are_bounded(origins: Origins) -> None:
    """More requests than that wait for each other, and each gets its answer."""
    channel = origins.another(connections_per_host=2)
    urls = [origins.other.url(f"/{number % 5}") for number in range(20)]
    sent = await asyncio.gather(*(origins.send(url=url, channel=channel) for url in urls))
    assert [outcome.kind for outcome in sent] == [OutcomeKind.ACCEPTED] * 20
    assert len({got.connection for got in origins.other.got}) <= 2
    await channel.close()


async def test_150_black_holes_do_not_delay_an_honest_receiver(origins: Origins) -> None:
    """150 hosts take connections and never answer, each with several items: an item for another
    host, which was never tried before, is accepted while all of them wait.
    """
    async with Receiver(Reply(silent=True), host="0.0.0.0") as holes:  # noqa: S104
        urls = [f"http://127.0.1.{number}:{holes.port}/" for number in range(1, 151)]
        channel = origins.another(within=WITHIN)
        sending = [asyncio.create_task(origins.send(url=url, channel=channel)) for url in urls * 3]
        await holes.next(149)
        assert (await origins.send(origins.other, channel=channel)).kind is OutcomeKind.ACCEPTED
        assert not any(task.done() for task in sending)
        for task in sending:
            task.cancel()
        await asyncio.wait(sending)
        await channel.close()
