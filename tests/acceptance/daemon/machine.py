"""A device: its folders, its daemon as a process, apps that attach, and commands that are woken."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from aoi_events.contracts.apps import (
    MAX_WAIT,
    AppNotification,
    AppRegistered,
    AppRequest,
    AppRequestFailed,
    AppsListed,
    Attached,
    ClientFrame,
    ClientStatus,
    Detached,
    ListAppsV1,
    QueryClientV1,
    RegisterAppV1,
    TokenChanged,
    UnregisterAppV1,
    Unregistered,
    client_frames,
)
from aoi_events.daemon.control_client import send_request
from tests.support.commands import AOI, Ran, environment
from tests.support.forks import Forked
from tests.support.limits import WITHIN
from tests.support.processes import Worker

MAIL: Final = "org.example.mail"
IDENTITY: Final = "tel:+15550100"

_LINE: Final = 1 << 20

log = logging.getLogger(__name__)

F = TypeVar("F", bound=ClientFrame)


def writes_to(file: Path) -> tuple[str, ...]:
    """A command that appends its standard input to a file, durably."""
    return ("/bin/sh", "-c", 'cat >>"$0" && sync "$0"', str(file))


def _tell(worker: Worker, entry: dict[str, Any]) -> None:
    """Log a line of the daemon, so that pytest shows it if the test fails."""
    log.warning("%s: %s", worker, json.dumps(entry))


class App:
    """A running app that is connected to the daemon's socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.token: str | None = None

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """A connection that has sent nothing yet."""
        connection = socket.socket(socket.AF_UNIX)
        # asyncio takes a backlog that is full (EAGAIN) for a connection that is being made.
        await asyncio.to_thread(connection.connect, str(path))
        return cls(*await asyncio.open_unix_connection(sock=connection, limit=1 << 20))

    async def attach(self, application: str = MAIL, instance: str = "default") -> Self:
        """Register if necessary, attach, and have a token; as soon as the AOI Server gives one."""
        names = {"application": application, "instance": instance}
        self.say({"version": 1, "type": "apps"})
        registered = {(app.application, app.instance) for app in (await self.next(AppsListed)).apps}
        if (application, instance) not in registered:
            self.say({"version": 1, "type": "register", **names})
            await self.next(AppRegistered)
        self.say({"version": 1, "type": "attach", **names})
        self.token = (await self.next(Attached)).token
        if self.token is None:
            self.token = (await self.next(TokenChanged)).token
        return self

    def say(self, value: Mapping[str, Any]) -> None:
        """Send an object."""
        self.say_octets(json.dumps(value).encode() + b"\n")

    def say_octets(self, octets: bytes) -> None:
        """Send anything."""
        self._writer.write(octets)

    def ack(self, delivery: str, code: str = "delivered") -> None:
        """Acknowledge a delivery."""
        self.say({"version": 1, "type": "ack", "delivery": delivery, "code": code})

    async def next(self, kind: type[F]) -> F:
        """What comes next, which is of that kind."""
        frame = await self.any()
        assert isinstance(frame, kind), f"{frame!r} came, not {kind.__name__}"
        return frame

    async def any(self) -> ClientFrame:
        """What comes next."""
        async with asyncio.timeout(WITHIN):
            line = await self._reader.readline()
        assert line, "the connection ended"
        return client_frames.validate_json(line)

    async def drained(self) -> None:
        """Close for sending; return when the daemon has closed the connection."""
        self._writer.write_eof()
        async with asyncio.timeout(WITHIN):
            try:
                await self._reader.read()
            except ConnectionResetError:
                return

    async def read(self) -> str:
        """The next notification's content, acknowledged."""
        notification = await self.next(AppNotification)
        self.ack(notification.delivery)
        return notification.content.data

    async def detached(self) -> str:
        """The reason why it was detached, as the only and last frame."""
        reason = (await self.next(Detached)).reason
        await self.ended()
        return reason

    async def failed(self) -> str:
        """The code of the error that ends the connection."""
        code = (await self.next(AppRequestFailed)).code
        await self.ended()
        return code

    async def ended(self) -> None:
        """Return when the daemon has closed the connection; it must send nothing more."""
        async with asyncio.timeout(WITHIN):
            try:
                assert await self._reader.read() == b"", "more came"
            except ConnectionResetError:
                return

    async def close(self) -> None:
        """The app ends."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return


class Machine:
    """A device in ``folder``; use it as an async context manager, which ends what still runs.

    ``before`` stands before each command of the device, to run it elsewhere or as somebody else.
    """

    def __init__(self, folder: Path, url: str, *, before: Sequence[str] = ()) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.socket = folder / "run" / "client.sock"
        self.settings = {
            "AOI_CLIENT__URL": url,
            "AOI_CLIENT__IDENTITY": IDENTITY,
            "AOI_CLIENT__DEVICE": "kitchen-display",
            "AOI_CLIENT__STATE": str(self.state),
            "AOI_CLIENT__SOCKET": str(self.socket),
            "AOI_CLIENT__RECONNECT_FIRST": "0.05",
            "AOI_CLIENT__RECONNECT_MOST": "0.5",
            "AOI_CLIENT__REQUEST_WITHIN": "5",
            "AOI_CLIENT__SETTLE": "0.1",
        }
        self._before = tuple(before)
        self._stack = AsyncExitStack()
        self._daemons: list[Worker] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        for daemon in self._daemons:
            daemon.kill()
            await daemon.ended(within=WITHIN)

    def use_socket(self, path: Path) -> None:
        """Have the daemon listen elsewhere."""
        self.socket = path
        self.settings["AOI_CLIENT__SOCKET"] = str(path)

    async def start(self, **settings: str) -> Worker:
        """The daemon, once apps can connect; ``settings`` by their name after AOI_CLIENT__."""
        daemon = await self.spawn(**settings)
        await daemon.until_logged("started", within=WITHIN)
        return daemon

    async def spawn(self, **settings: str) -> Worker:
        """The daemon, which may not run yet."""
        more = {f"AOI_CLIENT__{name.upper()}": value for name, value in settings.items()}
        env = environment({**self.settings, **more})
        process: Process | Forked
        if self._before:
            process = await asyncio.create_subprocess_exec(
                *(*self._before, *AOI, "client", "run"), env=env, stderr=PIPE, limit=_LINE
            )
        else:
            process = await Forked.start(*AOI[2:], "client", "run", env=env, limit=_LINE)
        daemon = Worker("client", process, _tell)
        self._daemons.append(daemon)
        return daemon

    async def app(self) -> App:
        """A connection of an app that has sent nothing yet; it ends with the test."""
        app = await App.connect(self.socket)
        self._stack.push_async_callback(app.close)
        return app

    async def attach(self, application: str = MAIL, instance: str = "default") -> App:
        """An app that runs, and has a token."""
        return await (await self.app()).attach(application, instance)

    async def register(
        self, application: str = MAIL, command: tuple[str, ...] | None = None, **fields: Any
    ) -> str:
        """Register an app that does not run; its token."""
        request = RegisterAppV1(
            version=1, application=application, command=command, **{"wait": MAX_WAIT, **fields}
        )
        registered = await self.ask(request, AppRegistered)
        assert registered.token is not None or not request.wait
        return registered.token or ""

    async def unregister(self, application: str = MAIL, *, wait: float = MAX_WAIT) -> bool:
        """Unregister an app; whether the AOI Server has confirmed."""
        request = UnregisterAppV1(version=1, application=application, wait=wait)
        return (await self.ask(request, Unregistered)).confirmed

    async def status(self) -> ClientStatus:
        """The status of the AOI Client."""
        return await self.ask(QueryClientV1(version=1), ClientStatus)

    async def apps(self) -> AppsListed:
        """The apps that are registered."""
        return await self.ask(ListAppsV1(version=1), AppsListed)

    async def ask(self, request: AppRequest, kind: type[F]) -> F:
        """The answer to a request, which is of that kind."""
        answer = await asyncio.to_thread(send_request, self.socket, request, wait=WITHIN)
        assert isinstance(answer, kind), answer
        return answer

    async def cli(self, *arguments: str) -> Ran:
        """Run ``aoi client`` to its end."""
        process = await asyncio.create_subprocess_exec(
            *self._before,
            *AOI,
            "client",
            *arguments,
            env=environment(self.settings),
            stdout=PIPE,
            stderr=PIPE,
        )
        async with asyncio.timeout(WITHIN):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())
