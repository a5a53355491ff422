"""With pytest-xdist the processes of a run share one server of each kind, and leave none behind."""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from aoi_events.testing.reaper import Lease
from tests.support.commands import environment
from tests.support.engine import Engine
from tests.support.limits import WITHIN

pytestmark = pytest.mark.usefixtures("docker_engine")
BESIDE = ("setpriv", "--pdeathsig", "KILL", "env", "--default-signal=INT")
"""Before a command that ends with this process, and does not ignore Ctrl-C as all children of a
command do that a shell starts in the background.
"""
IMAGES = ("AOI_TEST_RABBITMQ_IMAGE", "AOI_TEST_POSTGRES_IMAGE")

TEST = """
import asyncio, os, pathlib, pytest

HERE = pathlib.Path(__file__).parent

@pytest.mark.parametrize("number", [0, 1])
def test_it(aoi_postgres_server, number):
    asyncio.run(aoi_postgres_server.new_database())
    container = aoi_postgres_server.known()["container"]
    (HERE / "said").open("w").write(f"{os.getpid()} {number} {container}\\n")
    (HERE / f"go-{number}").open().read()
    asyncio.run(aoi_postgres_server.new_database())
"""


class User(NamedTuple):
    """A process of the run, the test that it is at, and the container of the server it uses."""

    process: int
    number: int
    container: str


class Run:
    """Two tests, each of which stays there until it is let go."""

    def __init__(self, project: Path, *options: str) -> None:
        (project / "pytest.ini").write_text("[pytest]\nfilterwarnings = ignore\n")
        (project / "test_it.py").write_text(TEST)
        for name in ("said", "go-0", "go-1"):
            os.mkfifo(project / name)
        self._project = project
        self._said = os.open(project / "said", os.O_RDWR)
        images = {name: os.environ[name] for name in IMAGES if name in os.environ}
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [*BESIDE, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
            cwd=project,
            env=environment(images),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def users(self, count: int = 2) -> list[User]:
        """That many processes, once each has its server."""
        told = b""
        while told.count(b"\n") < count:
            ready, _, _ = select.select([self._said], [], [], WITHIN)
            assert ready, "no server within its time"
            told += os.read(self._said, 1000)
        words = [line.split() for line in told.decode().splitlines()]
        return [User(int(process), int(number), which) for process, number, which in words]

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
def running(project: Path, *options: str) -> Iterator[Run]:
    """A run with these options of pytest, for the time of the block."""
    run = Run(project, *options)
    try:
        yield run
    finally:
        run.close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The Docker engine, watched since the start of the test."""
    engine = Engine()
    yield engine
    engine.close()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_server_for_both_processes(
    tmp_path: Path, engine: Engine, order: tuple[int, int]
) -> None:
    """The second process joins the server of the first; at the end it is gone, whichever of the two
    ends first.
    """
    with running(tmp_path, "-n", "2") as run:
        first, second = run.users()
        assert first.process != second.process
        assert first.container == second.container
        assert engine.there(first.container)
        for number in order:
            run.let_go(number)
        said = run.ended()
        assert run.process.returncode == 0, said
        assert "2 passed" in said
        assert not engine.there(first.container)


def test_the_server_outlives_the_process_that_started_it(tmp_path: Path, engine: Engine) -> None:
    """If the process that started the server is killed, the other one goes on to use it, and when
    that ends, too, the server is removed.
    """
    with running(tmp_path, "-n", "2", "--max-worker-restart=0") as run:
        users = run.users()
        label = engine.client.containers.get(users[0].container).labels["aoi-events.testing"]
        (starter,) = (user for user in users if label.startswith(f"{user.process}-"))
        (other,) = (user for user in users if user is not starter)
        name = f"test-{secrets.token_hex(8)}"
        lease = Lease(f"aoi-events.testing={name}")
        another = engine.create(**{"aoi-events.testing": name})
        os.kill(starter.process, signal.SIGKILL)
        lease.give_up()
        # Another reaper is done by now, so this one waits.
        engine.until_removed(another)
        run.let_go(other.number)
        said = run.ended()
        assert "1 failed, 1 passed" in said
        engine.until_removed(starter.container)


@pytest.mark.parametrize("name, processes", [("SIGINT", 2), ("SIGKILL", 1)])
def test_an_interrupted_run_leaves_no_server(
    tmp_path: Path, engine: Engine, name: str, processes: int
) -> None:
    """Ctrl-C in the middle of the tests, and every other end: the server is removed.

    A terminal sends the signal to every process of the run, as ``timeout`` does.
    """
    options = ("-n", "2") if processes == 2 else ()
    with running(tmp_path, *options) as run:
        user, *_ = run.users(processes)
        os.killpg(run.process.pid, signal.Signals[name])
        engine.until_removed(user.container)
        said = run.ended()
        if name == "SIGINT":
            assert run.process.returncode == pytest.ExitCode.INTERRUPTED, said


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_an_interrupted_start_leaves_no_server(tmp_path: Path, engine: Engine, name: str) -> None:
    """The same in the middle of the start of the container: the engine has it, we have not."""
    with running(tmp_path) as run:
        created = next(
            each["id"]
            for each in engine.happened("create", label="aoi-events.testing")
            if each["aoi-events.testing"].startswith(f"{run.process.pid}-")
        )
        os.killpg(run.process.pid, signal.Signals[name])
        engine.until_removed(created)
        run.ended()
