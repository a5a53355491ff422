"""Gateways and endpoints behind a balancer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from aoi_events.contracts.device import SUBPROTOCOL
from aoi_events.endpoint.api_keys import hash_key, new_key
from aoi_events.gateway.sockets.server import PATH
from aoi_events.testing.ports import free_port
from tests.support.haproxy import HAProxy
from tests.support.limits import WITHIN
from tests.support.processes import Workers

COPIES = [f"{kind}-{number}" for kind in ("gateway", "endpoint") for number in (1, 2)]


@asynccontextmanager
async def repeated(act: Callable[[], Awaitable[object]]) -> AsyncIterator[list[object]]:
    """Do it again and again; yields what came of each."""
    results: list[object] = []

    async def repeat() -> None:
        while True:
            results.append(await act())

    task = asyncio.create_task(repeat())
    try:
        yield results
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_rolling_restart_refuses_nobody(tmp_path: Path, rabbit_url: str) -> None:
    """While two gateways and two endpoints restart one after the other behind HAProxy, which
    repeats nothing, every new connection is accepted and every request answered.
    """
    key = new_key("k" * 64)
    ports = {name: (free_port(), free_port()) for name in COPIES}
    balancer = HAProxy(
        {
            kind: dict(ports[name] for name in COPIES if name.startswith(kind))
            for kind in ("gateway", "endpoint")
        }
    )
    settings = {
        "AOI_BROKER": rabbit_url,
        "AOI_STORE": f"sqlite:///{tmp_path}/aoi.sqlite3",
        "AOI_KEY_FILE": f"{tmp_path}/keys.json",
        "AOI_ENDPOINT__API_KEYS": json.dumps({"shop": hash_key(key)}),
        # HAProxy looks every 100 ms; the rest is for a busy machine.
        "AOI_CLOSE_AFTER": "3",
    }
    special = {
        name: {
            f"AOI_{name.partition('-')[0].upper()}__PORT": str(port),
            "AOI_HEALTH__PORT": str(health),
        }
        for name, (port, health) in ports.items()
    }
    others = {"AOI_GATEWAY__PORT": "0", "AOI_ENDPOINT__PORT": "0", "AOI_HEALTH__PORT": "0"}

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        workers = await enter(Workers([], settings, special=special))
        up = await workers.spawn("up", launcher="aoi_events.cli", arguments=["up"], **others)
        await up.until_logged("started")
        running = dict(zip(COPIES, await workers.start(*COPIES), strict=True))
        stack.push_async_callback(asyncio.to_thread, balancer.stop)
        await asyncio.to_thread(balancer.start)
        await balancer.until_up()
        session = await enter(aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}))

        async def connect() -> object:
            url = f"http://127.0.0.1:{balancer.ports['gateway']}{PATH}"
            try:
                async with session.ws_connect(url, protocols=(SUBPROTOCOL,)) as socket:
                    return socket.protocol
            except aiohttp.ClientError as error:
                return error

        async def ask() -> object:
            url = f"http://127.0.0.1:{balancer.ports['endpoint']}/v1/notifications/none"
            try:
                async with session.get(url) as answer:
                    return answer.status
            except aiohttp.ClientError as error:
                return error

        async def restart(name: str) -> None:
            running[name].terminate()
            assert await running[name].ended() == 0
            await workers.start(name)

        async with asyncio.timeout(WITHIN):
            async with repeated(connect) as connected, repeated(ask) as answered:
                for name in COPIES:
                    await restart(name)
                    await balancer.until_up()
    assert set(connected) == {SUBPROTOCOL}
    # The request is answered by a worker: there is no such notification.
    assert set(answered) == {404}
