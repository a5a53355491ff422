"""The time limit of a batch in a process of its own: what counts, and how the process ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from asyncio.subprocess import PIPE

from aoi_events.platform.exit_codes import ExitCode
from aoi_events.services.runtime.watchdog import Watchdog
from tests.support.limits import WITHIN

LIMIT = 1.0
WORKING = f"""
import os, sys, threading
from aoi_events.services.runtime.watchdog import Watchdog

def work(part):
    done = threading.Event()
    watchdog = Watchdog({LIMIT} * part, done.set)
    with watchdog.awake(), watchdog.watch():
        done.wait()

watchdog = Watchdog({LIMIT}, lambda: os._exit(70))
with watchdog.awake(), watchdog.watch():
    print("working", flush=True)
    sys.stdin.readline()
    work(0.25)
"""
"""Works for a part of its limit, after a line of input."""
FLOODING = """
from aoi_events.bootstrap.installation import _give_up
from aoi_events.platform.logs import get_logger
from aoi_events.services.runtime.watchdog import Watchdog
from aoi_events.telemetry.logs import configure_logging
configure_logging()
watchdog = Watchdog(0.5, _give_up)
with watchdog.awake(), watchdog.watch():
    while True:
        get_logger("flood").warning("more", text="x" * 500)
"""
"""Writes to its log until no more fits into the pipe."""


async def test_time_in_which_the_process_is_stopped_does_not_count() -> None:
    """A process that is stopped for longer than its limit, and then continues, is not ended."""
    working = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKING, stdin=PIPE, stdout=PIPE
    )
    assert working.stdin is not None
    assert working.stdout is not None
    async with asyncio.timeout(WITHIN):
        await working.stdout.readline()
        working.send_signal(signal.SIGSTOP)
        over = threading.Event()
        elsewhere = Watchdog(LIMIT, over.set)
        with elsewhere.awake(), elsewhere.watch():
            await asyncio.to_thread(over.wait)
        working.send_signal(signal.SIGCONT)
        working.stdin.write(b"\n")
        assert await working.wait() == 0


def test_a_process_that_hangs_in_its_log_is_ended() -> None:
    """Nothing reads the log, and the batch hangs in a write to it: the process ends with 70 all the
    same.
    """
    command = [sys.executable, "-c", FLOODING]
    with subprocess.Popen(command, stderr=PIPE) as flooding:  # noqa: S603 - our own program
        try:
            assert flooding.wait(WITHIN) == ExitCode.QUARANTINE_TIMEOUT
        finally:
            flooding.kill()
