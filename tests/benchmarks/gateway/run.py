"""Measures memory and CPU of idle connections: bare candidates, and our gateway with sessions."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
from asyncio.subprocess import PIPE
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from aoi_events import DeviceRequests
from aoi_events.bootstrap.keys import create_key_file
from aoi_events.contracts.device import SUBPROTOCOL, HelloFrame
from aoi_events.contracts.requests import ActivateChannelsV1, ChannelOffer, RegisterClientV1
from aoi_events.domain.clients.client import hash_secret
from aoi_events.gateway.sockets.server import PATH
from aoi_events.store.migration import upgrade
from aoi_events.testing.containers import PostgresServer, RabbitServer
from tests.benchmarks.delivery.workers import workers
from tests.benchmarks.gateway.candidates import CANDIDATES
from tests.benchmarks.gateway.connection_pool import ConnectionPool, connection_pool, masked

_GATEWAY_PORT: Final = 18_090
_ROUNDS: Final = 3
_WARM: Final = 50
"""Connections before the first look: what the server needs once is no connection's cost."""
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one connection: resident KiB while idle; CPU µs of one ping, and of one echo (bare)."""

    memory: float
    ping: float
    echo: float | None


def run_gateway(console: Console, *, sizes: tuple[int, ...] = (1_000, 10_000)) -> None:
    """A table of candidates at each size, with our own gateway below."""
    rabbit, postgres = RabbitServer(), PostgresServer()
    rabbit.start()
    postgres.start()
    try:
        for size in sizes:
            costs = {name: asyncio.run(_bare(name, size)) for name in CANDIDATES}
            costs["our gateway"] = asyncio.run(_ours(rabbit, postgres, size))
            _print(console, size, costs)
    finally:
        rabbit.stop()
        postgres.stop()


async def _bare(name: str, size: int) -> Cost:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.gateway.candidates", name), stdout=PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        async with connection_pool(port, _WARM) as first:
            await first.echo()
            await first.ping()
            before = _resident(process.pid)
            async with connection_pool(port, size) as made:
                memory = (_resident(process.pid) - before) / size
                ping = await _ping(process.pid, made, size)
                spent = _cpu(process.pid)
                for _ in range(_ROUNDS):
                    await made.echo()
                echo = (_cpu(process.pid) - spent) * 1e6 / (_ROUNDS * size)
                made.check()
        return Cost(memory, ping, echo)
    finally:
        process.kill()
        await process.wait()


async def _ours(rabbit: RabbitServer, postgres: PostgresServer, size: int) -> Cost:
    vhost = await asyncio.to_thread(rabbit.new_vhost)
    database = await postgres.new_database()
    store = postgres.url(database)
    await upgrade(store)
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.json"
        create_key_file(keys)
        environment = {
            "AOI_BROKER": rabbit.url(vhost),
            "AOI_STORE": store,
            "AOI_KEY_FILE": str(keys),
            "AOI_GATEWAY_USERS": '["guest"]',
            "AOI_GATEWAY__PORT": str(_GATEWAY_PORT),
            "AOI_HEALTH__ENABLED": "false",
        }
        async with workers(["registration", "activation", "gateway"], environment) as running:
            gateway = next(worker for worker in running.running if worker.name == "gateway")
            hellos = await _registered(rabbit.url(vhost), _WARM + size)
            connected = partial(connection_pool, _GATEWAY_PORT, path=PATH, subprotocol=SUBPROTOCOL)
            async with connected(_WARM, hellos=hellos[:_WARM]):
                before = _resident(gateway.pid)
                async with connected(size, hellos=hellos[_WARM:]) as made:
                    memory = (_resident(gateway.pid) - before) / size
                    ping = await _ping(gateway.pid, made, size)
                    made.check()
    await asyncio.to_thread(rabbit.delete_vhost, vhost)
    await postgres.delete_database(database)
    return Cost(memory, ping, None)


async def _registered(broker: str, size: int) -> list[bytes]:
    """The hello frames of so many registered clients with an active WebSocket channel."""
    turns = asyncio.Semaphore(100)

    async def one(devices: DeviceRequests, number: int) -> bytes:
        secret = urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        async with turns:
            answer = await devices.register(
                RegisterClientV1(
                    version=1,
                    device=f"bench-{number}",
                    identity=f"bench:{number}",
                    secret_hash=hash_secret(secret),
                )
            )
            await devices.activate_channels(
                ActivateChannelsV1(
                    version=1,
                    client=answer.client,
                    secret=secret,
                    sequence=1,
                    offers=(ChannelOffer(type="websocket"),),
                )
            )
        return masked(0x1, HelloFrame(client=answer.client, secret=secret).encode())

    async with DeviceRequests(broker, timeout=60) as devices:
        return list(await asyncio.gather(*(one(devices, number) for number in range(size))))


async def _ping(pid: int, made: ConnectionPool, size: int) -> float:
    spent = _cpu(pid)
    for _ in range(_ROUNDS):
        await made.ping()
    return (_cpu(pid) - spent) * 1e6 / (_ROUNDS * size)


def _resident(pid: int) -> float:
    """KiB of memory that only this process holds."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("Private_"))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _print(console: Console, size: int, costs: dict[str, Cost]) -> None:
    table = Table(title=f"{size:,} idle connections, each")
    for title in ("server", "resident KiB", "CPU µs a ping", "CPU µs an echo"):
        table.add_column(title, justify="left" if title == "server" else "right")
    for name, cost in costs.items():
        echo = "" if cost.echo is None else f"{cost.echo:.0f}"
        table.add_row(name, f"{cost.memory:.1f}", f"{cost.ping:.0f}", echo)
    console.print(table)
