"""The table of commands that ``aoi --help`` prints without importing them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aoi_events.cli.app import COMMANDS, load_command

_LOADED = """
import sys
from aoi_events.cli.app import main
try:
    main({arguments!r})
except SystemExit as ended:
    assert ended.code == 0, ended.code
print(*sys.modules, file=sys.stderr)
"""


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a process has imported after ``aoi`` with these arguments."""
    program = _LOADED.format(arguments=list(arguments))
    ran = subprocess.run(  # noqa: S603 - our own interpreter, our own lines
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True
    )
    return set(ran.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_first_sentence_of_its_command(name: str) -> None:
    """The line in ``aoi --help`` is the one that begins the command's own help."""
    summary = COMMANDS[name][1]
    assert " ".join((load_command(name).help or "").split()).startswith(summary)


def test_help_imports_no_command() -> None:
    """``aoi --help`` loads neither a command nor what commands are made of."""
    loaded = loaded_by("--help")
    assert not {"pydantic", "sqlalchemy", "aio_pika", "aiohttp", "alembic"} & loaded
    assert {name for name in loaded if name.startswith("aoi_events.cli.")} == {
        "aoi_events.cli.app",
        "aoi_events.cli.output",
    }


def test_a_command_imports_what_it_uses() -> None:
    """A device's command loads no library of a server, and a server's command no other one."""
    servers = {"sqlalchemy", "alembic", "asyncpg", "aio_pika", "starlette", "uvicorn"}
    assert not servers & loaded_by("client", "--help")
    assert not {"sqlalchemy", "alembic", "aiohttp"} & loaded_by("send", "--help")
    assert not {"alembic", "aio_pika", "uvicorn"} & loaded_by("status", "--help")
