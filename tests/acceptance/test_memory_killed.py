"""What was answered survives kills on ``memory://``, as docs/explanation/guarantees.md says."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from aoi_events.client import AoiClient, FileStorage, Notification
from aoi_events.endpoint.api_keys import hash_key, new_key
from aoi_events.testing.ports import free_port
from tests.support.limits import WITHIN
from tests.support.pages import ROOT
from tests.support.processes import Worker, Workers

KILLS = 3
ANSWERED = 60
"""Answers between two kills."""
SENDERS = 8


class Sending:
    """Senders that send one notification after the other and retry while the server is down."""

    def __init__(self, url: str, key: str, token: str) -> None:
        self._url, self._token = url, token
        self._headers = {"Authorization": f"Bearer {key}"}
        self.answered: set[str] = set()
        self.changed, self.up = asyncio.Event(), asyncio.Event()

    async def run(self, sender: int) -> None:
        """Send until cancelled; a notification counts once it was answered."""
        async with aiohttp.ClientSession(headers=self._headers) as session:
            number = 0
            while True:
                name = f"n-{sender}-{number}"
                body = {"notification": name, "tokens": [self._token], "content": {"data": name}}
                try:
                    async with session.post(self._url, json=body) as answer:
                        accepted = answer.status == 202
                except aiohttp.ClientError:
                    accepted = False
                if accepted:
                    self.answered.add(name)
                    self.changed.set()
                    number += 1
                else:
                    await self.up.wait()  # then the same notification again

    async def until(self, count: int) -> None:
        """Return once so many were answered."""
        while len(self.answered) < count:
            self.changed.clear()
            await self.changed.wait()


class Killed(Workers):
    """Processes of ``aoi up`` that are killed and started again."""

    async def up(self) -> Worker:
        """Start one; return it once it takes work."""
        worker = await self.spawn("up", launcher="aoi_events.cli", arguments=["up"])
        await worker.until_logged("started")
        return worker


async def test_what_was_answered_survives_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While ``aoi up`` on SQLite and ``memory://`` is killed with -9, each notification whose send
    was answered reaches its device all the same.
    """
    monkeypatch.chdir(tmp_path)
    key, gateway, endpoint = new_key("k" * 64), free_port(), free_port()
    settings = {
        "AOI_GATEWAY__PORT": str(gateway),
        "AOI_ENDPOINT__PORT": str(endpoint),
        "AOI_ENDPOINT__API_KEYS": json.dumps({"shop": hash_key(key)}),
        "AOI_HEALTH__PORT": "0",
        "AOI_CHANNELS__WEBSOCKET__ACK_WITHIN": "2",
        "PYTHONPATH": str(ROOT),
    }
    received: set[str] = set()
    came = asyncio.Event()

    async def show(notification: Notification) -> None:
        received.add(notification.content.data)
        came.set()

    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(Killed([], settings))
        up = await workers.up()
        client = await stack.enter_async_context(
            AoiClient(
                f"ws://127.0.0.1:{gateway}/aoi",
                storage=FileStorage(tmp_path / "client.json"),
                device="display",
                identity="tel:+15550100",
            )
        )
        app = await client.register_application("org.example.mail", show)
        sending = Sending(f"http://127.0.0.1:{endpoint}/v1/notifications", key, app.token)
        sending.up.set()
        tasks = [asyncio.create_task(sending.run(sender)) for sender in range(SENDERS)]
        try:
            async with asyncio.timeout(WITHIN):
                for kill in range(KILLS):
                    await sending.until(ANSWERED * (kill + 1))
                    sending.up.clear()
                    up.kill()
                    assert await up.ended() == -9
                    up = await workers.up()
                    sending.up.set()
                await sending.until(ANSWERED * (KILLS + 1))
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                while not sending.answered <= received:
                    came.clear()
                    await came.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
