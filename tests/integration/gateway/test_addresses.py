"""The limits of one network address, in both device protocols."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from aoi_events.contracts.device import SUBPROTOCOL
from aoi_events.contracts.webpush import WEBPUSH_SUBPROTOCOL
from tests.integration.gateway.conftest import Start
from tests.support import browser_frames as browsers
from tests.support.device_frames import CLIENT, OTHER_CLIENT, hello, request
from tests.support.limits import WITHIN


async def test_connections_of_an_address_are_bounded(start: Start) -> None:
    """One too many is closed at its first octet; when one ends, there is room again."""
    running = await start(connections_per_address=2)
    first, _ = await running.devices.open(), await running.devices.open(OTHER_CLIENT)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await running.devices.connect()
    elsewhere = await running.devices.connect(local="127.0.0.9")
    await elsewhere.welcome()
    await first.web.close()
    await running.workers.until(lambda: running.workers.left)
    await running.devices.open()


@pytest.mark.parametrize(
    "protocol,message,code",
    [(SUBPROTOCOL, hello(), 4429), (WEBPUSH_SUBPROTOCOL, browsers.hello(), 1013)],
)
async def test_hellos_of_an_address_are_limited(
    start: Start, protocol: str, message: str, code: int
) -> None:
    """Hellos above an address's rate are refused without asking a worker; others are served."""
    running = await start(entries_burst=1, entries_per_second=0.01)
    await running.devices.open()
    device = await running.devices.connect(protocols=(protocol,))
    await device.send(message)
    assert (await device.closed())[0] == code
    elsewhere = await running.devices.connect(local="127.0.0.9")
    await elsewhere.welcome(OTHER_CLIENT)
    assert [each.client for each in running.workers.connects] == [CLIENT, OTHER_CLIENT]


async def test_registrations_of_an_address_are_limited(start: Start) -> None:
    """A device is refused with a code, a page that subscribes with 429; no worker is asked."""
    running = await start(entries_burst=1, entries_per_second=0.01)
    await running.devices.open()
    device = await running.devices.connect()
    await device.send(request("client.register", device="d", identity="tel:1"))
    refusal = await device.receive("answer")
    assert refusal["body"]["code"] == "quota_exceeded"
    browser = await running.devices.connect(protocols=(WEBPUSH_SUBPROTOCOL,))
    for message, status in ((browsers.hello(None), 200), (browsers.register(), 429)):
        await browser.send(message)
        assert json.loads(await browser.web.receive_str(timeout=WITHIN))["status"] == status
    assert not running.workers.requests_named("client.register")


async def test_a_crowd_of_one_address_does_not_hurt_another(start: Start) -> None:
    """While one address knocks again and again, a device elsewhere is served at once."""
    running = await start(connections_per_address=5, entries_burst=5, entries_per_second=1)

    async def knock() -> None:
        try:
            device = await running.devices.connect()
            await device.send(hello())
            await device.closed()
        except (aiohttp.ClientError, ConnectionError):
            return

    crowd = [asyncio.create_task(knock()) for _ in range(60)]
    elsewhere = await running.devices.connect(local="127.0.0.9")
    await elsewhere.welcome(OTHER_CLIENT)
    assert (await elsewhere.ask("channel.activate"))["name"] == "echoed.v1"
    await elsewhere.web.close()
    for each in crowd:
        each.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
