"""Files that change while a server runs."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.integration.cli.conftest import MEMORY, Start
from tests.support.certificates import self_signed
from tests.support.commands import environment, run
from tests.support.limits import WITHIN


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


HUP_WHILE_SETTINGS_ARE_READ = """
import os, signal, sys
from aoi_events.bootstrap import setting_sources
from aoi_events.cli.app import main
from aoi_events.errors import ConfigurationError

def read_file(path):
    os.kill(os.getpid(), signal.SIGHUP)
    raise ConfigurationError("it goes on")

setting_sources.read_file = read_file
main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["up", "worker gateway", "client run"])
def test_hup_before_the_settings_are_read(command: str) -> None:
    """A process that starts does not end by HUP: it has read no file yet that could be old."""
    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", HUP_WHILE_SETTINGS_ARE_READ, *command.split()],
        env=environment({"AOI_CONFIG": "aoi.toml"}),
        capture_output=True,
        check=False,
        text=True,
        timeout=WITHIN,
    )
    assert (ended.returncode, ended.stderr) == (78, "error: it goes on\n")


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
    assert refused["error"].startswith("AOI_KEY_FILE: aoi-keys.json has another challenge key, ")
