"""``aoi up`` and ``aoi worker`` as processes: ready, drained, ended at once, or not started."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aoi_events.telemetry.catalogue import CATALOGUE
from aoi_events.testing.ports import free_port
from tests.support.certificates import self_signed
from tests.support.commands import AOI, environment, run
from tests.support.limits import WITHIN

UNREACHABLE = "amqp://aoi:hidden@127.0.0.1:1/"
MEMORY = {"AOI_GATEWAY__PORT": "0", "AOI_ENDPOINT__PORT": "0", "AOI_HEALTH__PORT": "0"}


@dataclass
class Process:
    """A running ``aoi``; its log is read line by line."""

    running: asyncio.subprocess.Process
    log: list[dict[str, Any]] = field(default_factory=list)

    async def says(self, event: str) -> dict[str, Any]:
        """Return the line of the log with this event, when it comes."""
        for line in self.log:
            if line["event"] == event:
                return line
        assert self.running.stderr is not None
        async with asyncio.timeout(WITHIN):
            async for text in self.running.stderr:
                self.log.append(json.loads(text))
                if self.log[-1]["event"] == event:
                    return self.log[-1]
        raise AssertionError(f"it ended without {event!r}: {self.log}")

    async def ends(self) -> int:
        """The exit code, when it ends."""
        async with asyncio.timeout(WITHIN):
            _, rest = await self.running.communicate()
        self.log += [json.loads(line) for line in rest.splitlines()]
        assert self.running.returncode is not None
        return self.running.returncode


class Start:
    """The fixture ``start``: runs ``aoi`` with arguments and settings."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.started: list[Process] = []

    async def __call__(self, *arguments: str, **settings: str) -> Process:
        """Run it; it is killed when the test ends."""
        process = Process(
            await asyncio.create_subprocess_exec(
                *AOI,
                *arguments,
                cwd=self._folder,
                env=environment(settings),
                stderr=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )
        self.started.append(process)
        return process


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts processes, and ends those that still run."""
    start = Start(tmp_path)
    yield start
    for process in start.started:
        if process.running.returncode is None:
            process.running.kill()
            await process.running.communicate()


async def answer(port: int, path: str) -> tuple[int, Any]:
    """What health says."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.json()


async def test_up_is_ready_and_drains(start: Start, tmp_path: Path) -> None:
    """One command is a whole server: ready over HTTP, keys and schema made, TERM drains, exit 0."""
    process = await start("up", **MEMORY)
    started = await process.says("started")
    assert "`aoi keys api NAME`" in (await process.says("no_api_keys"))["hint"]
    assert await answer(started["health"], "/livez") == (200, {"ok": True})
    checks = {"broker": True, "store": True, "workers": True}
    assert await answer(started["health"], "/readyz") == (200, {"ok": True, "checks": checks})
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


async def shown(port: int) -> bytes:
    """The certificate that a server shows."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(WITHIN):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
    return certificate


async def test_hup_reads_files_again_and_ends_nobody(start: Start, tmp_path: Path) -> None:
    """Certificates, keys and the policy are those of the files now; a file that cannot be used
    changes nothing; a connection that was there goes on.
    """
    certificate, key_file = self_signed(tmp_path), tmp_path / "aoi-keys.json"
    (policy := tmp_path / "policy.toml").write_text('mode = "parallel"')
    files = {"AOI_GATEWAY__CERTIFICATE": str(certificate), "AOI_POLICY_FILE": str(policy)}
    process = await start("up", **MEMORY, **files)
    started = await process.says("started")
    port = int(started["devices"].split(":")[2].split("/")[0])
    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(started["devices"], ssl=trusting) as device,
    ):
        before = await shown(port)
        self_signed(tmp_path)
        process.running.send_signal(signal.SIGHUP)
        read = await process.says("files_read_again")
        assert set(read["files"]) == {str(certificate), key_file.name, str(policy)}
        after = await shown(port)
        assert after != before
        # Without HUP a change is noticed, too.
        for file, name in (
            (certificate, "certificate"),
            (key_file, "key_file"),
            (policy, "policy"),
        ):
            file.write_text("nothing")
            await process.says(f"{name}_refused")
        assert await shown(port) == after
        await device.ping()
        assert not device.closed
    process.running.send_signal(signal.SIGTERM)
    assert await process.ends() == 0


async def test_a_new_token_key_is_taken(start: Start, tmp_path: Path) -> None:
    """`aoi keys add` reaches workers that run; a file with another challenge key does not."""
    process = await start("up", **MEMORY)
    await process.says("started")
    assert (await asyncio.to_thread(run, "keys", "add", cwd=tmp_path)).code == 0
    await process.says("key_file_taken")
    file = tmp_path / "aoi-keys.json"
    body = json.loads(file.read_text())
    file.write_text(json.dumps(body | {"challenge": base64.b64encode(bytes(32)).decode()}))
    process.running.send_signal(signal.SIGHUP)
    refused = await process.says("key_file_refused")
    assert "has another challenge key, which needs a restart" in refused["error"]


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
        assert (await answer((await process.says("started"))["health"], "/readyz"))[0] == 200
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
    status, health = await answer((await process.says("started"))["health"], "/readyz")
    assert status == 200
    assert health["checks"] == {"broker": True, "workers": True}
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
