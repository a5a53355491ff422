"""``aoi up`` and ``aoi worker`` as processes: ready, drained, ended at once, or not started."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aoi_events.telemetry.catalogue import CATALOGUE
from aoi_events.testing.ports import free_port
from tests.integration.cli.conftest import MEMORY, Start
from tests.support.commands import run
from tests.support.limits import WITHIN

UNREACHABLE = "amqp://aoi:hidden@127.0.0.1:1/"


async def answer(port: int, path: str) -> tuple[int, Any]:
    """What health says."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.json()


async def ready(port: int) -> Any:
    """What health says once the process is ready: a gateway, when its first probe came back."""
    async with asyncio.timeout(WITHIN):
        while (found := await answer(port, "/readyz"))[0] != 200:
            assert found[1]["notes"].keys() == {"gateway_queue"}
    return found[1]


async def test_up_is_ready_and_drains(start: Start, tmp_path: Path) -> None:
    """One command is a whole server: ready over HTTP, keys and schema made, TERM drains, exit 0."""
    process = await start("up", **MEMORY)
    started = await process.says("started")
    assert "`aoi keys api NAME`" in (await process.says("no_api_keys"))["hint"]
    assert await answer(started["health"], "/livez") == (200, {"ok": True})
    checks = {"broker": True, "gateway_queue": True, "store": True, "workers": True}
    assert await ready(started["health"]) == {"ok": True, "checks": checks}
    assert (tmp_path / "aoi.sqlite3").exists()
    assert (tmp_path / "aoi-keys.json").stat().st_mode & 0o777 == 0o600
    process.running.send_signal(signal.SIGTERM)
    assert await process.ends() == 0
    assert process.log[-1]["event"] == "drained"


async def test_metrics_are_served_beside_health(start: Start) -> None:
    """A scraper gets the format that it asks for, complete, and nothing else is needed."""
    process = await start("up", **MEMORY)
    url = f"http://127.0.0.1:{(await process.says('started'))['health']}/metrics"
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = await response.text()
        accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
        async with session.get(url, headers=accept) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await response.text()).endswith("# EOF\n")
    served = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {each.name for each in CATALOGUE} <= served
    assert "process_cpu_seconds_total" in served
    assert 'aoi_store_transaction_seconds_count{mode="read"} 0.0' not in text


async def test_up_again_finds_what_it_made(start: Start, tmp_path: Path) -> None:
    """The second start keeps keys and database."""
    for _ in range(2):
        process = await start("up", **MEMORY)
        await process.says("started")
        process.running.send_signal(signal.SIGINT)
        assert await process.ends() == 0
        keys = (tmp_path / "aoi-keys.json").read_text()
    created = [line for line in process.log if line["event"] == "key_file_created"]
    assert not created
    assert (tmp_path / "aoi-keys.json").read_text() == keys


async def test_a_second_term_ends_it_at_once(start: Start) -> None:
    """Whoever cannot wait for the drain sends TERM again: exit code 143, nothing drained."""
    process = await start("up", **MEMORY, AOI_DRAIN_WITHIN="60")
    await process.says("started")
    # Stopped, it sees both at once when it goes on: no drain is quick enough in between.
    process.running.send_signal(signal.SIGSTOP)
    process.running.send_signal(signal.SIGTERM)
    process.running.send_signal(signal.SIGINT)
    process.running.send_signal(signal.SIGCONT)
    assert await process.ends() == 143
    assert "drained" not in [line["event"] for line in process.log]


async def test_servers_close_after_the_balancer_noticed(start: Start) -> None:
    """After TERM ``/readyz`` is 503 at once, and requests are answered until AOI_CLOSE_AFTER."""
    process = await start("up", **MEMORY, AOI_CLOSE_AFTER="600")
    started = await process.says("started")
    process.running.send_signal(signal.SIGTERM)
    await process.says("leaving")
    status, health = await answer(started["health"], "/readyz")
    assert (status, health["checks"]["workers"]) == (503, False)
    for url in (started["senders"], started["devices"].replace("ws:", "http:")):
        async with aiohttp.ClientSession() as session, session.get(f"{url}/none") as response:
            assert response.status == 404
    process.running.send_signal(signal.SIGTERM)
    assert await process.ends() == 143


