"""Origins in trouble: one that is slow or away holds back no other, and no other channel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from aoi_events import Publisher
from aoi_events.testing import AoiServer, WaitFor
from tests.integration.http.conftest import MakeDevice
from tests.integration.http.test_webhooks import proved
from tests.support.receivers import Receiver, Reply

FAST = 20
LONG = 30.0


@pytest.fixture
def aoi_settings(aoi_settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Requests may take longer than the test waits for those that do not; two failures are many."""
    channels = dict(aoi_settings["channels"])
    channels["webhook"] = {
        **channels["webhook"],
        "within": LONG,
        "ack_within": 2 * LONG + 2,
        "failures": 2,
        "connections": 20,
        "connections_per_host": 8,
        "probe_first": 10.0,
        "probe_most": 10.0,
    }
    return {**aoi_settings, "channels": channels}


async def test_a_slow_origin_holds_back_no_other(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    wait_for: WaitFor,
) -> None:
    """One of them answers after a long time: everybody else's outcomes are told before, also those
    of messages that came later.
    """
    phones = [await make_device(f"fast-{number}") for number in range(FAST)]
    for number, phone in enumerate(phones):
        await proved(phone, receiver, f"/{number}")
    async with Receiver() as slow:
        slowest = await make_device("slow")
        await proved(slowest, slow, "/slow")
        slow.default = Reply(silent=True)
        tokens = [slowest.token, *(phone.token for phone in phones)]
        for name in ("n1", "n2"):
            await shop.send(tokens, "hello", notification=name)
            await slow.next(1 if name == "n1" else 2)

        async def told() -> bool:
            rows = [row for name in ("n1", "n2") for row in await server.status(name)]
            accepted = [row for row in rows if any(hop.what == "accepted" for hop in row.story)]
            return len(accepted) == 2 * FAST

        assert await wait_for(told, within=LONG / 2)


async def test_an_origin_that_is_away_is_not_asked_for_a_while(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    wait_for: WaitFor,
) -> None:
    """After failures in a row nothing is attempted there; another origin does not notice; what
    waited goes out by itself, once, when it is back.
    """
    phone, other = await make_device("phone"), await make_device("other")
    await proved(phone, receiver)
    async with Receiver() as well:
        await proved(other, well)
        await receiver.go_down()
        await shop.send(phone.token, "hello", notification="n1")
        await wait_for.hop("n1", "unavailable")
        await shop.send(other.token, "well", notification="n2")
        assert b"well" in (await well.next(1)).body
        before = len(receiver.got)
        await receiver.come_back()
        async with asyncio.timeout(LONG):
            while len(receiver.got) == before:
                server.advance(5)
                await asyncio.wait([asyncio.ensure_future(receiver.next(before))], timeout=0.2)
        await wait_for.hop("n1", "accepted")
    assert len(receiver.got) == before + 1


async def test_a_dead_origin_of_many_costs_each_of_them_no_time_out(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    wait_for: WaitFor,
) -> None:
    """It cannot be reached: its breaker opens with the first failures, and the others of the batch
    are not even tried.
    """
    phones = [await make_device(f"phone-{number}") for number in range(FAST)]
    for number, phone in enumerate(phones):
        await proved(phone, receiver, f"/{number}")
    await receiver.go_down()
    await shop.send([phone.token for phone in phones], "hello", notification="n1")
    await wait_for.hop("n1", "unavailable")
    first = [row.story[1].what for row in await server.status("n1") if len(row.story) > 1]
    assert first.count("refused") < FAST


async def test_more_silent_urls_than_there_is_room_for_do_not_hold_up_another(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
) -> None:
    """The URLs of a host never answer, and there are more notifications for them than the worker
    takes at once: one for another host arrives long before the time limit of their requests.
    """
    honest, silent = await make_device("honest"), [await make_device(f"{n}") for n in range(15)]
    await proved(honest, receiver)
    async with Receiver(Reply(silent=True)) as host:
        host.script(*[Reply()] * len(silent))
        for number, phone in enumerate(silent):
            await proved(phone, host, f"/{number}")
        for number in range(8):
            tokens = [phone.token for phone in silent]
            await shop.send(tokens, "silence", notification=f"silent-{number}")
        await host.next(len(silent))
        async with asyncio.timeout(LONG / 2):
            await shop.send(honest.token, "hello", notification="n1")
            assert b"hello" in (await receiver.next(1)).body
        assert len(host.got) < 2 * len(silent)


async def test_dead_resources_of_one_origin_do_not_delay_a_live_one(
    server: AoiServer,
    receiver: Receiver,
    shop: Publisher,
    make_device: MakeDevice,
    wait_for: WaitFor,
) -> None:
    """12 topics of a host answer 507: each notification for another topic of that host is accepted
    with its first attempt.
    """
    live, dead = await make_device("live"), [await make_device(f"dead-{n}") for n in range(12)]
    await proved(live, receiver, "/live")
    for number, phone in enumerate(dead):
        await proved(phone, receiver, f"/{number}")
        receiver.by_path[f"/{number}"] = Reply(507)
    for number in range(5):
        await shop.send([phone.token for phone in dead], "dead", notification=f"dead-{number}")
        await wait_for.hop(f"dead-{number}", "unavailable" if number else "refused")
        await shop.send(live.token, "live", notification=f"live-{number}")
        await wait_for.hop(f"live-{number}", "accepted")
        [row] = await server.status(f"live-{number}")
        assert [hop.what for hop in row.story] == ["sent", "accepted"]
