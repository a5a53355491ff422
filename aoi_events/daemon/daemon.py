"""The daemon, assembled: the library, its ports, and the socket for apps."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from aoi_events.client import (
    AoiClient,
    ClientEventStream,
    FileStorage,
    ReconnectPolicy,
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
from aoi_events.daemon.access import AccessPolicy, Peer, Role, group_number
from aoi_events.daemon.app_commands import AppCommands
from aoi_events.daemon.app_connection import AppConnection
from aoi_events.daemon.app_protocol import serve_app
from aoi_events.daemon.assertions import read_assertion
from aoi_events.daemon.attached_apps import AttachedApps
from aoi_events.daemon.desired_apps import DesiredApps
from aoi_events.daemon.dispatcher import AppDispatcher
from aoi_events.daemon.launcher import Launcher
from aoi_events.daemon.listening import AppListener
from aoi_events.daemon.network.netlink import watched_network
from aoi_events.daemon.redelivery import Redelivery
from aoi_events.daemon.settings import ClientSettings, device_name, socket_path, state_folder
from aoi_events.errors import ConfigurationError, RequestTimeout, naming
from aoi_events.platform.clock import SystemClock, SystemDice
from aoi_events.platform.logs import get_logger
from aoi_events.platform.tasks import first_completed
from aoi_events.platform.tls import follow_ca_file

log = get_logger(__name__)

_MARGIN: Final = 5.0
"""Seconds that the library waits longer than an app and a command may take together."""


async def run_until(stop: asyncio.Event, settings: ClientSettings, launcher: Launcher) -> bool:
    """Run the AOI Client until ``stop`` is set; whether the apps finished in time.

    Raises ConfigurationError, ClientStateError.
    """
    user = os.geteuid()
    if settings.url is None:
        raise ConfigurationError("AOI_CLIENT__URL: set it to the gateway, wss://HOST/aoi")
    transport = _transport(settings, settings.url)
    state = state_folder(settings, os.environ, user)
    attached = AttachedApps()
    desired = DesiredApps(FileStorage(state / "apps.json"))
    group = None if settings.group is None else group_number(settings.group)
    listener = AppListener(
        socket_path(settings, os.environ, user),
        AccessPolicy(user, group, frozenset(settings.users)),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(desired.close)
        known = await desired.open()
        stack.push_async_callback(listener.close)
        listener.open()
        redelivery = Redelivery(settings.wake_again_after, SystemClock(), SystemDice())
        dispatcher = AppDispatcher(attached, launcher, redelivery, desired.command)
        network = None
        if settings.network == "netlink":
            network = await stack.enter_async_context(
                watched_network(
                    _proxy(settings) or settings.url,
                    metered=settings.metered,
                    settle=settings.settle,
                )
            )
        client = _client(settings, transport, state, desired, dispatcher, network)
        events = client.events()
        await stack.enter_async_context(client)
        commands = AppCommands(settings, client, desired, attached, dispatcher)
        redelivery.start(commands.register_again)
        await commands.reconcile(known=known, owner=user)

        async def serve(connection: AppConnection, peer: Peer, role: Role | None) -> None:
            await serve_app(connection, peer, role, commands, settings.ack_within)

        await listener.start(serve)
        log.info("started", socket=str(listener.path), state=str(state), pid=os.getpid())
        await _until(stop, asyncio.create_task(_handle_events(events, commands)))
        listener.stop()
        dispatcher.close()
        log.info("draining", attached=len(attached))
        drained = await _drained(client, settings.drain_within) if stop.is_set() else True
        attached.detach_all("stopping")
    return drained


def _proxy(settings: ClientSettings) -> str | None:
    return None if settings.proxy is None else settings.proxy.get_secret_value()


def _transport(settings: ClientSettings, url: str) -> WebSocketTransport:
    with naming("AOI_CLIENT__URL"):
        transport = WebSocketTransport(
            url, answer_within=settings.request_within, proxy=_proxy(settings)
        )

    def use(tls: ssl.SSLContext) -> None:
        transport.tls = tls

    if settings.ca_file is not None:
        follow_ca_file(settings.ca_file, "AOI_CLIENT__CA_FILE", use)
    return transport


def _client(
    settings: ClientSettings,
    transport: WebSocketTransport,
    state: Path,
    desired: DesiredApps,
    dispatcher: AppDispatcher,
    network: NetworkEvents | None,
) -> AoiClient:
    identity = desired.identity(settings.identity)
    if identity is None:
        raise ConfigurationError(
            "AOI_CLIENT__IDENTITY: set it to the user's identity, for example tel:+15550100"
        )
    return AoiClient(
        storage=FileStorage(state / "client.json"),
        device=device_name(settings),
        identity=identity,
        assertion=read_assertion(settings.assertion_file),
        network=network,
        wake=dispatcher.dispatch,
        register_on=settings.register_on,
        transport=transport,
        reconnect_policy=ReconnectPolicy(
            first=min(settings.reconnect_first, settings.reconnect_most),
            most=settings.reconnect_most,
            replaced=settings.reconnect_replaced,
        ),
        answer_within=settings.request_within,
        handle_within=settings.ack_within + settings.wake_within + _MARGIN,
    )


async def _drained(client: AoiClient, within: float) -> bool:
    try:
        await client.until_idle(timeout=within)
    except RequestTimeout:
        return False
    return True


async def _until(stop: asyncio.Event, handling: asyncio.Task[None]) -> None:
    """Return when ``stop`` is set, or when the AOI Client has stopped. Raises its error."""
    await first_completed(handling, stop.wait())
    if handling.done():
        handling.result()


async def _handle_events(events: ClientEventStream, commands: AppCommands) -> None:
    """Inform apps of events, and log them."""
    async for event in events:
        await commands.handle_event(event)
        _log_event(event)


def _log_event(event: ClientEvent) -> None:
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
            log.warning("request_refused", request=name, about=about, code=code, reason=message)
        case NotificationAcknowledged(delivery=delivery, code=code, channel=channel):
            log.info("acknowledged", delivery=delivery, code=code, channel=channel)
        case _:
            pass
