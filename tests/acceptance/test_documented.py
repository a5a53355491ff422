"""What the documentation tells an operator to type, typed as it stands there."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

from tests.commands import environment
from tests.containers import PostgresServer, RabbitServer
from tests.limits import WITHIN
from tests.pages import block


async def test_the_commands_for_more_than_one_machine(
    rabbit_server: RabbitServer, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """With broker and store of this test in place of its own, the sequence ends in a worker that
    takes work, and drains at TERM.
    """
    vhost = await asyncio.to_thread(rabbit_server.new_vhost)
    database = await postgres_server.new_database()
    script, named = re.subn(
        r"AOI_BROKER=amqp://\S+ AOI_STORE=postgresql://\S+",
        f"AOI_BROKER={rabbit_server.url(vhost)} AOI_STORE={postgres_server.url(database)}",
        block("docs/operations/running.md", "sh"),
    )
    assert named == 1
    assert script.rstrip().endswith(
        "aoi worker notification     # or: python -m workers.notification"
    )
    commands = environment({"AOI_HEALTH__PORT": "0"})
    commands["PATH"] = f"{Path(sys.executable).parent}:{commands['PATH']}"
    shell = await asyncio.create_subprocess_exec(
        *(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            re.sub(r"^(aoi worker)", r"exec \1", script, flags=re.MULTILINE),
        ),
        cwd=tmp_path,
        env=commands,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert shell.stderr is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(WITHIN):
            async for line in shell.stderr:
                said.append(line.decode())
                if '"event": "started"' in said[-1]:
                    break
            assert any('"workers": ["notification"]' in line for line in said), "".join(said)
            shell.send_signal(signal.SIGTERM)
            assert await shell.wait() == 0
    finally:
        if shell.returncode is None:
            shell.kill()
            await shell.wait()
    await asyncio.to_thread(rabbit_server.delete_vhost, vhost)
    await postgres_server.delete_database(database)
