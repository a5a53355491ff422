"""Processes as ``python -m MODULE`` starts them, without the second of CPU that imports take.

One process for each test process imports everything once, and forks for each one that is wanted.
All forks share what Python decides at its start: its flags, the paths of modules, and the hashes of
strings, so the order of sets.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

_IMPORTED: Final = (
    "aoi_events.bootstrap.process",
    "aoi_events.channels.sms.channel",
    "aoi_events.cli.run",
    "aoi_events.daemon.daemon",
    "aoi_events.endpoint.endpoint",
    "aoi_events.gateway.sockets.server",
)
_ROOT: Final = Path(__file__).parents[2]
_LARGEST: Final = 1 << 17
"""Octets of an order: arguments and environment."""
_NUMBER: Final = struct.Struct("i")


class Forked:
    """A running process; its attributes are those of :class:`asyncio.subprocess.Process`."""

    def __init__(self, pid: int, stderr: asyncio.StreamReader, code: asyncio.Task[int]) -> None:
        self.pid = pid
        self.stderr = stderr
        self._code = code

    @classmethod
    async def start(cls, module: str, *arguments: str, env: Mapping[str, str], limit: int) -> Self:
        """Run ``python -m module arguments`` with this environment and a pipe for its errors.

        Raises ValueError for an order that is too large, or one with settings of Python (PYTHON…)
        that are not those of all forks.
        """
        server, of_python = _server()
        if wrong := dict(of_python.items() ^ _of_python(env).items()):
            raise ValueError(f"{', '.join(sorted(wrong))}: a fork cannot have its own; start anew")
        order = {"module": module, "arguments": arguments, "env": dict(env), "cwd": str(Path.cwd())}
        if len(octets := json.dumps(order).encode()) > _LARGEST:
            raise ValueError(f"an order has {len(octets)} octets, and {_LARGEST} are allowed")
        (errors, its_errors), (status, its_status) = os.pipe(), os.pipe()
        socket.send_fds(server, [octets], [its_errors, its_status])
        os.close(its_errors)
        os.close(its_status)
        stderr, reports = await _reader(errors, limit), await _reader(status, limit)
        (pid,) = _NUMBER.unpack(await reports.readexactly(_NUMBER.size))
        return cls(pid, stderr, asyncio.create_task(_last(reports), name=f"exit code of {pid}"))

    @property
    def returncode(self) -> int | None:
        """The exit code (of a signal: negative); None while it runs."""
        return self._code.result() if self._code.done() else None

    def kill(self) -> None:
        """``kill -9``."""
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        """TERM."""
        os.kill(self.pid, signal.SIGTERM)

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        return await asyncio.shield(self._code)


async def _reader(pipe: int, limit: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=limit)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", buffering=0)
    )
    return reader


async def _last(reports: asyncio.StreamReader) -> int:
    """The number before the end, which the process does not outlive."""
    code: int = _NUMBER.unpack(await reports.read(-1))[0]
    return code


def _of_python(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}


@functools.cache
def _server() -> tuple[socket.socket, Mapping[str, str]]:
    """A connection to the process that forks, and the settings of its Python."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        server = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", __name__], stdin=its.fileno(), cwd=_ROOT
        )

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours, _of_python(os.environ)


def _serve(orders: socket.socket) -> dict[str, Any] | None:
    """Fork for each order; returns it in the process that shall run it, and None at the end."""
    while True:
        order, handles, _, _ = socket.recv_fds(orders, _LARGEST, 2)
        if not order:
            return None
        errors, status = handles
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if (pid := os.fork()) == 0:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                os.dup2(errors, sys.stderr.fileno())
                os.close(errors)
                os.close(status)
                wanted: dict[str, Any] = json.loads(order)
                return wanted
            os.close(errors)
            os.write(status, _NUMBER.pack(pid))
            _, ended = os.waitpid(pid, 0)
            os.write(status, _NUMBER.pack(os.waitstatus_to_exitcode(ended)))
            os._exit(0)
        os.close(errors)
        os.close(status)


def _run(module: str, arguments: Sequence[str], env: Mapping[str, str], cwd: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    # Neither waits for those that report, nor ends by the Ctrl-C that ends them all.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    received = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for each in _IMPORTED:
        importlib.import_module(each)
    if order_for_me := _serve(received):
        _run(**order_for_me)
