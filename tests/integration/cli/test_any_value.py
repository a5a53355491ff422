"""Fifty values of settings in processes: each ends with one line that names its setting."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.certificates import self_signed
from tests.support.commands import AOI, environment
from tests.support.limits import WITHIN

PORTS: Final = {"AOI_GATEWAY__PORT": "0", "AOI_ENDPOINT__PORT": "0", "AOI_HEALTH__PORT": "0"}
_AT_ONCE: Final = 2 * (os.cpu_count() or 1)

# The folder of the test is {0}, a port that is taken {1}.
LOADING: Final = (
    ("AOI_GATEWAY__HOST", "a..b"),
    ("AOI_GATEWAY__HOST", "[::]"),
    ("AOI_GATEWAY__PORT", "99999"),
    ("AOI_ENDPOINT__PORT", "-1"),
    ("AOI_ENDPOINT__PROXIES", "nonsense"),
    ("AOI_ENDPOINT__PUBLIC_URL", "https://["),
    ("AOI_KEY_FILE", "{0}/folder"),
    ("AOI_KEY_FILE", "{0}/utf16"),
    ("AOI_KEY_FILE", "x" * 300),
    ("AOI_STORE", "sqlite:///" + "x" * 10_000),
    ("AOI_BROKER", "amqp://["),
    ("AOI_BROKER", "amqp://a..b"),
    ("AOI_CONFIG", "{0}/utf16"),
    ("AOI_CONFIG", "{0}/folder"),
    ("AOI_CONFIG", "{0}/fifo"),
    ("AOI_KEY_FILE", "{0}/fifo"),
    ("AOI_CONFIG", "x" * 10_000),
    ("AOI_POLICY__PROOF_HOLDS", "inf"),
    ("AOI_POLICY__KEEP_SETTLED", "1e12"),
    ("AOI_LOG__LEVEL", "verbose"),
    ("AOI_GATEWAY_PORT", "8090"),
    ("AOI_STORE_URL", "sqlite:///a.sqlite3"),
)
STARTING: Final = (
    ("AOI_ENDPOINT__HOST", "no-such.invalid"),
    ("AOI_HEALTH__HOST", "192.0.2.1"),
    ("AOI_GATEWAY__PORT", "{1}"),
    ("AOI_ENDPOINT__PORT", "{1}"),
    ("AOI_HEALTH__PORT", "{1}"),
    ("AOI_GATEWAY__CERTIFICATE", "{0}/folder"),
    ("AOI_ENDPOINT__CERTIFICATE", "{0}/utf16"),
    ("AOI_GATEWAY__CERTIFICATE", "{0}/fifo"),
    ("AOI_ENDPOINT__CERTIFICATE", "{0}/encrypted.pem"),
    ("AOI_POLICY_FILE", "{0}/folder"),
    ("AOI_POLICY_FILE", "{0}/utf16"),
    ("AOI_STORE", "sqlite:///{0}/folder"),
    ("AOI_STORE", "sqlite:///{0}/fifo"),
    ("AOI_STORE", "sqlite:///{0}/utf16"),
    ("AOI_CHANNELS__WEBSOCKET__COST", "nan"),
)
WORKER: Final = (("AOI_STORE", "sqlite:///{0}/missing/aoi.sqlite3"),)
AT_THE_EDGE: Final = (("AOI_BROKER", "amqps://u:p@127.0.0.1:1/v?cafile={0}/fifo"),)
CLIENT: Final = (
    ("AOI_CLIENT__URL", "ws://a..b/aoi", 78),
    ("AOI_CLIENT__CA_FILE", "{0}/folder", 78),
    ("AOI_CLIENT__CA_FILE", "{0}/fifo", 78),
    ("AOI_CLIENT__ASSERTION_FILE", "{0}/fifo", 78),
    ("AOI_CLIENT__ASSERTION_FILE", "{0}/utf16", 78),
    ("AOI_CLIENT__GROUP", "1" * 12, 78),
    ("AOI_CLIENT__SOCKET", "{0}/folder", 78),
    ("AOI_CLIENT__IDENTITY", "x" * 300, 78),
    ("AOI_CLIENT__SOCKET", "/proc/aoi", 78),
    ("AOI_CLIENT__STATE", "{0}/state", 74),
    ("AOI_CLIENT__STATE", "/proc/aoi", 74),
)


ROLES: Final[tuple[tuple[str, dict[str, str], tuple[tuple[str, str], ...]], ...]] = (
    ("keys list", PORTS, LOADING),
    ("up", PORTS, STARTING),
    ("worker gateway", PORTS, AT_THE_EDGE),
    ("worker registration", {"AOI_BROKER": "amqp://u:p@127.0.0.1:1/v"}, WORKER),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files and folders that are not what a setting needs."""
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "state" / "client.json").mkdir(parents=True)
    (tmp_path / "utf16").write_text('{"a": "ä"}', encoding="utf-16")
    pem = self_signed(tmp_path).read_bytes()
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    certificate = pem[: pem.index(b"-----BEGIN PRIVATE")]
    (tmp_path / "encrypted.pem").write_bytes(certificate + encrypted)
    return tmp_path


