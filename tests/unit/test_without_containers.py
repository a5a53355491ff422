"""The option ``--no-containers``, in a small project with the plug-in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FIXTURES = (
    "aoi_rabbitmq_server",
    "aoi_postgres_server",
    "own_rabbit_server",
    "own_postgres_server",
    "docker_engine",
)
CHOOSING = """
import pytest

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
    "backend", [1, "no-rabbitmq", "memory+sqlite", "memory+postgresql", "rabbitmq+sqlite"],
    indirect=True,
)
def test_parameter(backend):
    pass

def test_parameter_of_a_fixture(broker):
    pass
""" + "".join(
    f"""
@pytest.fixture
def {name}():
    pass

def test_{name}({name}):
    pass
"""
    for name in FIXTURES
)
OTHERS = 7 + len(FIXTURES)
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
    "test_parameter[1]",
    "test_parameter[no-rabbitmq]",
    "test_parameter[memory+sqlite]",
    "test_parameter_of_a_fixture[memory]",
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project that has the option, and settings of its own, so that ours are not found; where it
    runs the programs work, and it writes its temporary files to ``tmp``.
    """
    pytester.makeini(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\naddopts = --strict-markers\n"
    )
    for name in ("docker", "firefox", "firefox-esr"):
        program = pytester.mkdir(f"{name}-bin") / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(pytester.mkdir("tmp")))
    return pytester


def run(project: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    """Run one test file there, in a process of its own, whose environment the option changes."""
    project.makepyfile(test)
    return project.runpytest_subprocess("-p", "tests.without_containers", *options)


def test_what_needs_a_container_is_not_chosen(project: pytest.Pytester) -> None:
    """Neither by a fixture, a fixture of a fixture, a mark nor a parameter; the rest is chosen."""
    ran = run(project, CHOOSING, "--no-containers", "-v")
    ran.assert_outcomes(passed=len(INNOCENT), deselected=OTHERS)
    chosen = {line.split("::")[1].split()[0] for line in ran.outlines if line.endswith("%]")}
    assert chosen == INNOCENT


def test_without_the_option_everything_is_chosen(project: pytest.Pytester) -> None:
    """The mark and the fixtures alone leave nothing out."""
    ran = run(project, CHOOSING)
    ran.assert_outcomes(passed=len(INNOCENT) + OTHERS)
    ran.stdout.no_fnmatch_line("*--no-containers*")


def test_without_the_option_programs_run(project: pytest.Pytester) -> None:
    """The one that was installed is found."""
    run(project, STARTING, "-k", "test_program").assert_outcomes(passed=3, deselected=2)


def test_a_test_that_starts_one_all_the_same_fails(project: pytest.Pytester) -> None:
    """Whichever program or library it starts it with, and the output says what to do."""
    ran = run(project, STARTING, "--no-containers")
    ran.assert_outcomes(passed=1, failed=4)
    why = "--no-containers: *another one that starts one fails: mark it with*"
    ran.stdout.fnmatch_lines([why, "*= FAILURES =*", "*Captured stderr call*", why])
    ran.stdout.fnmatch_lines(["*DockerException: Error while fetching server API version*"])
    assert list((project.path / "tmp").iterdir()) == []
