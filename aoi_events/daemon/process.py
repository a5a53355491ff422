"""The daemon as a process: signals, draining, exit codes. HUP reads files again.

Exit codes: 0 drained after TERM; 74 the state cannot be read, written or locked; 75 an app or a
command had not finished in time (the AOI Server stores its notification); 78 the settings are
invalid; 143 a second TERM; 1 a bug, with its traceback in the log.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from aoi_events.daemon.daemon import run_until
from aoi_events.daemon.launcher import Launcher
from aoi_events.daemon.settings import ClientSettings
from aoi_events.errors import ClientStateError, ConfigurationError
from aoi_events.platform.clock import SystemClock
from aoi_events.platform.exit_codes import ExitCode
from aoi_events.platform.followed_files import FollowedFiles
from aoi_events.platform.logs import get_logger

log = get_logger(__name__)


def run_daemon(settings: ClientSettings) -> int:
    """Run the AOI Client until TERM or INT; returns the exit code. Logging is configured before."""
    try:
        return asyncio.run(_run(settings))
    except ConfigurationError as error:
        log.error("settings", error=str(error))
        return ExitCode.CONFIG
    except ClientStateError as error:
        log.error("state", error=str(error), hint="AOI_CLIENT__STATE names its folder")
        return ExitCode.STATE


async def _run(settings: ClientSettings) -> int:
    stop = asyncio.Event()
    launcher = Launcher(within=settings.wake_within, at_once=settings.wake_at_once)

    def stop_or_end() -> None:
        if stop.is_set():
            launcher.kill()
            os._exit(ExitCode.TERMINATED)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_or_end)
    watching = asyncio.create_task(FollowedFiles().watch(SystemClock()))
    watching.add_done_callback(lambda _: stop.set())  # it ends by itself only by a bug
    try:
        drained = await run_until(stop, settings, launcher)
    finally:
        watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    if drained:
        log.info("drained")
        return ExitCode.DONE
    log.error("not_drained")
    return ExitCode.TRY_LATER