async def test_values_that_cannot_work(folder: Path) -> None:
    """Each process ends with its code; the last line names the setting, and none is a traceback."""
    limit = asyncio.Semaphore(_AT_ONCE)
    device = {"AOI_CLIENT__URL": "ws://127.0.0.1:1/aoi", "AOI_CLIENT__IDENTITY": "tel:+15550100"}
    device |= {name: f"{folder}/{name}" for name in ("AOI_CLIENT__STATE", "AOI_CLIENT__SOCKET")}

    async def wrong(arguments: str, settings: dict[str, str], name: str, code: int) -> str | None:
        async with limit:
            ended, lines = await _ended(arguments, settings, folder)
        named = name in lines[-1]
        asked = any("Traceback" in each or "pass phrase" in each for each in lines)
        return None if ended == code and named and not asked else f"{name}: {ended} {lines[-3:]}"

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        servers = [
            wrong(command, {**settings, name: value.format(folder, port)}, name, 78)
            for command, settings, values in ROLES
            for name, value in values
        ]
        clients = [
            wrong("client run", {**device, name: value.format(folder)}, name, code)
            for name, value, code in CLIENT
        ]
        found = await asyncio.gather(*servers, *clients)
    assert [each for each in found if each is not None] == []


async def test_values_that_can(folder: Path) -> None:
    """Line breaks at the end of every text, and `::` for all roles, change nothing."""
    settings = {"AOI_STORE": "sqlite:///a.sqlite3\n", "AOI_KEY_FILE": "k.json\n"}
    settings |= {"AOI_LOG__LEVEL": " info\n", "AOI_DECLARE": "true\n", "AOI_GATEWAY_USERS": "\n"}
    for role in ("GATEWAY", "ENDPOINT", "HEALTH"):
        settings |= {f"AOI_{role}__HOST": "::\n", f"AOI_{role}__PORT": "0\n"}
    process = await _start("up", settings, folder)
    assert process.stderr is not None
    async with asyncio.timeout(WITHIN):
        async for line in process.stderr:
            if b'"started"' in line:
                process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    made = await asyncio.to_thread(lambda: {each.name for each in folder.iterdir()})
    assert {"a.sqlite3", "k.json"} <= made


async def _ended(arguments: str, settings: dict[str, str], folder: Path) -> tuple[int, list[str]]:
    process = await _start(arguments, settings, folder)
    async with asyncio.timeout(WITHIN):
        _, said = await process.communicate()
    return process.returncode or 0, said.decode().splitlines() or [""]


async def _start(
    arguments: str, settings: dict[str, str], folder: Path
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *AOI,
        *arguments.split(),
        cwd=folder,
        env=environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
