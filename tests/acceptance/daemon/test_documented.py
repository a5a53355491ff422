"""What the documentation tells the owner of a device to do, done as it stands there."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from urllib.parse import urlsplit

from aoi_events.contracts.apps import AppNotification
from aoi_events.testing.server import AoiServer
from aoi_events.testing.waiting import WaitFor
from tests.acceptance.daemon.machine import MAIL, Machine
from tests.acceptance.daemon.test_delivering import lines_of
from tests.support.commands import environment
from tests.support.limits import WITHIN
from tests.support.pages import block, blocks

PAGE = "docs/how-to/linux-daemon.md"


def with_aoi(machine: Machine) -> dict[str, str]:
    """A shell's environment in which ``aoi`` is ours, and the files are the test's."""
    ours = environment(
        {name: machine.settings[name] for name in ("AOI_CLIENT__STATE", "AOI_CLIENT__SOCKET")}
    )
    return {**ours, "PATH": f"{Path(sys.executable).parent}:{ours['PATH']}"}


async def shell(script: str, machine: Machine) -> tuple[int, str]:
    """Run a script to its end; its code, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script, env=with_aoi(machine), stdout=PIPE
    )
    async with asyncio.timeout(WITHIN):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_the_commands(
    machine: Machine, aoi: AoiServer, wait_for: WaitFor, tmp_path: Path
) -> None:
    """The daemon starts, an app is registered and woken, another user takes over, the app goes."""
    start, commands = (each.code for each in blocks(PAGE, "sh"))
    port = urlsplit(aoi.gateway_url).port
    exports, run = start.replace("127.0.0.1:8090", f"127.0.0.1:{port}").splitlines()
    assert exports.startswith("export ")
    daemon = await asyncio.create_subprocess_exec(
        "bash", "-c", f"{exports}\nexec {run}", env=with_aoi(machine), stderr=PIPE
    )
    assert daemon.stderr is not None
    try:
        async with asyncio.timeout(WITHIN):
            while b'"event": "started"' not in (line := await daemon.stderr.readline()):
                assert line, "the daemon ended"
        mail = tmp_path / "mail.jsonl"
        register, status, apps, identity, unregister = [
            f"{exports}\n{line}"
            for line in re.sub(r"/\S+mail\.jsonl", str(mail), commands).splitlines()
        ]
        code, token = await shell(register, machine)
        assert code == 0
        shop = await aoi.publisher()
        await shop.send(token.strip(), "you have mail", notification="n1")
        await wait_for.state("n1", "delivered", within=WITHIN)
        (line_of_mail,) = lines_of(mail)
        assert AppNotification.decode(line_of_mail).content.data == "you have mail"
        code, out = await shell(status, machine)
        assert code == 0
        assert f"connected to ws://127.0.0.1:{port}/aoi" in out
        assert "websocket active" in out
        code, out = await shell(apps, machine)
        assert code == 0
        assert MAIL in out
        assert token.strip() not in out
        assert (await shell(identity, machine))[0] == 0
        await wait_for("client.reassigned", within=WITHIN)
        accepted = await shop.send(token.strip(), "too late")
        assert [each.code for each in accepted.rejected] == ["token_revoked"]
        code, out = await shell(unregister, machine)
        assert (code, MAIL in out) == (0, True)
    finally:
        daemon.send_signal(signal.SIGTERM)
        await daemon.communicate()
    assert daemon.returncode == 0


async def test_the_app(machine: Machine, aoi: AoiServer, wait_for: WaitFor) -> None:
    """The program shows a notification, and hands its token on."""
    program = block(PAGE, "python")
    await machine.start()
    await machine.register(MAIL)
    told = "hand_to_your_backend = show = lambda text: print(text, flush=True)\n"
    assert program.count('"/run/aoi/client.sock"') == 1
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        told + program.replace("/run/aoi/client.sock", str(machine.socket)),
        stdout=PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WITHIN):
            token = (await process.stdout.readline()).decode().strip()
            await (await aoi.publisher()).send(token, "hello", notification="n1")
            assert await process.stdout.readline() == b"hello\n"
        await wait_for.state("n1", "delivered", within=WITHIN)
    finally:
        process.kill()
        await process.wait()


async def test_the_unit(tmp_path: Path) -> None:
    """The systemd unit is one; where systemd is installed, it says so itself."""
    text = block(PAGE, "ini")
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    assert unit["Service"]["ExecStart"].endswith("aoi client run")
    file = tmp_path / "aoi-client.service"
    file.write_text(text.replace("/usr/local/bin/aoi", sys.executable))
    if (analyze := shutil.which("systemd-analyze")) is not None:
        process = await asyncio.create_subprocess_exec(
            analyze, "verify", str(file), stderr=PIPE, env={**os.environ, "SYSTEMD_PAGER": ""}
        )
        _, err = await process.communicate()
        assert (process.returncode, err.decode()) == (0, "")
