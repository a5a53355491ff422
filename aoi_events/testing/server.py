"""A whole AOI Server in the process of a test: every worker, a gateway on loopback, an SMSC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from typing import Any, Final

from aoi_events.bootstrap.installation import Installation, open_installation
from aoi_events.bootstrap.keys import ephemeral_keys
from aoi_events.bootstrap.plugins import installed_plugins
from aoi_events.bootstrap.process import serve
from aoi_events.bootstrap.settings import Settings, load_settings
from aoi_events.channels.sms.plugin import SmsPlugin
from aoi_events.channels.webhook.plugin import WebhookPlugin
from aoi_events.channels.webpush.plugin import WebPushPlugin
from aoi_events.contracts.answers import DeliveryStatus
from aoi_events.contracts.events import CloudEvent
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.gateway.sockets.server import PATH
from aoi_events.platform.tasks import first_completed
from aoi_events.ports.channel import ChannelPlugin
from aoi_events.publishing import Publisher
from aoi_events.publishing.feed import EventFeed, read_event
from aoi_events.services.notification.status import delivery_statuses
from aoi_events.testing.devices import FakeDevice
from aoi_events.testing.diary import Diary
from aoi_events.testing.limits import WITHIN
from aoi_events.testing.movable_clock import MovableClock
from aoi_events.testing.scripted import ADDRESS, ScriptedPlugin, ScriptedProvider
from aoi_events.testing.smsc import LoopbackSmsc
from aoi_events.testing.waiting import WaitFor

_DEFAULTS: Final[Mapping[str, Any]] = {
    "gateway": {"port": 0, "ping_every": 5.0, "pong_within": 2.0},
    "endpoint": {"port": 0},
    "health": {"enabled": False},
    "channels": {"websocket": {"ack_within": 2.0}, "sms": {"ack_within": 3.0}},
}
"""Shorter waits than in earnest, so that what a device does not answer is noticed in a test."""


class AoiServer:
    """A running AOI Server; made by the fixtures ``aoi`` and ``aoi_rabbitmq``.

    What it opens for a test it closes at the end of the test.
    """

    def __init__(
        self,
        installation: Installation,
        *,
        clock: MovableClock,
        smsc: LoopbackSmsc,
        scripted: ScriptedProvider,
        sender_url: Callable[[str], str],
        stack: AsyncExitStack,
    ) -> None:
        self.installation = installation
        self.smsc: Final = smsc
        """The SMSC behind the SMS channel; it can refuse, be silent, go down."""
        self.scripted: Final = scripted
        """The provider behind the channel ``scripted``; see the fixture ``scripted_channel``."""
        self.diary: Final = Diary()
        self.wait_for: Final = WaitFor(self.diary, self.status)
        """See the fixture of this name."""
        self._clock = clock
        self._sender_url = sender_url
        self._stack = stack
        self._numbers = count(15_550_100)

    @property
    def settings(self) -> Settings:
        """The settings that it runs with."""
        return self.installation.settings

    @property
    def gateway_url(self) -> str:
        """The URL that devices connect to."""
        return f"ws://127.0.0.1:{self.installation.gateway.port}{PATH}"

    @property
    def endpoint_url(self) -> str:
        """The URL of Web Push and the JSON API; see ``endpoint`` in the settings for API keys."""
        return self.installation.endpoint.origin

    @property
    def events(self) -> tuple[CloudEvent, ...]:
        """Every event of the server so far, of all senders."""
        events = (entry.event for entry in self.diary.entries)
        return tuple(event for event in events if isinstance(event, CloudEvent))

    def broker_url(self, sender: str = "shop") -> str:
        """The broker as that sender reaches it: the setting of your backend."""
        return self._sender_url(sender)

    async def publisher(self, sender: str = "shop", *, timeout: float = WITHIN) -> Publisher:
        """Open a Publisher; ``timeout`` as there."""
        url = await asyncio.to_thread(self.broker_url, sender)
        return await self._stack.enter_async_context(Publisher(url, timeout=timeout))

    async def device(
        self,
        name: str = "phone",
        *,
        apps: Iterable[str] = (),
        sms: bool = True,
        scripted: bool = False,
        number: str | None = None,
        identity: str | None = None,
        ready: bool = True,
        within: float = WITHIN,
    ) -> FakeDevice:
        """Switch a device on, with these apps registered.

        It has WebSocket and, unless ``sms`` is false, SMS with a number of its own or the one that
        is given, and, if ``scripted`` is true, the channel whose provider does what you say.
        ``ready``: returns once all of them are active, which for SMS means that the challenge came
        back.
        """
        if sms and number is None:
            number = f"+{next(self._numbers)}"
        more = [ChannelOffer(type="scripted", parameters={ADDRESS: name})] if scripted else []
        device = FakeDevice(
            name,
            self.gateway_url,
            number=number,
            smsc=self.smsc,
            identity=identity,
            more=more,
            diary=self.diary,
        )
        await self._stack.enter_async_context(device)
        for application in apps:
            await device.install(application, within=within)
        if ready:
            await device.ready(within=within)
        return device

    async def status(self, notification: str) -> list[DeliveryStatus]:
        """Every delivery of the notification with its story; none for an unknown one."""
        async with self.installation.store.transaction(read_only=True) as tx:
            return await delivery_statuses(tx, await tx.deliveries_named(notification))

    def advance(self, seconds: float) -> None:
        """Put the server's clock forward: times to live, retries and deadlines come at once.

        Devices, sockets and the SMSC keep real time. The workers act on it as always, a moment
        later: wait for what should happen then.
        """
        self._clock.advance(seconds)


@asynccontextmanager
async def open_server(
    settings: Mapping[str, Any],
    *,
    sender_url: Callable[[str], str],
) -> AsyncIterator[AoiServer]:
    """Run every worker with ``settings`` (those not given: short waits, else the defaults).

    ``sender_url`` says how a sender reaches the broker. Beside the installed channels there is
    ``scripted``. Raises ConfigurationError, InfrastructureError.
    """
    clock = MovableClock()
    stop, started = asyncio.Event(), asyncio.Event()
    async with LoopbackSmsc() as smsc, AsyncExitStack() as server_stack:
        sms = {"channels": {"sms": {"host": smsc.host, "port": smsc.port}}}
        merged = _merged(_merged(_DEFAULTS, sms), settings)
        scripted = ScriptedProvider(clock=clock)
        own: dict[str, ChannelPlugin] = {
            "sms": SmsPlugin(clock),
            "webhook": WebhookPlugin(clock=clock),
            "webpush": WebPushPlugin(clock=clock),
            "scripted": ScriptedPlugin(scripted),
        }
        installation = await server_stack.enter_async_context(
            open_installation(
                load_settings(**merged),
                alone=True,
                clock=clock,
                plugins={**installed_plugins(), **own},
                keys=ephemeral_keys(),
            )
        )
        serving = asyncio.create_task(serve(installation, stop, lambda _: started.set()))

        async def end() -> None:
            stop.set()
            code = await serving
            assert code == 0, f"the AOI Server ended with exit code {code}"

        server_stack.push_async_callback(end)
        await _unless_ended(serving, started)
        async with AsyncExitStack() as stack:
            server = AoiServer(
                installation,
                clock=clock,
                smsc=smsc,
                scripted=scripted,
                sender_url=sender_url,
                stack=stack,
            )
            serving.add_done_callback(lambda task: _record_failure(server.diary, task))
            feed = EventFeed(installation.broker, ["#"])
            await feed.open()
            events = asyncio.create_task(_record(server.diary, feed))
            try:
                yield server
            finally:
                events.cancel()
                with suppress(asyncio.CancelledError):
                    await events


async def _unless_ended(serving: asyncio.Task[int], started: asyncio.Event) -> None:
    """Return once the server started. Raises what ended it before."""
    _, starting = await first_completed(serving, started.wait())
    if starting.cancelled():
        raise AssertionError(f"the AOI Server ended with exit code {serving.result()}")


def _record_failure(diary: Diary, serving: asyncio.Task[int]) -> None:
    if serving.cancelled():
        return
    if (error := serving.exception()) is not None:
        diary.fail(error)


async def _record(diary: Diary, feed: EventFeed) -> None:
    """Write the events into the diary."""
    while (taken := await feed.take()) is not None:
        for event in map(read_event, taken.messages):
            if event is not None:
                diary.note("AOI Server", event)


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings section by section; the second wins."""
    merged = dict(first)
    for name, value in second.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(below, value)
        else:
            merged[name] = value
    return merged
