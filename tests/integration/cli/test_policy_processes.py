"""The policy file of a server that runs: followed without a restart, kept when it breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aoi_events.client import AoiClient, ChannelOffer, FileStorage
from aoi_events.endpoint.api_keys import hash_key, new_key
from aoi_events.testing.ports import free_port
from tests.support.limits import WITHIN
from tests.support.processes import Worker, Workers

KEY = new_key("00" * 32)
OPEN = 'mode = "hedged"'
CLOSED = '[channels.websocket]\nleast_urgency = "high"'


class Server:
    """``aoi up`` in a process of its own, with a policy file, and an app of a connected device."""

    def __init__(self, folder: Path) -> None:
        self.policy = folder / "policy.toml"
        self.gateway, self.endpoint, self.health = free_port(), free_port(), free_port()
        self.settings = {
            "AOI_STORE": f"sqlite:///{folder / 'aoi.sqlite3'}",
            "AOI_KEY_FILE": str(folder / "keys.json"),
            "AOI_POLICY_FILE": str(self.policy),
            "AOI_GATEWAY__PORT": str(self.gateway),
            "AOI_ENDPOINT__PORT": str(self.endpoint),
            "AOI_ENDPOINT__API_KEYS": json.dumps({"shop": hash_key(KEY)}),
            "AOI_HEALTH__PORT": str(self.health),
        }
        self.process: Worker
        self.token = ""

    async def ask(self, port: int, path: str, **body: Any) -> Any:
        """Ask over HTTP; POST where there is a body."""
        headers = {"Authorization": f"Bearer {KEY}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(
                "POST" if body else "GET", f"http://127.0.0.1:{port}{path}", json=body or None
            ) as response,
        ):
            return (
                await response.json(content_type=None)
                if path != "/metrics"
                else (await response.text())
            )

    async def planned(self, name: str) -> bool:
        """Send; whether it was planned over the device's connection, or stored."""
        await self.ask(
            self.endpoint,
            "/v1/notifications",
            notification=name,
            tokens=[self.token],
            content={"data": name},
        )
        (delivery,) = (await self.ask(self.endpoint, f"/v1/notifications/{name}"))["deliveries"]
        first: str = delivery["story"][0]["what"]
        return first == "sent"

    def write(self, text: str) -> None:
        """Replace the file."""
        fresh = self.policy.with_name("fresh")
        fresh.write_text(text)
        fresh.replace(self.policy)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """It runs, and the device is connected."""
    server = Server(tmp_path)
    server.write(CLOSED)

    async def show(notification: object) -> None:
        pass

    async with Workers((), server.settings) as workers:
        server.process = await workers.spawn("up", launcher="aoi_events.cli", arguments=["up"])
        await server.process.until_logged("started")
        async with AoiClient(
            f"ws://127.0.0.1:{server.gateway}/aoi",
            storage=FileStorage(tmp_path / "client.json"),
            device="phone",
            identity="tel:+15550100",
            offers=[ChannelOffer(type="websocket")],
        ) as client:
            app = await client.register_application("org.example.mail", show)
            await client.until_channels({"websocket"}, timeout=WITHIN)
            server.token = app.token or ""
            async with asyncio.timeout(WITHIN):
                yield server


async def test_the_next_notification_is_planned_by_the_new_file(server: Server) -> None:
    """A file that is replaced counts for what is sent after it; a broken one changes nothing, and
    is said in the log, in a metric and by health, until it is mended.
    """
    assert not await server.planned("gated")
    server.write(OPEN)
    await server.process.until_logged("policy_taken")
    assert await server.planned("open")

    server.write("[channels.websocket]\nleast_urgency = 1")
    await server.process.until_logged("policy_refused")
    assert await server.planned("still-open")
    (refused,) = [e for e in server.process.log if e["event"] == "policy_refused"]
    assert "channels.websocket.least_urgency: must be 'very-low'" in refused["error"]
    ready = await server.ask(server.health, "/readyz")
    assert ready["ok"], "the work goes on"
    assert "channels.websocket.least_urgency" in ready["notes"]["policy"]
    metrics = await server.ask(server.health, "/metrics")
    for result in ("taken", "refused"):
        assert f'aoi_policy_reloads_total{{result="{result}"}} 1.0' in metrics

    server.write(CLOSED)
    await server.process.until_logged("policy_taken", times=2)
    assert not await server.planned("gated-again")
    assert "notes" not in await server.ask(server.health, "/readyz")


async def test_nobody_starts_under_a_broken_file(tmp_path: Path) -> None:
    """A worker that plans ends with 78 and says which key is wrong; others need no such file."""
    server = Server(tmp_path)
    server.write('mode = "both"')
    async with Workers((), server.settings) as workers:
        process = await workers.spawn("up", launcher="aoi_events.cli", arguments=["up"])
        assert await process.ended() == 78
        assert "mode: must be 'fallback', 'parallel' or 'hedged'" in process.log[-1]["error"]
