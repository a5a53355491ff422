"""The AOI Client as a daemon, put together: the library, its ports, and the socket for apps."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aoi_events.client import (
    AoiClient,
    Backoff,
    EventStream,
    FileStorage,
    WebSocketTransport,
)
from aoi_events.client.core.events import (
    ClientEvent,
    Connected,
    Disconnected,
    NotificationAcknowledged,
    NotificationsLost,
    Refused,
    Registered,
)
from aoi_events.client.ports import NetworkEvents
from aoi_events.daemon.access import Doors, Peer, Rank, group_number
from aoi_events.daemon.app_commands import Desk
from aoi_events.daemon.assertions import read_assertion
from aoi_events.daemon.attached_apps import Seats
from aoi_events.daemon.connection import serve_app
from aoi_events.daemon.desired_apps import Wishes
from aoi_events.daemon.dispatcher import Hands
from aoi_events.daemon.json_lines import Lines
from aoi_events.daemon.launcher import Waker
from aoi_events.daemon.listening import Listener
from aoi_events.daemon.network.netlink import NetlinkNetwork
from aoi_events.daemon.redelivery import Again
from aoi_events.daemon.settings import ClientSettings, device_name, socket_path, state_folder
from aoi_events.errors import ConfigurationError, RequestTimeout
from aoi_events.platform.clock import SystemClock, SystemDice
from aoi_events.platform.logs import get_logger

__all__ = ["Daemon"]

log = get_logger(__name__)

_MARGIN: Final = 5.0
"""Seconds beyond what app and command may take, before the library gives up waiting for us."""


@dataclass(frozen=True)
class Daemon:
    """An AOI Client with these settings."""

    settings: ClientSettings
    waker: Waker

    async def run(self, stop: asyncio.Event) -> bool:
        """Run until ``stop``; whether the apps had finished by then.

        Raises ConfigurationError, ClientStateError.
        """
        settings, user = self.settings, os.geteuid()
        if settings.url is None:
            raise ConfigurationError("AOI_CLIENT__URL: set it to the gateway, wss://HOST/aoi")
        state = state_folder(settings, os.environ, user)
        seats = Seats()
        wishes = Wishes(FileStorage(state / "apps.json"))
        group = None if settings.group is None else group_number(settings.group)
        listener = Listener(
            socket_path(settings, os.environ, user), Doors(user, group, frozenset(settings.users))
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(wishes.close)
            known = await wishes.open()
            stack.push_async_callback(listener.close)
            listener.open()
            again = Again(settings.wake_again_after, SystemClock(), SystemDice())
            hands = Hands(seats, self.waker, again, wishes.command)
            client = self._client(
                settings.url, state, wishes, hands, await self._network(settings.url, stack)
            )
            events = client.events()
            await stack.enter_async_context(client)
            desk = Desk(settings, client, wishes, seats, hands)
            again.start(desk.ask_again)
            await desk.make_good(known=known, owner=user)

            async def serve(lines: Lines, peer: Peer, rank: Rank | None) -> None:
                await serve_app(lines, peer, rank, desk, settings.ack_within)

            await listener.start(serve)
            log.info("started", socket=str(listener.path), state=str(state), pid=os.getpid())
            await _until(stop, asyncio.create_task(_tell(events, desk)))
            listener.stop()
            hands.close()
            log.info("draining", attached=len(seats))
            drained = await self._drained(client) if stop.is_set() else True
            seats.leave_all("stopping")
        return drained

    async def _network(self, url: str, stack: AsyncExitStack) -> NetworkEvents | None:
        settings = self.settings
        if settings.network == "unwatched":
            return None
        network = NetlinkNetwork(url, metered=settings.metered, settle=settings.settle)
        return await stack.enter_async_context(network)

    def _client(
        self,
        url: str,
        state: Path,
        wishes: Wishes,
        hands: Hands,
        network: NetworkEvents | None,
    ) -> AoiClient:
        settings = self.settings
        identity = wishes.identity(settings.identity)
        if identity is None:
            raise ConfigurationError(
                "AOI_CLIENT__IDENTITY: set it to who uses the device, for example tel:+15550100"
            )
        return AoiClient(
            storage=FileStorage(state / "client.json"),
            device=device_name(settings),
            identity=identity,
            assertion=read_assertion(settings.assertion_file),
            network=network,
            wake=hands.give,
            register_on=settings.register_on,
            transport=WebSocketTransport(
                url, answer_within=settings.request_within, tls=_tls(settings.ca_file)
            ),
            backoff=Backoff(
                first=min(settings.reconnect_first, settings.reconnect_most),
                most=settings.reconnect_most,
                replaced=settings.reconnect_replaced,
            ),
            answer_within=settings.request_within,
            handle_within=settings.ack_within + settings.wake_within + _MARGIN,
        )

    async def _drained(self, client: AoiClient) -> bool:
        try:
            await client.until_idle(timeout=self.settings.drain_within)
        except RequestTimeout:
            return False
        return True


async def _until(stop: asyncio.Event, telling: asyncio.Task[None]) -> None:
    """Return when told to stop, or when the AOI Client had to."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopping, telling}, return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            telling.result()
    finally:
        stopping.cancel()


async def _tell(events: EventStream, desk: Desk) -> None:
    """Tell apps and the log what happens."""
    async for event in events:
        await desk.heard(event)
        _note(event)


def _note(event: ClientEvent) -> None:
    match event:
        case Connected(client=client):
            log.info("connected", client=client)
        case Disconnected(code=code, reason=reason):
            log.info("disconnected", code=code, reason=reason)
        case Registered(client=client, retired=retired):
            log.info("registered", client=client, retired=retired)
        case NotificationsLost(count=count):
            log.warning("notifications_lost", count=count)
        case Refused(name=name, about=about, code=code, message=message):
            log.warning("refused", request=name, about=about, code=code, reason=message)
        case NotificationAcknowledged(delivery=delivery, code=code, channel=channel):
            log.info("acknowledged", delivery=delivery, code=code, channel=channel)
        case _:
            pass


def _tls(file: Path | None) -> ssl.SSLContext | None:
    if file is None:
        return None
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"AOI_CLIENT__CA_FILE: {file}: {error}") from None
