"""The option ``--no-containers``: every test that needs neither a container nor a Firefox.

A test needs one when a fixture that starts one is among its fixtures, whichever way it comes there.
Where a test decides at run time, or starts one by itself, it has the mark ``containers``. Both are
seen to: in such a run there is no Docker engine and no Firefox, so a test without its mark fails.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import pytest

_STARTED_BY: Final = {
    "aoi_rabbitmq_server",
    "aoi_postgres_server",
    "own_rabbit_server",
    "own_postgres_server",
    "docker_engine",
}
"""Fixtures that start a container."""
_SERVERS: Final = {"postgresql", "rabbitmq"}
"""Parts of a parameter with which fixtures start one: ``memory+postgresql``."""
_PROGRAMS: Final = ("docker", "firefox", "firefox-esr")
_WHY: Final = (
    "--no-containers: tests that use a container or a Firefox are left out; another one that "
    "starts one fails: mark it with pytest.mark.containers"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--no-containers", action="store_true", help=_WHY.partition(": ")[2])


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known and, in such a run, let nothing start a container or a Firefox."""
    config.addinivalue_line("markers", "containers: uses a container or a Firefox")
    if not config.getoption("--no-containers"):
        return
    folder = Path(tempfile.mkdtemp(prefix="aoi-no-containers-"))
    config.add_cleanup(lambda: shutil.rmtree(folder))
    for name in _PROGRAMS:
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{_WHY}' >&2\nexit 1\n")
        program.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    os.environ["DOCKER_HOST"] = f"unix://{folder / 'no-engine'}"


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say that this run is a part."""
    return [_WHY] if config.getoption("--no-containers") else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a container or a Firefox."""
    if config.getoption("--no-containers"):
        config.hook.pytest_deselected(items=[item for item in items if needs_containers(item)])
        items[:] = [item for item in items if not needs_containers(item)]


def needs_containers(item: pytest.Item) -> bool:
    """Whether a test starts a container or a Firefox, by its fixtures or its mark."""
    if item.get_closest_marker("containers") is not None:
        return True
    parameters = getattr(item, "callspec", None)
    for value in parameters.params.values() if parameters else ():
        if isinstance(value, str) and not _SERVERS.isdisjoint(value.split("+")):
            return True
    return not _STARTED_BY.isdisjoint(getattr(item, "fixturenames", ()))
