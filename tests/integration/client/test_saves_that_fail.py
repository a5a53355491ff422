"""An acknowledgement is saved before it is sent, whichever save fails and at whichever step."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aoi_events.client import AoiClient, FileStorage, MemoryStorage, ReconnectPolicy
from aoi_events.client.core.state import StoredState, decode
from aoi_events.client.ports import Connection, Storage, Transport
from aoi_events.client.shell.websocket import WebSocketTransport
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import AckFrame, DeviceFrame, ServerFrame
from aoi_events.errors import ClientStateError, ClientStopped
from aoi_events.oma_push.payload import ContentPush, encode
from aoi_events.testing.scripted_client import Script, ScriptedSms
from tests.integration.client.apps import BOTH, MAIL, Inbox
from tests.integration.client.conftest import StartDevice
from tests.support.device_frames import delivery_id
from tests.support.limits import WITHIN
from tests.support.scripted_server import ScriptedServer

STEPS = ("memory", "write", "fsync", "replace")
"""What fails: the save of a storage in memory, or one system call of a save to a file."""

GONE = 6
"""Notifications for an app that is gone, which come at once and are decided on together."""

_TURNS = 50
"""Turns of the event loop in which everything that was sent too early would leave."""


class Failing:
    """Fails a step from its ``number``-th time on, counted from 1; a file does not recover."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = 0

    def count(self) -> None:
        """Once more. Raises OSError."""
        self.taken += 1
        if self.taken >= self.number:
            raise OSError(28, "no space left on device")

    @property
    def failed(self) -> bool:
        """Whether it has."""
        return self.taken >= self.number


class FailingMemory(MemoryStorage):
    """Memory that saves after a while, as a disk does, or fails."""

    def __init__(self, failing: Failing) -> None:
        super().__init__()
        self._failing = failing

    async def save(self, data: bytes) -> None:
        """Save, or fail."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        try:
            self._failing.count()
        except OSError as error:
            raise ClientStateError(f"cannot write: {error.strerror}") from error
        await super().save(data)


class Watched:
    """A transport over which nothing may be acknowledged that the storage does not hold."""

    def __init__(self, transport: Transport, remembered: Callable[[], StoredState]) -> None:
        self._transport = transport
        self._remembered = remembered
        self.acknowledged: list[tuple[str, str | None]] = []
        self.early: list[AckFrame] = []

    async def connect(self) -> Connection:
        """A connection that is watched."""
        return _Watching(await self._transport.connect(), self)

    def check(self, frame: DeviceFrame) -> None:
        """Note an acknowledgement that leaves now."""
        if isinstance(frame, AckFrame):
            self.acknowledged.append((frame.delivery, frame.channel))
            if self._remembered().seen.get(frame.delivery) != frame.code:
                self.early.append(frame)


class _Watching:
    def __init__(self, connection: Connection, watched: Watched) -> None:
        self._connection = connection
        self._watched = watched

    async def send(self, frame: DeviceFrame) -> None:
        self._watched.check(frame)
        await self._connection.send(frame)

    async def receive(self) -> ServerFrame:
        return await self._connection.receive()

    async def close(self) -> None:
        await self._connection.close()


def storage_and_memory(
    step: str, path: Path, failing: Failing, patch: pytest.MonkeyPatch
) -> tuple[Storage, Callable[[], StoredState]]:
    """A storage of which this step fails, and what it holds."""
    if step == "memory":
        memory = FailingMemory(failing)
        return memory, lambda: decode(memory.data or b"")
    real: Callable[..., Any] = getattr(os, step)

    def counted(*arguments: Any, **options: Any) -> Any:
        failing.count()
        return real(*arguments, **options)

    patch.setattr(os, step, counted)
    return FileStorage(path), lambda: decode(path.read_bytes())


async def live(client: AoiClient, server: ScriptedServer, sms: ScriptedSms) -> None:
    """Notifications over both channels, duplicates, and some for an app that is gone."""
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    await client.until_channels({"websocket", "sms"})
    token, fingerprint = app.token, app.fingerprint

    def by_sms(number: int) -> None:
        content = Content(data="hello")
        sms.receive(
            *encode(ContentPush(delivery_id(number), fingerprint, content), transaction_id=1)
        )

    await server.notify(1, token)
    await server.acks(1)
    by_sms(1)
    await server.acks(2)
    by_sms(2)
    await server.acks(3)
    await server.notify(2, token)
    await server.acks(4)
    for gone in range(3, 3 + GONE):
        await server.notify(gone, "k.of-an-app-that-is-gone")
    await server.acks(4 + GONE)


@pytest.mark.parametrize("step", STEPS)
async def test_nothing_is_acknowledged_that_was_not_remembered(tmp_path: Path, step: str) -> None:
    """The client acknowledges with the truth: whichever save fails (the first, the second, … up to
    the last), and whether it is the write, the sync or the renaming, each acknowledgement that left
    was saved before; the client stops.
    """
    number, done = 0, False
    while not done:
        number += 1
        failing, sms, server = Failing(number), ScriptedSms(), ScriptedServer()
        await server.start()
        with pytest.MonkeyPatch.context() as patch:
            path = tmp_path / f"{number}"
            storage, remembered = storage_and_memory(step, path, failing, patch)
            watched = Watched(WebSocketTransport(server.url), remembered)
            client = AoiClient(
                server.url,
                storage=storage,
                transport=watched,
                device="phone-1",
                identity="tel:+15550100",
                sms=sms,
                offers=BOTH,
                reconnect_policy=ReconnectPolicy(first=0.01, most=0.05),
            )
            await _live_until_it_fails(client, server, sms)
        await server.stop()
        assert watched.early == [], f"sent before it was saved: save {number}"
        done = not failing.failed
    assert number > 8, "too few saves to tell"
    assert watched.acknowledged == [
        (delivery_id(1), "websocket"),
        (delivery_id(1), "sms"),
        (delivery_id(2), "sms"),
        (delivery_id(2), "websocket"),
        *((delivery_id(gone), "websocket") for gone in range(3, 3 + GONE)),
    ]


async def _live_until_it_fails(client: AoiClient, server: ScriptedServer, sms: ScriptedSms) -> None:
    async with asyncio.timeout(WITHIN):
        with suppress(ClientStateError):
            async with client:
                living = asyncio.create_task(live(client, server, sms))
                stopped = asyncio.create_task(_stopped(client))
                await asyncio.wait({living, stopped}, return_when=asyncio.FIRST_COMPLETED)
                for task in (living, stopped):
                    task.cancel()
                with suppress(ClientStopped, asyncio.CancelledError):
                    await living
                await asyncio.gather(stopped, return_exceptions=True)


async def _stopped(client: AoiClient) -> None:
    """Return when the client has stopped."""
    async for _ in client.events():
        pass


class Recorded(MemoryStorage):
    """Notes which secret of which user was saved, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[str, str] = {}

    async def save(self, data: bytes) -> None:
        """Save, and note."""
        await super().save(data)
        credentials = decode(data).credentials
        if credentials is not None:
            self.secrets[credentials.secret] = credentials.identity


async def test_a_secret_that_is_replaced_at_once_was_saved(start_device: StartDevice) -> None:
    """A secret is stored before it is sent, also that of a user who was followed by another one in
    the same moment.
    """
    storage, identities = Recorded(), Script[str]()
    client = await start_device(storage=storage, identities=identities, register_on="install")
    old = await client.until_registered()
    identities.put("tel:+15550198")
    identities.put("tel:+15550199")
    await client.until_registered(other_than=old)
    assert list(storage.secrets.values()) == ["tel:+15550100", "tel:+15550198", "tel:+15550199"]
