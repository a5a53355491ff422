"""The breakers of a channel over HTTP: opened by failures, probed, and closed by an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import pytest

from aoi_events.channels.base.http.channel import HttpChannel, Post
from aoi_events.channels.base.http.settings import OutgoingSettings
from aoi_events.channels.base.requests import Item
from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.testing.stopped_clock import ManualClock
from tests.support.receivers import Receiver, Reply
from tests.unit.channels.test_requests import delivery

FAILURES = 3
FIRST, MOST = 8.0, 30.0


class Posting(HttpChannel[OutgoingSettings, None]):
    """A channel over HTTP whose requests all have the same body."""

    url_parameter = "url"

    def compose(self, item: Item, url: str, now: datetime) -> Post:
        """The request to the item's URL."""
        return Post(url, b"x", {})


class Origins:
    """A channel over HTTP with two receivers, of which the tests break the first."""

    def __init__(self, clock: ManualClock, receivers: tuple[Receiver, Receiver]) -> None:
        self.clock = clock
        self.broken, self.other = receivers
        settings = OutgoingSettings.model_validate(
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
        self.channel = Posting("post", settings, None, clock=clock)

    async def send(self, receiver: Receiver | None = None, *, url: str = "") -> OutcomeItem:
        """The end of a delivery to a receiver, by default to the broken one."""
        to = url or (receiver or self.broken).url()
        item = delivery(1, url=to).model_copy(
            update={"expires_at": self.clock.now() + timedelta(hours=1)}
        )
        (sent,) = await self.channel.deliver([item])
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
        (400, OutcomeKind.REJECTED),
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


async def test_each_origin_has_its_own(origins: Origins) -> None:
    """One origin is down: another one is served, and its answers do not close the first's."""
    await origins.open()
    assert (await origins.send(origins.other)).kind is OutcomeKind.ACCEPTED
    assert await origins.kinds(1) == [OutcomeKind.UNAVAILABLE]
    assert list(origins.channel.in_trouble) == [origins.broken.url().rstrip("/")]


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
