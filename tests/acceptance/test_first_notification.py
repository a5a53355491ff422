"""The README's first notification and the tutorial, pasted into a shell as they stand there."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from aoi_events.testing.ports import free_port
from tests.support.commands import environment
from tests.support.limits import WITHIN
from tests.support.pages import block, blocks

SET_UP = 'make setup && export PATH="$PWD/.venv/bin:$PATH"\n'
GO_ELSEWHERE = 'cd "$(mktemp -d)"\n'
GATEWAY, ENDPOINT = "127.0.0.1:8090", "localhost:8092"


async def pasted(script: str, folder: Path) -> str:
    """Run a script with this environment's ``aoi`` and free ports; what it printed."""
    assert script.startswith(SET_UP + GO_ELSEWHERE)
    gateway, endpoint = free_port(), free_port()
    script = script.removeprefix(SET_UP + GO_ELSEWHERE)
    assert GATEWAY in script
    assert ENDPOINT in script
    script = script.replace(GATEWAY, f"127.0.0.1:{gateway}")
    script = script.replace(ENDPOINT, f"localhost:{endpoint}")
    settings = {"AOI_GATEWAY__PORT": str(gateway), "AOI_ENDPOINT__PORT": str(endpoint)}
    variables = environment(settings | {"AOI_HEALTH__PORT": "0"})
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    # A process group of its own, so that a failure leaves nothing behind.
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        cwd=folder, env=variables, stdin=DEVNULL, stdout=PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN):
            out, _ = await shell.communicate()
    finally:
        if shell.returncode is None:
            os.killpg(shell.pid, signal.SIGKILL)
            await shell.wait()
    return out.decode()


@pytest.mark.timeout(180)
async def test_the_first_notification_of_the_readme(tmp_path: Path) -> None:
    """The lines of the README start server and device, send, and show that it was delivered."""
    out = await pasted(block("README.md", "sh", "The first notification"), tmp_path)
    assert '"state":"delivered"' in out
    assert '"data":"Your parcel is here"' in out.rpartition('"state":"delivered"')[2]


@pytest.mark.timeout(180)
async def test_the_tutorial(tmp_path: Path) -> None:
    """Its steps in one shell deliver at once, store for a device that is off, and deliver then."""
    steps = "".join(each.code for each in blocks("docs/tutorial.md", "sh"))
    out = await pasted(steps, tmp_path)
    before, stored, after = out.partition("stored")
    assert "Your parcel is here" in before
    assert stored
    assert "While you were away" in after.partition("delivered")[2]
