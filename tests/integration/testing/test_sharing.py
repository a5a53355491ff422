"""With pytest-xdist the processes of a run share one server of each kind, and leave none behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from tests.commands import environment

WITHIN = 100.0
IMAGES = ("AOI_TEST_RABBITMQ_IMAGE", "AOI_TEST_POSTGRES_IMAGE")

TEST = """
import asyncio, os, pathlib, pytest

HERE = pathlib.Path(__file__).parent

@pytest.mark.parametrize("number", [0, 1])
def test_it(aoi_postgres_server, number):
    asyncio.run(aoi_postgres_server.new_database())
    container = aoi_postgres_server.known()["container"]
    (HERE / "said").open("w").write(f"{os.getpid()} {container}\\n")
    (HERE / f"go-{number}").open().read()
"""


class Run:
    """A test in each of two processes, which stays there until it is let go."""

    def __init__(self, project: Path) -> None:
        (project / "pytest.ini").write_text("[pytest]\nfilterwarnings = ignore\n")
        (project / "test_it.py").write_text(TEST)
        for name in ("said", "go-0", "go-1"):
            os.mkfifo(project / name)
        self._project = project
        self._said = os.open(project / "said", os.O_RDWR)
        images = {name: os.environ[name] for name in IMAGES if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2"],
            cwd=project,
            env=environment(images),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def servers(self) -> dict[int, str]:
        """The container that each process has, once both have one."""
        told = b""
        while told.count(b"\n") < 2:
            ready, _, _ = select.select([self._said], [], [], WITHIN)
            assert ready, "no server within its time"
            told += os.read(self._said, 1000)
        return {int(line.split()[0]): line.split()[1].decode() for line in told.splitlines()}

    def let_go(self, number: int) -> None:
        """That test ends."""
        (self._project / f"go-{number}").write_text("on\n")

    def ended(self) -> str:
        """What the whole run said."""
        said, _ = self.process.communicate(timeout=WITHIN)
        return said

    def close(self) -> None:
        """Leave nothing of it behind, whatever went wrong."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        os.close(self._said)


@contextmanager
def running(project: Path) -> Iterator[Run]:
    """A run, for the time of the block."""
    run = Run(project)
    try:
        yield run
    finally:
        run.close()


def there(container: str) -> bool:
    """Whether that container exists."""
    client = docker.from_env()
    try:
        return bool(client.containers.list(all=True, filters={"id": container}))
    finally:
        client.close()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_server_for_both_processes(tmp_path: Path, order: tuple[int, int]) -> None:
    """The second process joins the server of the first; at the end it is gone, whichever of the two
    ends first.
    """
    with running(tmp_path) as run:
        servers = run.servers()
        assert len(servers) == 2
        (container,) = set(servers.values())
        assert there(container)
        for number in order:
            run.let_go(number)
        said = run.ended()
        assert run.process.returncode == 0, said
        assert "2 passed" in said
        assert not there(container)


def test_an_interrupted_run_leaves_no_server(tmp_path: Path) -> None:
    """Ctrl-C in the middle of the tests: the run ends with pytest's code 2 and without the server.

    A terminal sends the signal to every process of the run.
    """
    with running(tmp_path) as run:
        (container,) = set(run.servers().values())
        os.killpg(run.process.pid, signal.SIGINT)
        said = run.ended()
        assert run.process.returncode == pytest.ExitCode.INTERRUPTED, said
        assert not there(container), said
