"""Runs an AOI Client: passes inputs to the decisions, and carries out the effects.

It decides nothing. Queued inputs are processed as one batch: their state is saved once, before
their other effects.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterable, Callable, Coroutine, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final, TypeVar, assert_never

from aoi_events.client.core.activation import pause_before_repeat
from aoi_events.client.core.decisions import decide
from aoi_events.client.core.effects import (
    Connect,
    Deliver,
    Disconnect,
    Effect,
    Emit,
    Listen,
    OfferLater,
    Save,
    SendFrame,
)
from aoi_events.client.core.events import ClientEvent, Connected, Disconnected, Refused
from aoi_events.client.core.inputs import (
    ClientStarted,
    Input,
    NotificationHandled,
    OfferDue,
    PushArrived,
    RequestTimedOut,
    ShortMessageArrived,
)
from aoi_events.client.core.model import Model
from aoi_events.client.core.reconnect import ReconnectPolicy
from aoi_events.client.core.state import StoredState, application_key, decode, encode
from aoi_events.client.ports import PushSource, SmsSource, Storage, Transport
from aoi_events.client.shell.connection_task import ConnectionTask
from aoi_events.client.shell.event_stream import Observers
from aoi_events.client.shell.mailbox import Handler, Wake, handle
from aoi_events.contracts.device import RequestFrame
from aoi_events.errors import ClientStopped
from aoi_events.platform.logs import get_logger
from aoi_events.platform.tasks import first_completed
from aoi_events.ports.clock import Clock, Dice

_log = get_logger(__name__)

_INBOX: Final = 1_024
_SECRET_OCTETS: Final = 32
_PERSONAL: Final = frozenset({"identity"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Ports and settings of the runner; times are in seconds."""

    storage: Storage
    transport: Transport
    sms: SmsSource | None
    pushes: Mapping[str, PushSource]
    wake: Wake | None
    reconnect_policy: ReconnectPolicy
    answer_within: float
    handle_within: float
    clock: Clock
    dice: Dice


