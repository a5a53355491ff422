"""The option ``--no-containers``, in a small project with the plug-in."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CHOOSING = """
import pytest

@pytest.fixture
def docker_engine():
    pass

@pytest.fixture
def server(docker_engine):
    pass

@pytest.fixture
def backend(request):
    return request.param

@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.containers)])
def broker(request):
    return request.param

def test_plain():
    pass

def test_fixture(docker_engine):
    pass

def test_fixture_of_a_fixture(server):
    pass

@pytest.mark.usefixtures("server")
def test_named_fixture():
    pass

@pytest.mark.containers
def test_mark():
    pass

class TestAutouse:
    @pytest.fixture(autouse=True)
    def _always(self, server):
        pass

    def test_it(self):
        pass

@pytest.mark.parametrize(
    "backend", ["memory+sqlite", "memory+postgresql", "rabbitmq+sqlite"], indirect=True
)
def test_parameter(backend):
    pass

def test_parameter_of_a_fixture(broker):
    pass
"""
STARTING = """
import subprocess

import docker
import pytest

def test_harmless():
    pass

@pytest.mark.parametrize("program", ["docker", "firefox", "firefox-esr"])
def test_program(program):
    subprocess.run([program, "--version"], check=True)

def test_library():
    docker.from_env().close()
"""
INNOCENT = {
    "test_plain",
    "test_parameter[memory+sqlite]",
    "test_parameter_of_a_fixture[memory]",
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project that has the option, and settings of its own, so that ours are not found."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def run(project: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    """Run one test file there, in a process of its own, whose environment the option changes."""
    project.makepyfile(test)
    return project.runpytest_subprocess("-p", "tests.without_containers", *options)


def test_what_needs_a_container_is_not_chosen(project: pytest.Pytester) -> None:
    """Neither by a fixture, a fixture of a fixture, a mark nor a parameter; the rest is chosen."""
    ran = run(project, CHOOSING, "--no-containers", "-v")
    ran.assert_outcomes(passed=len(INNOCENT), deselected=8)
    chosen = {line.split("::")[1].split()[0] for line in ran.outlines if line.endswith("%]")}
    assert chosen == INNOCENT


def test_without_the_option_everything_is_chosen(project: pytest.Pytester) -> None:
    """The mark and the fixtures alone leave nothing out."""
    run(project, CHOOSING).assert_outcomes(passed=len(INNOCENT) + 8)


def test_a_test_that_starts_one_all_the_same_fails(project: pytest.Pytester) -> None:
    """Whichever program or library it starts it with, and the output says what to do."""
    ran = run(project, STARTING, "--no-containers")
    ran.assert_outcomes(passed=1, failed=4)
    ran.stdout.fnmatch_lines(["*another one that starts one fails: mark it with*"])
    ran.stdout.fnmatch_lines(["*DockerException: Error while fetching server API version*"])
