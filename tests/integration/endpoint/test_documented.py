"""What the documentation tells a backend developer to do over HTTP, done as it stands there."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from aoi_events.contracts.answers import (
    AnyAnswer,
    NotificationAcceptedV1,
    NotificationCancelledV1,
    NotificationStatusV1,
)
from tests.integration.endpoint.server_under_test import Sender, ServerUnderTest
from tests.integration.endpoint.test_libraries import Browser
from tests.support.commands import environment
from tests.support.limits import WITHIN
from tests.support.pages import block

PAGE = "docs/how-to/publish-http.md"


async def test_the_python_of_the_page(server: ServerUnderTest, tmp_path: Path) -> None:
    """With a subscription and a key file, it prints 201 and the URL that withdraws the message."""
    system = server.system
    system.clock.advance((datetime.now(UTC) - system.clock.now()).total_seconds())
    sender, file = Sender(), tmp_path / "vapid.pem"
    file.write_bytes(
        sender.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    device = await system.client()
    await device.register_app("webpush", sender_key=sender.key)
    subscription = Browser().subscription(f"{server.origin}/wpush/v1/{device.token}")
    code, said = block(PAGE, "python").replace("vapid.pem", str(file)), io.StringIO()

    def run() -> None:
        with contextlib.redirect_stdout(said):
            exec(compile(code, PAGE, "exec"), {"subscription": subscription})  # noqa: S102

    await asyncio.to_thread(run)
    status, location = said.getvalue().split()
    assert status == "201"
    assert (await server.ask("DELETE", location)).status == 204


async def test_the_commands_of_the_page(server: ServerUnderTest, tmp_path: Path) -> None:
    """Against an endpoint that knows the key, each prints the contract that it should."""
    device = await server.system.device()
    made, *commands = re.split(r"^(?=aoi |curl )", block(PAGE, "sh"), flags=re.MULTILINE)[1:]
    assert made.startswith("aoi keys api shop")
    variables = environment({}) | {"API_KEY": server.api_key(), "TOKEN": device.token}
    contracts: tuple[type[AnyAnswer], ...] = (
        NotificationAcceptedV1,
        NotificationStatusV1,
        NotificationCancelledV1,
    )
    for command, contract in zip(commands, contracts, strict=True):
        assert "http://localhost:8092" in command
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c"),
            command.replace("http://localhost:8092", server.url),
            cwd=tmp_path,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(WITHIN):
            out, _ = await shell.communicate()
        assert shell.returncode == 0
        assert contract.decode(out).model_dump()["notification"] == "n1"
