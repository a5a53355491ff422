"""A server whose store is behind PgBouncer."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from aoi_events.client import AoiClient, FileStorage, Notification
from aoi_events.endpoint.api_keys import hash_key, new_key
from aoi_events.testing.containers import PostgresServer
from aoi_events.testing.ports import free_port
from tests.support.limits import WITHIN
from tests.support.pages import ROOT
from tests.support.pgbouncer import PgBouncer
from tests.support.processes import Workers

SENDS = 50


@pytest.mark.parametrize("mode, size", [("session", 20), ("transaction", 2)])
async def test_every_send_is_taken_at_once(
    mode: str,
    size: int,
    tmp_path: Path,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 50 sends each is answered 202 and reaches its device, and no worker pauses, although
    another server uses the same pooler.
    """
    monkeypatch.chdir(tmp_path)
    key, received, all_came = new_key("k" * 64), set[str](), asyncio.Event()
    pooler = PgBouncer(postgres_server, mode, size)
    database = await postgres_server.new_database()

    async def show(notification: Notification) -> None:
        received.add(notification.content.data)
        if len(received) == SENDS:
            all_came.set()

    async with AsyncExitStack() as stack:
        stack.push_async_callback(postgres_server.delete_database, database)
        stack.push_async_callback(asyncio.to_thread, pooler.stop)
        await asyncio.to_thread(pooler.start)
        servers = []
        for _ in range(2):
            gateway, endpoint = free_port(), free_port()
            settings = {
                "AOI_STORE": pooler.url(database),
                "AOI_GATEWAY__PORT": str(gateway),
                "AOI_ENDPOINT__PORT": str(endpoint),
                "AOI_ENDPOINT__API_KEYS": json.dumps({"shop": hash_key(key)}),
                "AOI_HEALTH__PORT": "0",
                "PYTHONPATH": str(ROOT),
            }
            workers = await stack.enter_async_context(Workers([], settings))
            up = await workers.spawn("up", launcher="aoi_events.cli", arguments=["up"])
            await up.until_logged("started")
            servers.append(up)
        client = await stack.enter_async_context(
            AoiClient(
                f"ws://127.0.0.1:{gateway}/aoi",
                storage=FileStorage(tmp_path / "client.json"),
                device="display",
                identity="tel:+15550100",
            )
        )
        app = await client.register_application("org.example.mail", show)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"})
        )

        async def send(number: int) -> int:
            body = {
                "notification": f"n-{number}",
                "tokens": [app.token],
                "content": {"data": f"{number}"},
            }
            url = f"http://127.0.0.1:{endpoint}/v1/notifications"
            async with session.post(url, json=body) as answer:
                return answer.status

        async with asyncio.timeout(WITHIN):
            assert set(await asyncio.gather(*map(send, range(SENDS)))) == {202}
            await all_came.wait()
        assert [entry for up in servers for entry in up.log if entry["event"] == "paused"] == []
