"""The pytest plug-in in projects of other people: light, and helpful where a part is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.commands import environment
from tests.support.limits import WITHIN

WITHOUT = """
import builtins
import sys
import pytest

original = builtins.__import__

def without(name, *arguments, **more):
    if name.partition(".")[0] == {missing!r}:
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return original(name, *arguments, **more)

builtins.__import__ = without
"""
NO_ASYNCIO = WITHOUT.format(missing="pytest_asyncio")
NO_CONTAINERS = WITHOUT.format(missing="testcontainers")
RUN = "sys.exit(pytest.main(['-p', 'no:cacheprovider', '-W', 'error', *sys.argv[1:]]))"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project with settings of its own, so that ours are not found."""
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
    )
    return tmp_path


def pytest_in(
    project: Path,
    test: str,
    *options: str,
    before: str = "import sys, pytest\n",
    settings: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one test file there."""
    (project / "test_it.py").write_text(test)
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", before + RUN, *options, "test_it.py"],
        cwd=project,
        env=environment(settings or {}),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )


def test_who_does_not_use_it_pays_nothing(project: Path) -> None:
    """A project that only has aoi-events installed loads none of its libraries."""
    ran = pytest_in(
        project,
        """
import sys

def test_what_is_loaded():
    heavy = {"aiohttp", "aio_pika", "alembic", "psycopg", "docker", "pydantic", "smpp34",
             "sqlalchemy", "structlog", "testcontainers", "typer"}
    assert not heavy & set(sys.modules)
""",
        # Ours would load some of them.
        "-p", "no:faststream", "-p", "no:hypothesispytest",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_fixtures_explain_themselves(project: Path) -> None:
    """``pytest --fixtures`` shows each with its first sentence."""
    ran = pytest_in(project, "", "--fixtures")
    for name in ("aoi", "aoi_rabbitmq", "fake_device", "wait_for", "scripted_channel"):
        assert f"\n{name} -- " in ran.stdout
    assert "A whole AOI Server in the test's process" in ran.stdout
    ran = pytest_in(project, "", "--markers")
    assert "@pytest.mark.aoi_settings(**settings)" in ran.stdout


@pytest.mark.parametrize("fixture", ["aoi", "fake_device", "wait_for", "aoi_rabbitmq"])
def test_without_pytest_asyncio(project: Path, fixture: str) -> None:
    """A project without pytest-asyncio runs; a test that needs it says what to install."""
    test = f"def test_fine(): pass\ndef test_it({fixture}): pass\n"
    ran = pytest_in(project, test, "-p", "no:asyncio", "-c", "/dev/null", before=NO_ASYNCIO)
    assert "1 passed, 1 error" in ran.stdout, ran.stdout + ran.stderr
    assert "pytest-asyncio is missing: pip install 'aoi-events[testing]'" in ran.stdout


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_both_modes_of_pytest_asyncio(project: Path, mode: str) -> None:
    """Fixtures work in the modes auto and strict; warnings are errors; no containers are needed."""
    test = """
import pytest

@pytest.mark.asyncio
async def test_it(aoi, fake_device, wait_for):
    phone = await fake_device("phone", apps=["org.example.mail"])
    shop = await aoi.publisher()
    await shop.send(phone.token, "hello", notification="n1")
    assert (await phone.read()).content.data == "hello"
    await wait_for("notification.delivered", notification="n1")
"""
    ran = pytest_in(project, test, "-o", f"asyncio_mode={mode}", before=NO_CONTAINERS)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_without_docker(project: Path) -> None:
    """A test on RabbitMQ where no engine answers says so in one paragraph, without a traceback."""
    test = "import pytest\n@pytest.mark.asyncio\nasync def test_it(aoi_rabbitmq): pass\n"
    ran = pytest_in(project, test, settings={"DOCKER_HOST": "tcp://127.0.0.1:1"})
    assert "1 error" in ran.stdout, ran.stdout + ran.stderr
    assert "no container of rabbitmq:4-management could be started" in ran.stdout
    assert "Is a Docker engine running, may you use it" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert "During handling" not in ran.stdout


def test_without_testcontainers(project: Path) -> None:
    """A test on RabbitMQ without testcontainers says what to install."""
    test = "import pytest\n@pytest.mark.asyncio\nasync def test_it(aoi_rabbitmq): pass\n"
    ran = pytest_in(project, test, before=NO_CONTAINERS)
    assert "testcontainers is not installed: pip install 'aoi-events[testing]'" in ran.stdout


def test_images_of_the_project(project: Path) -> None:
    """The ini file names images, and the environment wins over it."""
    test = "import pytest\n@pytest.mark.asyncio\nasync def test_it(aoi_rabbitmq): pass\n"
    with (project / "pytest.ini").open("a") as file:
        file.write("aoi_rabbitmq_image = registry.invalid/ours:1\n")
    settings = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
    assert "of registry.invalid/ours:1 could" in pytest_in(project, test, settings=settings).stdout
    settings["AOI_TEST_RABBITMQ_IMAGE"] = "registry.invalid/theirs:1"
    ran = pytest_in(project, test, settings=settings)
    assert "of registry.invalid/theirs:1 could" in ran.stdout
