from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.engine import Engine

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

SERVICE = """
services:
  one:
    image: {image}
    command: sleep infinity
    volumes: ["kept:/kept"]
volumes:
  kept: {{}}
"""
RUN = """
import sys
from tests.acceptance.compose.stack import Stack

stack = Stack()
stack.variables["COMPOSE_FILE"] = sys.argv[1]
print(stack.project, flush=True)
stack.compose("up", "--detach", "--wait")
"""


def test_a_killed_run_leaves_no_stack(tmp_path: Path) -> None:
    """A process that is killed while it brings up a stack leaves no container, volume or
    network.
    """
    file = tmp_path / "compose.yaml"
    file.write_text(SERVICE.format(image=os.environ["AOI_TEST_PYTHON_IMAGE"]))
    with (
        closing(Engine()) as engine,
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", RUN, file], stdout=subprocess.PIPE, text=True
        ) as run,
    ):
        assert run.stdout is not None
        project = run.stdout.readline().strip()
        label = f"com.docker.compose.project={project}"
        created = next(engine.happened("create", label=label))
        run.kill()
        engine.until_removed(created["id"])
        next(engine.happened("destroy", type="network", network=f"{project}_default"))
        next(engine.happened("destroy", type="volume", volume=f"{project}_kept"))
