"""Devices for tests and the demo: the real AOI Client with a simulated network and radio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self

from aoi_events.client import (
    AoiClient,
    Application,
    ChannelOffer,
    ClientEventStream,
    MemoryStorage,
    Notification,
    ReconnectPolicy,
    ShortMessage,
    WebSocketTransport,
)
from aoi_events.errors import CouldNotWake
from aoi_events.testing.diary import Diary
from aoi_events.testing.limits import WITHIN
from aoi_events.testing.scripted_client import CuttableTransport
from aoi_events.testing.smsc import LoopbackSmsc

_QUICKLY: Final = ReconnectPolicy(first=0.05, most=0.5)
_HANDLE_WITHIN: Final = 1.5  # less than the 2 s that the server of the fixtures waits


@dataclass(frozen=True, slots=True)
class _Radio:
    """The short messages that the SMSC sends to a number, as an SMS source."""

    number: str
    smsc: LoopbackSmsc
    heard: Callable[[bytes], None] | None

    async def __aiter__(self) -> AsyncIterator[ShortMessage]:
        async for message in self.smsc.telephone(self.number):
            if self.heard is not None:
                self.heard(message.user_data)
            yield message


class FakeApp:
    """An app on a :class:`FakeDevice`, with every notification that it received."""

    def __init__(self, device: FakeDevice, application: str, instance: str) -> None:
        self.device = device
        self.application = application
        self.instance = instance
        self.received: Final[list[Notification]] = []
        """Every notification that the app took, in order."""
        self.broken = False
        """Set it to make the app fail for every notification; the server then stores these."""
        self.last_token = ""
        """The token that it had last, which stays valid while the device is switched off."""
        self._read = 0
        self._registration: Application | None = None

    @property
    def registration(self) -> Application:
        """The app's registration with the AOI Client. Raises RuntimeError before it runs."""
        if self._registration is None:
            raise RuntimeError(f"{self.application} does not run: await start()")
        return self._registration

    @property
    def token(self) -> str:
        """The Application Client Token to send to; it changes with the device's user."""
        self.last_token = self.registration.token
        return self.last_token

    @property
    def unread(self) -> int:
        """How many were received and not read yet."""
        return len(self.received) - self._read

    async def start(self, *, within: float = WITHIN) -> None:
        """Start the app: it registers, and receives what was stored for it meanwhile."""
        self._registration = await self.device.client.register_application(
            self.application, self._take, instance=self.instance, timeout=within
        )
        self.last_token = self._registration.token

    async def stop(self) -> None:
        """Stop the app, which stays registered: the server stores what is sent to it."""
        await self.registration.stop()

    async def read(self, *, within: float = WITHIN) -> Notification:
        """Wait for the next notification that was not read. Raises DidNotHappen."""
        await self.device.diary.find(
            lambda: self.unread or None,
            what=f"a notification for {self.application} on {self.device.name}",
            within=within,
        )
        self._read += 1
        return self.received[self._read - 1]

    async def _take(self, notification: Notification) -> None:
        if self.broken:
            raise CouldNotWake(f"{self.application} is broken on purpose")
        self.received.append(notification)
        self.device.diary.touch()


