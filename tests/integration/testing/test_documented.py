"""The Python that README and documentation show, run as it stands there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from aoi_events.client import Notification
from aoi_events.testing import AoiServer, MakeDevice, WaitFor
from tests.support.limits import WITHIN
from tests.support.pages import block


def put(code: str, *pairs: tuple[str, str]) -> str:
    """The code with this test's addresses in place of its own."""
    for shown, ours in pairs:
        assert code.count(shown) == 1, shown
        code = code.replace(shown, ours)
    return code


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/publish-amqp.md"])
async def test_publishing(
    page: str, aoi: AoiServer, fake_device: MakeDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ten lines for a backend send to a device and print what became of it."""
    phone = await fake_device("phone", apps=["com.example.shop"])
    code = put(
        block(page, "python"),
        ("amqp://shop:secret@localhost/aoi", aoi.broker_url("shop")),
        ("asyncio.run(main())\n", ""),
    )
    names: dict[str, Any] = {"tokens": [phone.token, "no-token"]}
    exec(code, names)  # noqa: S102 - our own page
    async with asyncio.timeout(WITHIN):
        await names["main"]()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("token 1: token_forged, ")
    assert said[1] == "delivered by device"


async def test_testing(aoi: AoiServer, fake_device: MakeDevice, wait_for: WaitFor) -> None:
    """The example of a test passes with the fixtures that it names."""
    names: dict[str, Any] = {}
    exec(block("docs/how-to/test-your-code.md", "python"), names)  # noqa: S102 - our own page
    async with asyncio.timeout(WITHIN):
        await names["test_ann_hears_of_her_order"](aoi, fake_device, wait_for)


async def test_a_device(aoi: AoiServer, tmp_path: Path) -> None:
    """The lines for a device connect, register an app, and hand its token over: it works."""
    code = put(
        block("docs/how-to/devices.md", "python"),
        ("wss://push.example.org/aoi", aoi.gateway_url),
        ("/var/lib/aoi/client.json", str(tmp_path / "client.json")),
    )
    shown: asyncio.Queue[str] = asyncio.Queue()

    async def show(notification: Notification) -> None:
        await shown.put(notification.content.data)

    shop = await aoi.publisher()
    over = asyncio.Event()
    sending: list[asyncio.Task[Any]] = []
    names: dict[str, Any] = {
        "show": show,
        "hand_to_your_backend": lambda token: sending.append(
            asyncio.create_task(shop.send(token, "Dinner is ready"))
        ),
        "over": over,
    }
    exec(f"async def device():\n{indent(code, '    ')}        await over.wait()\n", names)  # noqa: S102
    async with asyncio.timeout(WITHIN):
        device = asyncio.create_task(names["device"]())
        assert await shown.get() == "Dinner is ready"
        over.set()
        await device
    assert all(task.exception() is None for task in sending)
