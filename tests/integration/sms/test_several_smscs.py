"""Several SMSCs: each number goes where it belongs, and the trouble of one is nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from aoi_events import DeviceRequests, Publisher
from aoi_events.channels.sms import SmsSettings, plugin
from aoi_events.contracts.envelopes import OutcomeItem, OutcomeKind
from aoi_events.errors import ErrorCode, Refusal
from aoi_events.ports.channel import ConnectionlessChannel
from aoi_events.testing import AoiServer, LoopbackSmsc, Reply
from tests.integration.sms.deliveries import delivery, kinds, next_receipts, until_taken
from tests.integration.sms.handset import Handset
from tests.integration.sms.smscs import NodeSmsc, Smpp34Smsc, Smsc
from tests.support.limits import WITHIN

DUTCH, GERMAN, BELGIAN = "+31600000001", "+49170000001", "+32470000001"
QUICK = {"throttle_pause": 0.02, "connect_time": 5.0, "reconnect_first": 0.02}


@pytest.fixture
async def dutch() -> AsyncIterator[Smsc]:
    """Takes +31 only."""
    async with Smpp34Smsc.running() as smsc:
        yield smsc


@pytest.fixture
async def world() -> AsyncIterator[Smsc]:
    """Takes +31, +49 and nothing else, and is another program."""
    async with NodeSmsc.running() as smsc:
        yield smsc


def table(dutch: Smsc, world: Smsc, **changes: Any) -> dict[str, Any]:
    """Both, as settings."""
    one = {**QUICK, "host": dutch.host, "port": dutch.port, "prefixes": ("+316",), **changes}
    other = {**QUICK, "host": world.host, "port": world.port, "prefixes": ("+31", "+49")}
    return {"dutch": one, "world": other}


async def open_channel(settings: Mapping[str, Any]) -> ConnectionlessChannel:
    """The channel of a table of SMSCs."""
    channel = await plugin.connect(SmsSettings.model_validate({"smscs": settings}))
    assert channel is not None
    return channel


@pytest.fixture
async def channel(dutch: Smsc, world: Smsc) -> AsyncIterator[ConnectionlessChannel]:
    """The SMS channel, bound to both."""
    channel = await open_channel(table(dutch, world))
    try:
        await in_use(channel, dutch, world)
        yield channel
    finally:
        await channel.close()


async def in_use(channel: ConnectionlessChannel, dutch: Smsc, world: Smsc) -> None:
    """Return once both links are up; until then the one takes what is the other's."""
    for smsc in (dutch, world):
        await smsc.standard(Reply(receipts=()))
    for smsc, number in ((dutch, DUTCH), (world, GERMAN)):
        async with asyncio.timeout(WITHIN):
            while not smsc.submissions:
                await until_taken(channel, delivery(to=number))
    for smsc in (dutch, world):
        await smsc.standard(Reply())
        smsc.submissions.clear()


def taken_by(smsc: Smsc) -> list[str]:
    """The numbers of what it was handed."""
    return [each.number for each in smsc.submissions]


async def test_each_number_goes_to_the_longest_prefix(
    dutch: Smsc, world: Smsc, channel: ConnectionlessChannel
) -> None:
    """And waits behind that SMSC only; a receipt names its SMSC with the message."""
    await world.standard(Reply(receipts=()))
    items = [delivery(1, to=DUTCH), delivery(2, to=GERMAN), delivery(3, to="+31200000001")]
    assert [channel.lane(item) for item in items] == ["dutch", "world", "world"]
    sent = await channel.deliver(items)
    assert taken_by(dutch) == [DUTCH]
    assert sorted(taken_by(world)) == sorted([GERMAN, "+31200000001"])
    named = [name or "" for each in sent for name in each.provider_messages]
    assert [name[:6] for name in named] == ["dutch ", "world ", "world "]
    [receipt] = await next_receipts(channel, 1)
    assert receipt.provider_message == named[0]


async def test_a_number_that_nobody_takes_is_refused_from_the_start(
    dutch: Smsc, world: Smsc, channel: ConnectionlessChannel
) -> None:
    """A device that offers it is told; what was offered under other settings ends its step."""
    settings = SmsSettings.model_validate({"smscs": table(dutch, world)})
    assert plugin.offer({"msisdn": DUTCH}, settings).address == DUTCH
    with pytest.raises(Refusal, match="no SMSC") as refused:
        plugin.offer({"msisdn": BELGIAN}, settings)
    assert refused.value.code is ErrorCode.INVALID
    sent = await channel.deliver([delivery(to=BELGIAN)])
    assert kinds(sent) == [OutcomeKind.REJECTED]
    assert taken_by(dutch) == taken_by(world) == []


async def test_the_next_smsc_takes_over_and_gives_back(
    dutch: Smsc, world: Smsc, channel: ConnectionlessChannel
) -> None:
    """While the first is down nothing is refused; when it is back it gets what is its own."""
    await dutch.go_down()
    await dutch.bound(0)
    for number in range(6):
        sent = await until_taken(channel, delivery(number, to=DUTCH))
        assert sent.provider_messages[0] is not None
        assert sent.provider_messages[0].startswith("world ")
    await dutch.come_back()
    await dutch.bound(1)
    async with asyncio.timeout(WITHIN):
        while not taken_by(dutch):
            await until_taken(channel, delivery(to=DUTCH))