async def test_a_port_that_is_taken(start: Start) -> None:
    """Two on one machine: the second ends with 78 and names the setting."""
    first = await start("up", **MEMORY)
    port = (await first.says("started"))["health"]
    second = await start("up", **(MEMORY | {"AOI_HEALTH__PORT": str(port)}))
    assert await second.ends() == 78
    assert f"cannot listen on 127.0.0.1 port {port}" in second.log[-1]["error"]
    assert "AOI_HEALTH__PORT" in second.log[-1]["error"]


@pytest.mark.parametrize("name", ["gateway", "endpoint"])
async def test_a_port_of_the_edge_that_is_taken(start: Start, name: str) -> None:
    """It ends with 78, and the reason is the last line of its log."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await start("up", **(MEMORY | {f"AOI_{name.upper()}__PORT": str(port)}))
        assert await process.ends() == 78
    assert f"cannot listen on 127.0.0.1 port {port}" in process.log[-1]["error"]
    assert f"set AOI_{name.upper()}__HOST to an address" in process.log[-1]["error"]


@pytest.mark.parametrize(
    "command, settings, told",
    [
        # The gateway opens the broker only: no store takes the time that there is.
        ("worker gateway", {"AOI_BROKER": UNREACHABLE}, "connecting to 127.0.0.1:1"),
        (
            "up",
            {"AOI_STORE": "postgresql://aoi:hidden@127.0.0.1:1/a"},
            "the store cannot be reached",
        ),
    ],
)
def test_an_unreachable_part_ends_it_in_time(
    tmp_path: Path, command: str, settings: dict[str, str], told: str
) -> None:
    """Broker or store may come up within AOI_START_WITHIN; then exit code 69, and no password."""
    settings = {**MEMORY, "AOI_START_WITHIN": "6", **settings}
    ran = run(*command.split(), cwd=tmp_path, settings=settings)
    assert ran.code == 69
    last = json.loads(ran.err.splitlines()[-1])
    assert (last["event"], last["level"]) == ("unreachable", "error")
    assert told in last["error"]
    assert "hidden" not in ran.err


async def test_term_while_it_waits_for_the_broker(start: Start) -> None:
    """A process that waits for its broker ends at the first TERM, too."""
    process = await start("up", **MEMORY, AOI_BROKER="amqp://aoi:aoi@127.0.0.1:1/")
    await process.says("not_there_yet")
    process.running.send_signal(signal.SIGTERM)
    assert await process.ends() == 0


@pytest.mark.timeout(600)
async def test_workers_beside_each_other(
    start: Start, rabbit_url: str, postgres_url: str, tmp_path: Path
) -> None:
    """Each worker alone is ready and drains; two copies of one take nothing from each other."""
    settings = {
        "AOI_BROKER": rabbit_url,
        "AOI_STORE": postgres_url,
        "AOI_GATEWAY__PORT": "0",
        "AOI_HEALTH__PORT": "0",
        "AOI_CHANNELS__SMS__HOST": "127.0.0.1",
        "AOI_CHANNELS__SMS__PORT": str(free_port()),
        "AOI_GATEWAY_USERS": '["guest"]',
    }
    for command in ("keys new", "db upgrade", "broker declare"):
        ran = await asyncio.to_thread(run, *command.split(), cwd=tmp_path, settings=settings)
        assert ran.code == 0, ran.err
    names = ["registration", "notification", "notification", "gateway", "sms", "deadlines"]
    processes = [await start("worker", name, **settings) for name in names]
    for name, process in zip(names, processes, strict=True):
        assert (await process.says("started"))["workers"] == [name]
        assert (await ready((await process.says("started"))["health"]))["ok"]
    for process in processes:
        process.running.send_signal(signal.SIGTERM)
    assert [await process.ends() for process in processes] == [0] * len(names)


@pytest.mark.parametrize("name", ["gateway", "endpoint"])
async def test_the_edge_needs_the_broker_only(start: Start, rabbit_url: str, name: str) -> None:
    """What faces the world opens neither store nor keys: one whose store is nowhere is ready, and
    drains.
    """
    settings = {
        "AOI_BROKER": rabbit_url,
        "AOI_STORE": "postgresql://aoi:aoi@127.0.0.1:1/aoi",
        "AOI_KEY_FILE": "/nowhere/keys.json",
        "AOI_GATEWAY__PORT": "0",
        "AOI_ENDPOINT__PORT": "0",
        "AOI_HEALTH__PORT": "0",
    }
    process = await start("worker", name, **settings)
    health = await ready((await process.says("started"))["health"])
    own = {"gateway_queue": True} if name == "gateway" else {}
    assert health["checks"] == {"broker": True, "workers": True, **own}
    process.running.send_signal(signal.SIGTERM)
    assert await process.ends() == 0


@pytest.mark.timeout(600)
async def test_a_providers_worker_needs_no_keys(
    start: Start, rabbit_url: str, postgres_url: str, tmp_path: Path
) -> None:
    """Workers of channels tell no token from another: they run where there is no key file."""
    settings = {
        "AOI_BROKER": rabbit_url,
        "AOI_STORE": postgres_url,
        "AOI_HEALTH__PORT": "0",
        "AOI_CHANNELS__SMS__HOST": "127.0.0.1",
        "AOI_CHANNELS__SMS__PORT": str(free_port()),
        "AOI_CHANNELS__WEBHOOK__ENABLED": "true",
        "AOI_CHANNELS__WEBPUSH__ENABLED": "true",
    }
    for command in ("keys webhook", "keys vapid"):
        ran = await asyncio.to_thread(run, *command.split(), cwd=tmp_path, settings=settings)
        settings |= dict(line.split("=", 1) for line in ran.out.splitlines())
    ran = await asyncio.to_thread(run, "db", "upgrade", cwd=tmp_path, settings=settings)
    assert ran.code == 0, ran.err
    for name in ("sms", "webhook", "webpush"):
        process = await start("worker", name, **settings)
        await process.says("started")
        process.running.send_signal(signal.SIGTERM)
        assert await process.ends() == 0
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


def test_a_worker_without_keys(tmp_path: Path, rabbit_url: str) -> None:
    """Workers of an installation share one key file: one that has none says how to make it."""
    settings = {"AOI_BROKER": rabbit_url, "AOI_HEALTH__PORT": "0"}
    assert run("db", "upgrade", cwd=tmp_path, settings=settings).code == 0
    ran = run("worker", "registration", cwd=tmp_path, settings=settings)
    assert ran.code == 78
    assert "`aoi keys new --file aoi-keys.json` makes one" in ran.err
    assert [file.name for file in tmp_path.iterdir()] == ["aoi.sqlite3"]


def test_a_channel_that_is_not_configured(tmp_path: Path, rabbit_url: str) -> None:
    """The sms worker without an SMSC ends with 78 and names its settings."""
    settings = {"AOI_BROKER": rabbit_url, "AOI_HEALTH__PORT": "0"}
    for command in ("keys new", "db upgrade"):
        assert run(*command.split(), cwd=tmp_path, settings=settings).code == 0
    ran = run("worker", "sms", cwd=tmp_path, settings=settings)
    assert ran.code == 78
    assert "AOI_CHANNELS__SMS__" in ran.err


@pytest.mark.parametrize(
    "name, missing",
    [
        ("activation", "AOI_CHANNELS__WEBHOOK__SIGNING_KEY"),
        ("webhook", "AOI_CHANNELS__WEBHOOK__SIGNING_KEY"),
        ("webpush", "AOI_CHANNELS__WEBPUSH__PRIVATE_KEY"),
    ],
)
def test_a_channel_without_its_key(
    tmp_path: Path, rabbit_url: str, name: str, missing: str
) -> None:
    """Workers that need the key of a channel do not start without it, and name the setting."""
    settings = {
        "AOI_BROKER": rabbit_url,
        "AOI_HEALTH__PORT": "0",
        "AOI_CHANNELS__WEBHOOK__ENABLED": "true",
        "AOI_CHANNELS__WEBPUSH__ENABLED": "true",
    }
    for command in ("keys new", "db upgrade"):
        assert run(*command.split(), cwd=tmp_path, settings=settings).code == 0
    ran = run("worker", name, cwd=tmp_path, settings=settings)
    assert ran.code == 78
    assert missing in ran.err
