"""Runs an AOI Client: takes what happens, lets the decisions decide, and carries them out.

It chooses nothing. What waits together is decided together and stored once, always before anything
of it goes out.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import urlsafe_b64encode
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, assert_never

from aoi_events.client.core.decisions import decide
from aoi_events.client.core.effects import Close, Deliver, Effect, Listen, Open, Send, Store, Tell
from aoi_events.client.core.events import ClientEvent, Connected, Disconnected, Refused
from aoi_events.client.core.inputs import (
    Input,
    PushArrived,
    ShortMessageArrived,
    Started,
    Unanswered,
)
from aoi_events.client.core.model import View
from aoi_events.client.core.reconnect import Backoff, pause
from aoi_events.client.core.state import Stored, application_key, decode, encode
from aoi_events.client.ports import PushSource, SmsSource, Storage, Transport
from aoi_events.client.shell.connection_task import Wire
from aoi_events.client.shell.event_stream import Signals
from aoi_events.client.shell.mailbox import Handler, Mailbox, Wake
from aoi_events.contracts.device import RequestFrame
from aoi_events.errors import ClientStopped
from aoi_events.platform.logs import get_logger
from aoi_events.ports.clock import Clock, Dice

__all__ = ["Parts", "Runner"]

_log = get_logger(__name__)

_INBOX: Final = 1_024
_SECRET_OCTETS: Final = 32
_PERSONAL: Final = frozenset({"identity"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What the runner works with; times are in seconds."""

    storage: Storage
    transport: Transport
    sms: SmsSource | None
    pushes: Mapping[str, PushSource]
    wake: Wake | None
    backoff: Backoff
    answer_within: float
    handle_within: float
    clock: Clock
    dice: Dice


