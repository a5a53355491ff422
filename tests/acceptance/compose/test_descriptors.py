"""RabbitMQ in a container that may open any number of files; no container needed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.acceptance.compose.stack import COMPOSE
from tests.support.limits import WITHIN

_ULIMIT = '() { if [ "$2" = "" ]; then echo "$MOST"; else echo "limited to $2"; fi; }'
_ENTRYPOINT = '#!/bin/sh\necho "started $*"\n'


@pytest.mark.parametrize(
    "most,limited",
    [
        ("1024", []),
        ("65536", []),
        ("1000000000", ["limited to 65536"]),
        ("unlimited", ["limited to 65536"]),
    ],
)
def test_rabbitmq_starts_with_a_bounded_number_of_descriptors(
    tmp_path: Path, most: str, limited: list[str]
) -> None:
    """A larger limit of the engine, for which Erlang would make room, is lowered first."""
    entrypoint = tmp_path / "docker-entrypoint.sh"
    entrypoint.write_text(_ENTRYPOINT)
    entrypoint.chmod(0o700)
    command = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]["rabbitmq"][
        "command"
    ]
    ran = subprocess.run(  # noqa: S603 - the command of the compose file
        [part.replace("$$", "$") for part in command],
        # Bash takes functions from such variables; this one stands in for its own command.
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "BASH_FUNC_ulimit%%": _ULIMIT, "MOST": most},
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    assert ran.stdout.splitlines() == [*limited, "started rabbitmq-server"]
