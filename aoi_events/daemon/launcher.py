"""Launches the command of an app that does not run, with the notification on standard input."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from aoi_events.contracts.apps import AppNotification
from aoi_events.daemon.json_lines import encode_line
from aoi_events.errors import CouldNotWake
from aoi_events.platform.exit_codes import ExitCode
from aoi_events.platform.logs import get_logger

log = get_logger(__name__)

_LOGGED: Final = 2_048
"""Octets of the output of a command that are logged; the rest is counted."""
_CHUNK: Final = 65_536
_INHERITED: Final = (
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "HOME",
    "LANG",
    "LC_ALL",
    "PATH",
    "TZ",
    "USER",
    "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR",
)


def environment(own: Mapping[str, str], notification: AppNotification) -> dict[str, str]:
    """The environment of a command: no setting of the daemon, and no content."""
    return {
        **{name: own[name] for name in _INHERITED if name in own},
        "AOI_APPLICATION": notification.application,
        "AOI_INSTANCE": notification.instance,
        "AOI_DELIVERY": notification.delivery,
    }


class Launcher:
    """Runs commands, at most ``at_once`` at the same time, each for ``within`` seconds at most."""

    def __init__(self, *, within: float, at_once: int) -> None:
        self._within = within
        self._slots = asyncio.Semaphore(at_once)
        self._running: set[int] = set()

    async def launch(self, notification: AppNotification, command: Sequence[str]) -> None:
        """Run the command without a shell; exit code 0 means that the app has the notification.

        Raises CouldNotWake for any other end; exit code 75 means *later*. A command that takes too
        long is killed with its process group.
        """
        if not command:
            raise CouldNotWake("the app is not attached, and has no command that wakes it")
        async with self._slots:
            code, output = await self._run(notification, command)
        shown = {
            "application": notification.application,
            "instance": notification.instance,
            "delivery": notification.delivery,
            "code": code,
        }
        if code == 0:
            # The output is not logged: it may be the notification itself.
            log.info("app_woken", **shown)
            return
        shown["output"] = output
        if code is None:
            log.warning("command_killed", seconds=self._within, **shown)
            raise CouldNotWake(f"its command took longer than {self._within:g} s")
        if code != ExitCode.TRY_LATER:
            log.warning("command_failed", **shown)
        raise CouldNotWake(f"its command ended with {code}")

    def kill(self) -> None:
        """Kill every command that runs, with its children."""
        for group in self._running:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    async def _run(
        self, notification: AppNotification, command: Sequence[str]
    ) -> tuple[int | None, str]:
        """The exit code (None: killed after its time), and the output."""
        # Standard input is a file in memory: unlike a pipe, it never blocks the daemon.
        descriptor = os.memfd_create("notification", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "w+b") as line, _CapturedOutput() as captured:
            line.write(encode_line(notification))
            line.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=line,
                    stdout=captured.write_end,
                    stderr=captured.write_end,
                    env=environment(os.environ, notification),
                    cwd="/",
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                log.error(
                    "command_not_run",
                    application=notification.application,
                    instance=notification.instance,
                    program=command[0],
                    reason=reason,
                )
                raise CouldNotWake(f"its command cannot be run: {reason}") from error
            self._running.add(process.pid)
            try:
                async with asyncio.timeout(self._within):
                    await process.wait()
            except TimeoutError:
                pass
            finally:
                killed = process.returncode is None
                if killed:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await asyncio.shield(process.wait())
                self._running.discard(process.pid)
            return (None if killed else process.returncode), captured.text()


class _CapturedOutput:
    """The output of a command: the pipe is always read, and its beginning is stored.

    It ends with the process and not with the pipe, which processes that the command left in the
    background may have open.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._beginning = bytearray()
        self._octets = 0
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)

    def __enter__(self) -> _CapturedOutput:
        self._loop.add_reader(self._read_end, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self.write_end)

    def text(self) -> str:
        """The beginning of the output, and the number of octets that follow."""
        self._read()
        shown = self._beginning.decode(errors="backslashreplace").strip()
        more = self._octets - len(self._beginning)
        return f"{shown} … and {more} octets more" if more else shown

    def _read(self) -> None:
        try:
            octets = os.read(self._read_end, _CHUNK)
        except BlockingIOError:
            return
        self._octets += len(octets)
        self._beginning += octets[: _LOGGED - len(self._beginning)]