class Runner:
    """The moving parts of one AOI Client, from `start` to `stop`.

    ``trouble`` says why there was no session last, or what was refused since; ``failure`` is what
    the client had to stop for.
    """

    def __init__(self, view: View, parts: Parts) -> None:
        self.view = view
        self.signals = Signals()
        self.handlers: dict[str, Handler] = {}
        self.failure: BaseException | None = None
        self.trouble: str | None = None
        self._parts = parts
        self._inbox: asyncio.Queue[tuple[Input, asyncio.Future[None] | None]] = asyncio.Queue(
            _INBOX
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._wire: Wire | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._mailboxes: dict[str, Mailbox] = {}
        self._unused_secret = self._fresh_secret()

    async def start(self) -> None:
        """Load what was stored, and begin. Raises ClientStateError."""
        data = await self._parts.storage.load()
        stored = Stored() if data is None else decode(data)
        self.view = replace(self.view, stored=stored)
        self.spawn(self._work())
        await self.put(Started())

    async def stop(self) -> None:
        """End everything, and let go of the storage."""
        self._end(ClientStopped("the AOI Client was stopped"))
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._parts.storage.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something until it or the client ends; what fails stops the client."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def put(self, event: Input) -> None:
        """This happened."""
        await self._inbox.put((event, None))

    async def put_and_wait(self, event: Input) -> None:
        """This happened; returns when it was decided on, and stored. Raises ClientStopped."""
        done = self.signals.future()
        await self._inbox.put((event, done))
        await done

    async def flushed(self) -> None:
        """Return when every frame has left, or the connection has ended."""
        if self._wire is None or self._connecting is None:
            return
        flushing = asyncio.create_task(self._wire.flushed())
        try:
            await asyncio.wait({flushing, self._connecting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            flushing.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None or self.failure is not None:
            return
        self.failure = error
        _log.error("client_failed", error=type(error).__name__, reason=str(error))
        stopped = ClientStopped(f"the AOI Client had to stop: {error}")
        stopped.__cause__ = error
        self._end(stopped)
        for other in self._tasks:
            other.cancel()

    def _end(self, reason: ClientStopped) -> None:
        self.signals.end(reason)
        # Whoever waits for room in the inbox must not wait for ever.
        while not self._inbox.empty():
            self._inbox.get_nowait()

    async def _work(self) -> None:
        while True:
            taken = [await self._inbox.get()]
            while not self._inbox.empty():
                taken.append(self._inbox.get_nowait())
            effects: list[Effect] = []
            for event, _ in taken:
                credentials = self.view.stored.credentials
                decision = decide(self.view, event, fresh_secret=self._unused_secret)
                self.view = decision.view
                effects += decision.effects
                if self.view.stored.credentials != credentials:
                    self._unused_secret = self._fresh_secret()
                    # A secret that a later event replaces must have been stored, too.
                    await self._carry_out(effects)
                    effects = []
            await self._carry_out(effects)
            for _, done in taken:
                if done is not None and not done.done():
                    done.set_result(None)
            self.signals.check(self.view)

    def _fresh_secret(self) -> str:
        octets = bytes.fromhex(self._parts.dice.token_hex(_SECRET_OCTETS))
        return urlsafe_b64encode(octets).decode().rstrip("=")

    async def _carry_out(self, effects: list[Effect]) -> None:
        to_store = [effect.stored for effect in effects if isinstance(effect, Store)]
        if to_store:
            await self._parts.storage.save(encode(to_store[-1]))
        for effect in effects:
            match effect:
                case Store():
                    pass  # the last of them holds what those before it hold
                case Open():
                    self._open(effect)
                case Close():
                    self._close()
                case Send(generation, frame):
                    if self._wire is not None and self._wire.generation == generation:
                        self._wire.send(frame)
                    if isinstance(frame, RequestFrame):
                        self.spawn(self._expect(generation, frame.id))
                case Deliver():
                    self._deliver(effect)
                case Listen(channel):
                    self._listen(channel)
                case Tell(event):
                    self._tell(event)
                case _:
                    assert_never(effect)

    def _open(self, opening: Open) -> None:
        self._close()
        parts = self._parts
        self._wire = Wire(opening.generation, parts.transport, parts.clock, self.put)
        jitter = parts.dice.jitter()
        seconds = pause(parts.backoff, opening.failures, jitter, replaced=opening.replaced)
        self._connecting = self.spawn(self._wire.run(seconds))

    def _close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        self._wire = self._connecting = None

    async def _expect(self, generation: int, request: int) -> None:
        await self._parts.clock.sleep(self._parts.answer_within)
        await self.put(Unanswered(generation, request))

    def _deliver(self, deliver: Deliver) -> None:
        notification = deliver.notification
        key = application_key(notification.application, notification.instance)
        mailbox = self._mailboxes.get(key)
        if mailbox is None:
            parts = self._parts
            mailbox = Mailbox(
                lambda: self.handlers.get(key), parts.wake, parts.handle_within, self.put
            )
            self._mailboxes[key] = mailbox
            self.spawn(mailbox.run())
        mailbox.put(deliver)

    def _listen(self, channel: str) -> None:
        if channel == "sms" and self._parts.sms is not None:
            self.spawn(self._read_short_messages(self._parts.sms))
        elif (pushes := self._parts.pushes.get(channel)) is not None:
            self.spawn(self._read_pushes(channel, pushes))
        else:
            _log.warning("channel_without_source", channel=channel)

    async def _read_short_messages(self, source: SmsSource) -> None:
        async for message in source:
            await self.put(ShortMessageArrived(message, self._parts.clock.now()))

    async def _read_pushes(self, channel: str, source: PushSource) -> None:
        async for octets in source:
            await self.put(PushArrived(channel, octets))

    def _tell(self, event: ClientEvent) -> None:
        match event:
            case Connected():
                self.trouble = None
            case Disconnected(reason=reason):
                self.trouble = reason
            case Refused(code=code, message=message):
                self.trouble = f"{code}: {message}"
            case _:
                pass
        self.signals.tell(event)
        if not _log.isEnabledFor(logging.DEBUG):
            return
        names = [field.name for field in fields(event) if field.name not in _PERSONAL]
        shown = {name: getattr(event, name) for name in names}
        _log.debug("client_event", kind=type(event).__name__, **shown)