class Runner:
    """The tasks of one AOI Client, from `start` to `stop`.

    ``trouble`` is why the last connection ended or what was refused since then; ``failure`` is the
    error that stopped the client.
    """

    def __init__(self, model: Model, dependencies: Dependencies) -> None:
        self.model = model
        self.observers = Observers()
        self.handlers: dict[str, Handler] = {}
        self.failure: BaseException | None = None
        self.trouble: str | None = None
        self._dependencies = dependencies
        self._inbox: asyncio.Queue[tuple[Input, asyncio.Future[None] | None]] = asyncio.Queue(
            _INBOX
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection_task: ConnectionTask | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._offering: asyncio.Task[None] | None = None
        self._mailboxes: dict[str, asyncio.Queue[Deliver]] = {}
        self._unused_secret = self._fresh_secret()

    async def start(self) -> None:
        """Load the stored state, and begin. Raises ClientStateError."""
        data = await self._dependencies.storage.load()
        stored = StoredState() if data is None else decode(data)
        self.model = replace(self.model, stored=stored)
        self.spawn(self._process_inputs())
        await self.put(ClientStarted())

    async def stop(self) -> None:
        """End every task, and unlock the storage."""
        self._stop_waiting(ClientStopped("the AOI Client was stopped"))
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._dependencies.storage.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task until it or the client ends; a task that fails stops the client."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def watch(self, source: AsyncIterable[T], cause: Callable[[T], Input]) -> None:
        """Queue an input for everything that comes from a source, until the client ends."""

        async def read() -> None:
            async for item in source:
                await self.put(cause(item))

        self.spawn(read())

    async def put(self, cause: Input) -> None:
        """Queue an input."""
        await self._inbox.put((cause, None))

    async def put_and_wait(self, cause: Input) -> None:
        """Queue an input; return when it was processed and saved. Raises ClientStopped."""
        done = self.observers.future()
        await self._inbox.put((cause, done))
        await done

    async def flushed(self) -> None:
        """Return when every queued frame was sent, or the connection has ended."""
        if self._connection_task is None or self._connecting is None:
            return
        await first_completed(self._connection_task.flushed(), self._connecting)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None or self.failure is not None:
            return
        self.failure = error
        _log.error("client_failed", error=type(error).__name__, reason=str(error))
        stopped = ClientStopped(f"the AOI Client had to stop: {error}")
        stopped.__cause__ = error
        self._stop_waiting(stopped)
        for other in self._tasks:
            other.cancel()

    def _stop_waiting(self, reason: ClientStopped) -> None:
        self.observers.end(reason)
        # Otherwise a call that waits for room in the inbox would wait for ever.
        while not self._inbox.empty():
            self._inbox.get_nowait()

    async def _process_inputs(self) -> None:
        while True:
            taken = [await self._inbox.get()]
            while not self._inbox.empty():
                taken.append(self._inbox.get_nowait())
            effects: list[Effect] = []
            for cause, _ in taken:
                credentials = self.model.stored.credentials
                transition = decide(self.model, cause, fresh_secret=self._unused_secret)
                self.model = transition.model
                effects += transition.effects
                if self.model.stored.credentials != credentials:
                    self._unused_secret = self._fresh_secret()
                    # A secret that a later input of the batch replaces must be saved, too.
                    await self._carry_out(effects)
                    effects = []
            await self._carry_out(effects)
            for _, done in taken:
                if done is not None and not done.done():
                    done.set_result(None)
            self.observers.check(self.model)

    def _fresh_secret(self) -> str:
        octets = bytes.fromhex(self._dependencies.dice.token_hex(_SECRET_OCTETS))
        return urlsafe_b64encode(octets).decode().rstrip("=")

    async def _carry_out(self, effects: list[Effect]) -> None:
        to_store = [effect.stored for effect in effects if isinstance(effect, Save)]
        if to_store:
            await self._dependencies.storage.save(encode(to_store[-1]))
        for effect in effects:
            match effect:
                case Save():
                    pass  # the last one was saved above
                case Connect():
                    self._connect(effect)
                case Disconnect():
                    self._disconnect()
                case SendFrame(generation, frame):
                    task = self._connection_task
                    if task is not None and task.generation == generation:
                        task.send(frame)
                    if isinstance(frame, RequestFrame):
                        self.spawn(self._time_out_request(generation, frame.id))
                case Deliver():
                    self._deliver(effect)
                case Listen(channel):
                    self._listen(channel)
                case OfferLater():
                    self._offer_later(effect)
                case Emit(event):
                    self._emit(event)
                case _:
                    assert_never(effect)

    def _connect(self, effect: Connect) -> None:
        self._disconnect()
        needs = self._dependencies
        self._connection_task = ConnectionTask(
            effect.generation, needs.transport, needs.clock, self.put
        )
        seconds = needs.reconnect_policy.pause(
            effect.failures, needs.dice.jitter(), replaced=effect.replaced
        )
        self._connecting = self.spawn(self._connection_task.run(seconds))

    def _disconnect(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        self._connection_task = self._connecting = None

    def _offer_later(self, effect: OfferLater) -> None:
        if self._offering is not None:
            self._offering.cancel()
        seconds = pause_before_repeat(effect.repeats, self._dependencies.dice.jitter())
        self._offering = self.spawn(self._pause_offers(seconds, effect.number))

    async def _pause_offers(self, seconds: float, number: int) -> None:
        await self._dependencies.clock.sleep(seconds)
        await self.put(OfferDue(number))

    async def _time_out_request(self, generation: int, request: int) -> None:
        await self._dependencies.clock.sleep(self._dependencies.answer_within)
        await self.put(RequestTimedOut(generation, request))

    def _deliver(self, deliver: Deliver) -> None:
        notification = deliver.notification
        key = application_key(notification.application, notification.instance)
        mailbox = self._mailboxes.get(key)
        if mailbox is None:
            mailbox = self._mailboxes[key] = asyncio.Queue()
            self.spawn(self._empty_mailbox(key, mailbox))
        mailbox.put_nowait(deliver)  # HANDLING_LIMIT bounds how many wait

    async def _empty_mailbox(self, key: str, mailbox: asyncio.Queue[Deliver]) -> None:
        """Deliver the notifications of one app instance, one at a time and in order.

        If the app has stopped while a notification was queued, the app is woken with it.
        """
        needs = self._dependencies
        while True:
            deliver = await mailbox.get()
            handler = None if deliver.wake else self.handlers.get(key)
            code = await handle(deliver.notification, handler or needs.wake, needs.handle_within)
            await self.put(NotificationHandled(deliver.notification.delivery, code))

    def _listen(self, channel: str) -> None:
        needs = self._dependencies
        if channel == "sms" and needs.sms is not None:
            self.watch(needs.sms, lambda sms: ShortMessageArrived(sms, needs.clock.now()))
        elif (pushes := needs.pushes.get(channel)) is not None:
            self.watch(pushes, partial(PushArrived, channel))
        else:
            _log.warning("channel_without_source", channel=channel)

    def _emit(self, event: ClientEvent) -> None:
        match event:
            case Connected():
                self.trouble = None
            case Disconnected(reason=reason, opened=opened):
                # Each attempt fails alike, and one warning is enough.
                if not opened and reason != self.trouble:
                    _log.warning("cannot_connect", reason=reason)
                self.trouble = reason
            case Refused(code=code, message=message):
                self.trouble = f"{code}: {message}"
            case _:
                pass
        self.observers.emit(event)
        if not _log.isEnabledFor(logging.DEBUG):
            return
        names = [field.name for field in fields(event) if field.name not in _PERSONAL]
        shown = {name: getattr(event, name) for name in names}
        _log.debug("client_event", kind=type(event).__name__, **shown)