async def test_a_large_push_goes_through_one_smsc(
    dutch: Smsc, world: Smsc, channel: ConnectionlessChannel
) -> None:
    """The line is cut after its first part: the attempt is refused, not finished elsewhere, for a
    telephone would wait for ever for parts of two kinds.
    """
    await dutch.script(Reply(), Reply.silence())
    under_way = asyncio.create_task(channel.deliver([delivery(1, "long " * 60, to=DUTCH)]))
    await dutch.submitted(2)
    await dutch.cut()
    async with asyncio.timeout(WITHIN):
        assert kinds(await under_way) == [OutcomeKind.REFUSED]
    assert taken_by(world) == []


async def test_an_smsc_that_was_never_there_holds_up_nobody(dutch: Smsc, world: Smsc) -> None:
    """At the start, too: the other one is up, so what it takes goes out."""
    await dutch.go_down()
    channel = await open_channel(table(dutch, world))
    try:
        sent = await until_taken(channel, delivery(to=DUTCH))
        assert [name and name[:5] for name in sent.provider_messages] == ["world"]
    finally:
        await channel.close()


async def test_a_rate_is_kept_and_does_not_slow_down_the_others(dutch: Smsc, world: Smsc) -> None:
    """Ten messages at 20 a second take half a second, part by part; the other SMSC has answered
    before the last of them is out.
    """
    channel = await open_channel(table(dutch, world, rate=20))
    loop = asyncio.get_running_loop()
    try:
        await in_use(channel, dutch, world)
        started = loop.time()
        slow = asyncio.create_task(channel.deliver([delivery(n, to=DUTCH) for n in range(10)]))
        await dutch.submitted(1)
        quick = await channel.deliver([delivery(n, to=GERMAN) for n in range(10)])
        assert kinds(quick) == [OutcomeKind.ACCEPTED] * 10
        assert kinds(await slow) == [OutcomeKind.ACCEPTED] * 10
        assert loop.time() - started >= 8 / 20  # some of the pace may have passed before
    finally:
        await channel.close()


async def test_what_a_rate_leaves_no_turn_for_is_not_attempted(dutch: Smsc, world: Smsc) -> None:
    """More than goes out within a turn is told to come again later, at once and unharmed; it is
    taken by the next SMSC where there is one.
    """
    channel = await open_channel(
        {"dutch": table(dutch, world, rate=2, turn_time=2, prefixes=())["dutch"]}
    )
    try:
        await dutch.bound(1)
        sent = await channel.deliver([delivery(number, to=DUTCH) for number in range(20)])
        late = [each.outcome for each in sent if kinds([each]) == [OutcomeKind.UNAVAILABLE]]
        assert len(late) >= 15
        for outcome in late:
            assert isinstance(outcome, OutcomeItem)
            assert (outcome.retry_after or 0) > 0
        assert kinds(sent).count(OutcomeKind.ACCEPTED) == len(dutch.submissions) >= 1
    finally:
        await channel.close()


class TestWithinAServer:
    """The same behind every worker of an AOI Server."""

    @pytest.fixture
    async def first(self) -> AsyncIterator[LoopbackSmsc]:
        """For Dutch numbers."""
        async with LoopbackSmsc() as smsc:
            yield smsc

    @pytest.fixture
    async def second(self) -> AsyncIterator[LoopbackSmsc]:
        """For German ones."""
        async with LoopbackSmsc() as smsc:
            yield smsc

    @pytest.fixture
    def aoi_settings(self, first: LoopbackSmsc, second: LoopbackSmsc) -> Mapping[str, Any]:
        """Two SMSCs instead of the one of the fixtures."""
        smscs = {
            name: {
                **QUICK,
                "response_time": 4.0,
                "host": smsc.host,
                "port": smsc.port,
                "prefixes": prefix,
            }
            for name, smsc, prefix in (("first", first, "+31"), ("second", second, "+49"))
        }
        return {"channels": {"sms": {"host": None, "port": 2775, "smscs": smscs}}}

    async def test_an_smsc_that_never_answers_holds_back_only_what_is_its_own(
        self, server: AoiServer, first: LoopbackSmsc, second: LoopbackSmsc, shop: Publisher
    ) -> None:
        """It accepts and says nothing, for its whole window and more: the notifications of other
        numbers are delivered meanwhile, each by its own SMSC.
        """
        async with DeviceRequests(server.installation.broker) as requests:
            stuck, free = Handset(requests, first, DUTCH), Handset(requests, second, GERMAN)
            for phone in (stuck, free):
                await phone.register()
                await phone.prove()
            first.default = Reply.silence()
            for number in range(15):
                await shop.send(stuck.token, "stuck", notification=f"s{number}")
            await first.submitted(1 + 10)
            for number in range(15):
                await shop.send(free.token, "free", notification=f"f{number}")
            for number in range(15):
                await server.wait_for("notification.delivered", notification=f"f{number}")
        assert len(second.submissions) == 1 + 15
        for number in range(15):
            [row] = await server.status(f"s{number}")
            assert row.state == "sending"
