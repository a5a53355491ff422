"""A real network for a device: network namespaces with cables between them."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE, Process
from typing import Final

from tests.support.limits import WITHIN

_PORT: Final = 8090

_OUTSIDE: Final = """
import array, os, socket, sys
listening = socket.create_server(("0.0.0.0", int(sys.argv[1])))
with socket.socket(fileno=0) as parent:
    socket.send_fds(parent, [b"."], [listening.fileno()])
    parent.recv(1)
"""
"""Opens a port in its own network namespace, hands it to the test, and holds the namespace."""


class NetworkNamespaces:
    """A network namespace for a device, and one for what is outside; cables between them.

    Interface ``wired`` leads to the gateway, at 10.99.0.1; `plug` adds another cable. Works for
    root, and for whoever may make user namespaces.
    """

    GATEWAY: Final = "10.99.0.1"

    def __init__(self) -> None:
        self._device: Process | None = None
        self._outside: Process | None = None
        self._parent: socket.socket | None = None

    @property
    def before(self) -> tuple[str, ...]:
        """The prefix of a command that runs on the device."""
        assert self._device is not None
        return ("nsenter", f"--target={self._device.pid}", *_ENTER)

    async def open(self) -> socket.socket:
        """Make it; the port of the gateway outside, at which the test may listen."""
        self._device = await asyncio.create_subprocess_exec(
            "unshare", "--map-root-user", "--net", "--kill-child", "--fork",
            "sh", "-c", "echo there; exec cat", stdin=PIPE, stdout=PIPE,
        )  # fmt: skip
        await self._there(self._device)
        self._parent, theirs = socket.socketpair()
        self._outside = await asyncio.create_subprocess_exec(
            *self.before, "unshare", "--net", sys.executable, "-c", _OUTSIDE, str(_PORT),
            stdin=theirs.fileno(),
        )  # fmt: skip
        theirs.close()
        _, (descriptor,), _, _ = await asyncio.to_thread(socket.recv_fds, self._parent, 1, 1)
        await self.ip("link set lo up")
        await self.outside("link set lo up")
        await self.plug("wired", "10.99.0")
        return socket.socket(fileno=descriptor)

    async def plug(self, name: str, net: str) -> None:
        """Another cable: the device is ``net``.2 on it, the outside ``net``.1."""
        assert self._outside is not None
        await self.ip(f"link add {name} type veth peer name {name} netns {self._outside.pid}")
        await self.outside(f"addr add {net}.1/24 dev {name}")
        await self.outside(f"link set {name} up")
        await self.ip(f"addr add {net}.2/24 dev {name}")
        await self.ip(f"link set {name} up")

    async def ip(self, command: str, *, batch: str = "") -> None:
        """Run ``ip`` on the device, with lines of ``batch`` on standard input."""
        await _run(*self.before, "ip", *command.split(), given=batch)

    async def outside(self, command: str) -> None:
        """Run ``ip`` outside."""
        assert self._outside is not None
        target = ("nsenter", f"--target={self._outside.pid}", *_ENTER)
        await _run(*target, "ip", *command.split())

    async def close(self) -> None:
        """End the processes; the kernel then removes the interfaces."""
        if self._parent is not None:
            self._parent.close()
        for process in (self._outside, self._device):
            if process is not None:
                if process.stdin is not None:
                    process.stdin.close()
                async with asyncio.timeout(WITHIN):
                    await process.wait()

    async def _there(self, process: Process) -> None:
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN):
            assert await process.stdout.readline() == b"there\n"


_ENTER: Final = ("--user", "--net", "--preserve-credentials", "--")


async def _run(*command: str, given: str = "") -> None:
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stderr=PIPE)
    async with asyncio.timeout(WITHIN):
        _, err = await process.communicate(given.encode())
    assert process.returncode == 0, f"{' '.join(command)}: {err.decode()}"
