"""The table of commands that ``aoi --help`` prints without importing them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aoi_events.cli.app import COMMANDS, load_command

SERVERS = {
    *("aio_pika", "aiormq", "pamqp"),
    *("sqlalchemy", "alembic", "psycopg", "aiosqlite"),
    *("aiohttp.web", "prometheus_client"),
    *("smpp34", "standardwebhooks", "jwt", "http_ece"),
}
"""Libraries that only servers need."""
NO_STORE = {"structlog", *SERVERS}
"""Libraries that no command needs which has neither broker nor store."""
OTHERS_THAN_THE_STORE = {
    *NO_STORE - {"sqlalchemy", "aiosqlite"},
    *("sqlalchemy.dialects.postgresql", "cryptography"),
}
"""Libraries that no command needs which reads a store on SQLite."""
ROOMS = {
    *("services", "gateway", "endpoint", "publishing", "daemon", "client", "testing"),
    *("broker", "store", "channels", "bootstrap", "domain"),
}
"""Rooms of the package that run something."""

_LOADED = """
import atexit, sys
from aoi_events.cli.app import main
atexit.register(lambda: print("\\n", *sys.modules, file=sys.stderr))
main(sys.argv[1:])
"""


def loaded_by(*arguments: str, end_at: str | None = None) -> set[str]:
    """The modules that ``aoi`` with these arguments has imported when it ends.

    With ``end_at``, it gets TERM once it has logged this event.
    """
    with subprocess.Popen(  # noqa: S603 - our own interpreter, our own lines
        [sys.executable, "-c", _LOADED, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if end_at is not None and f'"event": "{end_at}"' in line:
                process.terminate()
        return set(line.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_first_sentence_of_its_command(name: str) -> None:
    """The line in ``aoi --help`` is the one that begins the command's own help."""
    summary = COMMANDS[name][1]
    assert " ".join((load_command(name).help or "").split()).startswith(summary)


def test_help_imports_no_command() -> None:
    """``aoi --help`` loads neither a command nor what commands are made of."""
    loaded = loaded_by("--help")
    assert not {"pydantic", "structlog", *SERVERS} & loaded
    assert {name for name in loaded if name.startswith("aoi_events.cli.")} == {
        "aoi_events.cli.app",
        "aoi_events.cli.output",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_imports_no_server(name: str) -> None:
    """Help loads what describes the command: no settings, no log, none of what the command runs."""
    loaded = loaded_by(name, "--help")
    assert not {"structlog", "pydantic_settings", *SERVERS} & loaded
    assert not {each for each in loaded if each.split(".")[1:2] in ([room] for room in ROOMS)}


@pytest.mark.parametrize(
    "arguments, forbidden",
    [
        (["contracts", "hello"], {"pydantic_settings", *NO_STORE}),
        (["contracts", "--openapi"], {"pydantic_settings", "aiohttp", *NO_STORE}),
        (["metrics"], {"pydantic_settings", *NO_STORE}),
        (["settings"], {"cryptography", *NO_STORE}),
        (["keys", "new", "--file", "keys.json"], {"cryptography", *NO_STORE}),
        (["client", "apps"], {"cryptography", *NO_STORE}),
        (["policy", "check", "policy.toml"], {"pydantic_settings", "cryptography", *NO_STORE}),
        (["broker", "declare"], {"cryptography", *NO_STORE}),
        (["status", "ntf"], OTHERS_THAN_THE_STORE),
        (["status", "--channels"], OTHERS_THAN_THE_STORE),
        (["dead", "list"], OTHERS_THAN_THE_STORE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_imports_what_it_uses(
    arguments: list[str], forbidden: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that has run, or failed for want of a store, loaded nothing for other commands."""
    monkeypatch.chdir(tmp_path)
    assert not forbidden & loaded_by(*arguments)


def test_the_client_imports_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon of a device, while it runs, has loaded no library that only a server needs."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "URL": "ws://127.0.0.1:1/aoi",
        "IDENTITY": "tel:+15550100",
        "SOCKET": str(tmp_path / "client.sock"),
        "STATE": str(tmp_path / "state"),
        "NETWORK": "unwatched",
    }.items():
        monkeypatch.setenv(f"AOI_CLIENT__{name}", value)
    assert not SERVERS & loaded_by("client", "run", end_at="started")