class FakeDevice:
    """A device with the real AOI Client; its state survives being switched off.

    ``url`` is the gateway's. With a ``number`` it has a radio, fed by ``smsc``, and offers SMS
    beside the WebSocket, and then ``more``. ``identity`` is its user: the number, where nothing
    else is said. ``heard`` is called with each short message. Use it with ``async with``, or
    :meth:`switch_on`.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        number: str | None = None,
        smsc: LoopbackSmsc | None = None,
        identity: str | None = None,
        more: Iterable[ChannelOffer] = (),
        diary: Diary | None = None,
        heard: Callable[[bytes], None] | None = None,
    ) -> None:
        if number is not None and smsc is None:
            raise ValueError("a device with a number needs the SMSC that serves it")
        self.name = name
        self.number = number
        self.diary = diary or Diary()
        self.apps: Final[dict[str, FakeApp]] = {}
        """Every app that was installed, by its name."""
        sms = () if number is None else (ChannelOffer(type="sms", parameters={"msisdn": number}),)
        websocket = ChannelOffer(type="websocket")
        self.offers: tuple[ChannelOffer, ...] = (websocket, *sms, *more)
        """Channels that the device can use; see :meth:`offer`."""
        self._identity = identity or (f"tel:{number}" if number else f"user-of-{name}")
        self._radio = None if number is None or smsc is None else _Radio(number, smsc, heard)
        self._storage = MemoryStorage()
        self._transport = CuttableTransport(WebSocketTransport(url))
        self._is_cut = False
        self._client: AoiClient | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def client(self) -> AoiClient:
        """The AOI Client. Raises RuntimeError while the device is switched off."""
        if self._client is None:
            raise RuntimeError(f"{self.name} is switched off: await switch_on()")
        return self._client

    async def __aenter__(self) -> Self:
        await self.switch_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.switch_off()

    async def switch_on(self) -> None:
        """Start the AOI Client with its stored state, and the apps."""
        if self._client is not None:
            return
        client = AoiClient(
            transport=self._transport,
            storage=self._storage,
            device=self.name,
            identity=self._identity,
            offers=self.offers,
            sms=self._radio,
            register_on="install",
            reconnect_policy=_QUICKLY,
            handle_within=_HANDLE_WITHIN,
        )
        events = client.events()
        await client.__aenter__()
        self._client = client
        self._listening = asyncio.create_task(self._listen(events), name=f"{self.name}'s diary")
        for app in self.apps.values():
            await app.start()

    async def switch_off(self) -> None:
        """Stop the AOI Client in good order; its state and the apps stay. Idempotent."""
        client, self._client = self._client, None
        listening, self._listening = self._listening, None
        if client is None or listening is None:
            return
        await client.__aexit__(None, None, None)
        await listening
        # No client is left to close the sockets of connections that were cut.
        await self._transport.restore()
        if self._is_cut:
            self._transport.cut()

    async def install(
        self, application: str, *, instance: str = "default", within: float = WITHIN
    ) -> FakeApp:
        """Install and start an app; returns once it has its token."""
        app = FakeApp(self, application, instance)
        await app.start(within=within)
        self.apps[application if instance == "default" else f"{application}/{instance}"] = app
        return app

    @property
    def app(self) -> FakeApp:
        """The only app. Raises LookupError unless there is exactly one."""
        if len(self.apps) != 1:
            raise LookupError(f"{self.name} has {len(self.apps)} apps: name one, device.apps[…]")
        return next(iter(self.apps.values()))

    @property
    def token(self) -> str:
        """The token of the only app."""
        return self.app.token

    async def read(self, application: str | None = None, *, within: float = WITHIN) -> Notification:
        """The next notification of that app, or of the only one. Raises DidNotHappen."""
        app = self.app if application is None else self.apps[application]
        return await app.read(within=within)

    def cut(self) -> None:
        """Cut the data connection so that neither end notices."""
        self._is_cut = True
        self._transport.cut()

    async def restore(self) -> None:
        """Let the data connection be made again."""
        self._is_cut = False
        await self._transport.restore()

    async def ready(self, *channels: str, within: float = WITHIN) -> Self:
        """Return once connected, with these channels active.

        If none is named: with all that it offers, or without any as long as it has no app, since an
        AOI Client activates none before (8.1.2). Raises DidNotHappen.
        """
        all_offered = (offer.type for offer in self.offers) if self.apps else ()
        wanted = frozenset(channels or all_offered)
        client = self.client
        await self.diary.find(
            lambda: (client.connected and wanted <= client.channels) or None,
            what=f"{self.name} connected with {', '.join(sorted(wanted)) or 'nothing'} active",
            within=within,
        )
        return self

    async def offer(self, *offers: ChannelOffer) -> None:
        """Let the device use these channels and no others."""
        self.offers = offers
        await self.client.set_offers(offers)

    async def change_user(self, identity: str, *, within: float = WITHIN) -> None:
        """Give the device another user; returns once client and apps are registered anew."""
        client, before = self.client, self.client.client_id
        tokens = {name: app.token for name, app in self.apps.items()}
        await client.set_identity(identity)
        self._identity = identity
        await client.until_registered(other_than=before, timeout=within)
        for name, app in self.apps.items():
            await app.registration.until_token(other_than=tokens[name], timeout=within)

    async def _listen(self, events: ClientEventStream) -> None:
        async for event in events:
            self.diary.note(self.name, event)

    def __repr__(self) -> str:
        return f"FakeDevice({self.name!r})"
