"""A fork is what ``python -m MODULE`` starts; shown with ``timeit``, which runs a statement."""

from __future__ import annotations

import signal

import pytest

from tests.support.forks import Forked


async def run(statement: str) -> Forked:
    """A fork that runs this statement once."""
    arguments = ("-n1", "-r1", "-s", "import os, signal, sys", statement)
    return await Forked.start("timeit", *arguments, env={"ONLY": "this"}, limit=1 << 16)


async def test_its_environment_and_errors_are_its_own() -> None:
    """It has the environment that it gets and no other, and its errors go into its pipe."""
    forked = await run("print(dict(os.environ), sys.argv[1], file=sys.stderr)")
    assert await forked.stderr.read() == b"{'ONLY': 'this'} -n1\n"
    assert await forked.wait() == 0


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
