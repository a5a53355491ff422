"""A fork is what ``python -m MODULE`` starts; shown with ``timeit``, which runs a statement."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.forks import Forked

# The server has them, too, so every fork may have them.
OF_PYTHON = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}


async def run(statement: str, **env: str) -> Forked:
    """A fork that runs this statement once."""
    arguments = ("-n1", "-r1", "-s", "import os, signal, sys, time", statement)
    return await Forked.start("timeit", *arguments, env={**OF_PYTHON, **env}, limit=1 << 16)


async def test_its_environment_and_errors_are_its_own() -> None:
    """It has the environment that it gets and no other, and its errors go into its pipe."""
    forked = await run("print(dict(os.environ), sys.argv[1], file=sys.stderr)", ONLY="this")
    assert await forked.stderr.read() == f"{OF_PYTHON | {'ONLY': 'this'}} -n1\n".encode()
    assert await forked.wait() == 0


async def test_its_time_zone_is_its_own() -> None:
    """It has the time zone that its environment names."""
    forked = await run("print(time.tzname[0], file=sys.stderr)", TZ="XYZ-9")
    assert await forked.stderr.read() == b"XYZ\n"
    assert await forked.wait() == 0


async def test_settings_of_python_are_those_of_all_forks() -> None:
    """What Python reads at its start only cannot be another for one fork: it is refused by name."""
    with pytest.raises(ValueError, match="PYTHONHASHSEED"):
        await run("pass", PYTHONHASHSEED="4711")


async def test_a_large_environment_is_refused() -> None:
    """An order that would be cut off on its way is refused, and says how large it may be."""
    with pytest.raises(ValueError, match="131072"):
        await run("pass", LARGE="x" * (1 << 17))


@pytest.mark.parametrize(
    "statement, code",
    [
        ("os._exit(75)", 75),
        ("undefined", 1),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGINT)", 1),
        ("os.waitpid(os.spawnl(os.P_NOWAIT, '/bin/true', 'true'), 0)", 0),
    ],
)
async def test_its_exit_code(statement: str, code: int) -> None:
    """Exit codes, signals and children are as in a process that was started anew."""
    forked = await run(statement)
    assert await forked.wait() == code
    assert forked.returncode == code


async def test_it_is_killed() -> None:
    """It ends by the signals that its owner sends."""
    forked = await run("print('here', file=sys.stderr, flush=True); signal.pause()")
    assert await forked.stderr.readline() == b"here\n"
    assert forked.returncode is None
    forked.kill()
    assert await forked.wait() == -signal.SIGKILL
