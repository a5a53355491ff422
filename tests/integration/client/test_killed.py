"""Storage in a process that is killed with -9 at random moments."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from tests.integration.client import saving_process
from tests.support.limits import WITHIN

LIVES = 8


async def test_state_survives_kill_9(tmp_path: Path) -> None:
    """Each life begins with what the one before it reported as saved, or one save later, whole."""
    path = tmp_path / "state"
    dice = random.Random(8_1_1)
    reported = 0
    for _ in range(LIVES):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            saving_process.__file__,
            str(path),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN):
            found = int(await process.stdout.readline())
            assert found in (reported, reported + 1)
            reported = found
            for _ in range(dice.randrange(0, 40)):
                reported = int(await process.stdout.readline())
            process.kill()
            rest = (await process.stdout.read()).split(b"\n")[:-1]
            await process.wait()
        if rest:
            reported = int(rest[-1])
    assert reported > LIVES
