"""What the documentation tells an operator to type, typed as it stands there."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from aoi_events.testing.containers import PostgresServer, RabbitServer
from tests.support.commands import environment
from tests.support.limits import WITHIN
from tests.support.pages import block, blocks


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


def pasted(script: str, folder: Path, **settings: str) -> str:
    """Run a script with this environment's ``aoi``, stopping at the first failure; its output."""
    variables = environment(settings)
    variables["PATH"] = f"{folder / 'bin'}:{Path(sys.executable).parent}:{variables['PATH']}"
    done = subprocess.run(  # noqa: S603 - our own pages
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
        cwd=folder, env=variables, capture_output=True, text=True, timeout=WITHIN, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_keys_of_webhooks_and_web_push(tmp_path: Path) -> None:
    """The commands print the settings that the page names, and the channels take them."""
    printed = pasted(block("docs/how-to/webhooks-web-push.md", "sh"), tmp_path)
    made = dict(line.split("=", 1) for line in printed.split())
    prefix = "AOI_CHANNELS__"
    assert set(made) == {
        f"{prefix}WEBHOOK__SIGNING_KEY",
        f"{prefix}WEBPUSH__PRIVATE_KEY",
        f"{prefix}WEBPUSH__PUBLIC_KEY",
    }
    enabled = {f"{prefix}{name}__ENABLED": "true" for name in ("WEBHOOK", "WEBPUSH")}
    assert "webhook" in pasted("aoi settings", tmp_path, **made, **enabled)


def test_a_copy_of_sqlite_and_keys_comes_back(tmp_path: Path) -> None:
    """After the commands for a copy, a loss, and the commands for a restore, all is as it was."""
    copy, restore = blocks("docs/operations/backup.md", "sh")[:2]
    pasted("aoi db upgrade && aoi keys new && chmod 600 aoi-keys.json", tmp_path)
    database, keys = tmp_path / "aoi.sqlite3", tmp_path / "aoi-keys.json"
    kept = keys.read_text()
    with closing(sqlite3.connect(database)) as connection:
        schema = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    pasted(copy.code, tmp_path)
    database.write_bytes(b"damaged")
    keys.unlink()
    pasted(restore.code, tmp_path)
    assert (keys.read_text(), keys.stat().st_mode & 0o777) == (kept, 0o600)
    with closing(sqlite3.connect(database)) as connection:
        again = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    assert (again, len(schema) > 10) == (schema, True)
    pasted("aoi keys list", tmp_path)


async def test_a_dump_of_postgresql_comes_back(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """The commands dump and restore a database, with PostgreSQL's own tools in its container."""
    dump, restore = blocks("docs/operations/backup.md", "sh")[2:]
    database = await postgres_server.new_database(schema=True)
    url = postgres_server.url(database)
    container = postgres_server.known()["container"]
    (tmp_path / "bin").mkdir()
    for tool in ("pg_dump", "pg_restore"):
        file = tmp_path / "bin" / tool
        file.write_text(f'#!/bin/sh\nexec docker exec -i {container} {tool} "$@"\n')
        file.chmod(0o755)
    inside = re.sub(r"@[^/]+/", "@127.0.0.1:5432/", url)
    await asyncio.to_thread(pasted, dump.code, tmp_path, DATABASE=inside)
    await asyncio.to_thread(pasted, restore.code, tmp_path, DATABASE=inside)
    await postgres_server.delete_database(database)


def test_the_commands_of_an_upgrade(
    rabbit_server: RabbitServer, rabbit_vhost: str, tmp_path: Path
) -> None:
    """They declare what is missing, bring the schema up to date, and may run again."""
    settings = {"AOI_BROKER": rabbit_server.url(rabbit_vhost)}
    for _ in range(2):
        printed = pasted(
            block("docs/operations/upgrading.md", "sh", "Upgrade"), tmp_path, **settings
        )
        assert "The schema is up to date." in printed
