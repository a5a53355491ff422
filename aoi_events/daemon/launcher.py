"""Wakes apps that do not run: by their command, with the notification on its standard input."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from aoi_events.contracts.apps import AppNotification
from aoi_events.errors import CouldNotWake
from aoi_events.platform.logs import get_logger

__all__ = ["EXIT_LATER", "Waker", "environment"]

log = get_logger(__name__)

EXIT_LATER: Final = os.EX_TEMPFAIL
"""How a command says that it cannot take the notification now (75, sysexits.h)."""

_KEPT: Final = 2_048
"""Octets of what a command says that go into the log; the rest is counted."""
_CHUNK: Final = 65_536
_HANDED_ON: Final = (
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
    """What a command gets to see: nothing of the daemon's settings, and no content."""
    return {
        **{name: own[name] for name in _HANDED_ON if name in own},
        "AOI_APPLICATION": notification.application,
        "AOI_INSTANCE": notification.instance,
        "AOI_DELIVERY": notification.delivery,
    }


class Waker:
    """Runs commands, ``at_once`` of them; each may take ``within`` seconds."""

    def __init__(self, *, within: float, at_once: int) -> None:
        self._within = within
        self._slots = asyncio.Semaphore(at_once)
        self._running: set[int] = set()

    async def wake(self, notification: AppNotification, command: Sequence[str]) -> None:
        """Run the command, without a shell; on return the app has the notification.

        Exit code 0 says so. Raises CouldNotWake for any other end: 75 is how a command says
        *later*; what takes too long is killed, and with it whatever it started (its process group).
        """
        if not command:
            raise CouldNotWake("the app is not attached, and no command wakes it")
        async with self._slots:
            code, said = await self._run(notification, command)
        shown = {
            "application": notification.application,
            "instance": notification.instance,
            "delivery": notification.delivery,
            "code": code,
        }
        if code == 0:
            # Of no use to anybody, and it may be the notification itself.
            log.info("woken", **shown)
            return
        shown["said"] = said
        if code is None:
            log.warning("command_killed", seconds=self._within, **shown)
            raise CouldNotWake(f"its command took longer than {self._within:g} s")
        if code != EXIT_LATER:
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
        """The exit code (None: killed for its time), and what it said."""
        with _standard_input(notification) as reads, _Said() as said:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=reads,
                    stdout=said.write_end,
                    stderr=said.write_end,
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
            return (None if killed else process.returncode), said.text()


@contextmanager
def _standard_input(notification: AppNotification) -> Iterator[int]:
    """A file in memory with one line: a program that does not read it blocks nobody."""
    descriptor = os.memfd_create("notification", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, notification.encode() + b"\n")
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


class _Said:
    """Takes what a command writes, keeps the beginning, and never makes it wait.

    The end of the process ends it, not the end of the pipe: what the command left running in the
    background may hold that for ever.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kept = bytearray()
        self._octets = 0
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)

    def __enter__(self) -> _Said:
        self._loop.add_reader(self._read_end, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self.write_end)

    def text(self) -> str:
        """The beginning of what it said, and how much there was."""
        self._read()
        shown = self._kept.decode(errors="backslashreplace").strip()
        more = self._octets - len(self._kept)
        return f"{shown} … and {more} octets more" if more else shown

    def _read(self) -> None:
        try:
            octets = os.read(self._read_end, _CHUNK)
        except BlockingIOError:
            return
        self._octets += len(octets)
        self._kept += octets[: _KEPT - len(self._kept)]
