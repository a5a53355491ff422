"""From settings to workers that run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

from aoi_events.bootstrap.keys import (
    ServerKeys,
    check_keys,
    create_key_file,
    ephemeral_keys,
    load_keys,
)
from aoi_events.bootstrap.plugins import Plugins, configure, installed_plugins
from aoi_events.bootstrap.settings import Settings
from aoi_events.broker.open import open_broker
from aoi_events.broker.topology import topology
from aoi_events.errors import AoiError, ConfigurationError, InfrastructureError
from aoi_events.gateway import Gateway
from aoi_events.ports.broker import Broker
from aoi_events.ports.channel import ChannelPlugin
from aoi_events.ports.clock import Clock, Dice, SystemClock, SystemDice
from aoi_events.ports.logs import get_logger
from aoi_events.ports.patience import Attempt, Patience, patiently
from aoi_events.ports.store import Store
from aoi_events.services.activation import ActivationHandler
from aoi_events.services.deadlines import DeadlinesWorker
from aoi_events.services.handler import Handler
from aoi_events.services.notification import NotificationHandler
from aoi_events.services.outcome import OutcomeHandler
from aoi_events.services.parking import Parking
from aoi_events.services.provider import ProviderHandler
from aoi_events.services.receipts import Receipts
from aoi_events.services.registration import RegistrationHandler
from aoi_events.services.runtime import BatchWorker
from aoi_events.services.settings import ServiceSettings
from aoi_events.services.stray import DeadLetterHandler, UnroutableHandler
from aoi_events.store import open_store

__all__ = ["EXIT_GAVE_UP", "Installation", "Worker", "declare", "open_installation"]

log = get_logger(__name__)

EXIT_GAVE_UP: Final = 70
"""A quarantined message held the process longer than it may (sysexits' EX_SOFTWARE)."""

GATEWAY_USER: Final = "aoi-gateway"
"""The gateway's user on ``memory://``."""

_AT_START: Final = Patience(first=0.25, most=3.0)

T = TypeVar("T")
Run = Callable[[asyncio.Event, asyncio.Event], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that can be run: ``run(stop, started)``."""

    name: str
    run: Run


class Installation:
    """The adapters of one process, and the workers that can be built on them."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        broker: Broker,
        gateway_broker: Broker,
        keys: ServerKeys,
        plugins: Plugins,
        gateways: frozenset[str],
        clock: Clock,
        dice: Dice,
    ) -> None:
        self.settings = settings
        self.store = store
        self.broker = broker
        self.plugins = plugins
        self.clock = clock
        self.dice = dice
        self.services = ServiceSettings(
            token_keys=keys.token_keys,
            challenge_key=keys.challenge_key,
            plugins=plugins.plugins,
            traits=plugins.traits,
            gateways=gateways,
            policies=settings.policy.policies(),
        )
        self.parking = Parking(store, clock, quota=self.services.policies.parked_per_sender)
        self._gateway_broker = gateway_broker
        self.gateway = Gateway(
            broker=gateway_broker, clock=clock, dice=dice, settings=settings.gateway
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The workers that this installation has; one per connectionless channel among them."""
        return (
            "registration",
            "activation",
            "notification",
            "gateway",
            *self.plugins.connectionless,
            "outcome",
            "deadlines",
        )

    def worker(self, name: str) -> Worker:
        """The worker of that name. Raises ConfigurationError for one that this one cannot have."""
        parts: Mapping[str, Callable[[], Run]] = {
            "registration": lambda: self._batches(
                RegistrationHandler(self.store, self.services, self.clock)
            ),
            "activation": lambda: self._batches(
                ActivationHandler(self.store, self.services, self.clock)
            ),
            "notification": lambda: self._batches(
                NotificationHandler(self.store, self.services, self.clock, self.dice)
            ),
            "outcome": lambda: self._batches(
                OutcomeHandler(self.store, self.services, self.clock, self.dice)
            ),
            "gateway": lambda: self._gateway,
            "deadlines": self._deadlines,
        }
        if name in parts:
            return Worker(name, parts[name]())
        if name in self.plugins.connectionless:
            return Worker(name, self._provider(name))
        hint = (
            f"set its settings, AOI_CHANNELS__{name.upper()}__…"
            if name in installed_plugins()
            else "there are " + ", ".join(self.names)
        )
        raise ConfigurationError(f"no worker {name!r} here: {hint}")

    async def healthy(self) -> dict[str, bool]:
        """Whether broker and store answer now."""
        return {"broker": await self.broker.healthy(), "store": await self._store_answers()}

    async def _store_answers(self) -> bool:
        try:
            await self.store.check()
        except AoiError:
            return False
        return True

    def _batches(self, handler: Handler[Any], *, quarantine: bool = True) -> Run:
        worker = BatchWorker(
            handler,
            broker=self.broker,
            parking=self.parking,
            clock=self.clock,
            batch=self.settings.batch,
            hard_limit=self.settings.quarantine_limit,
            give_up=_give_up,
            quarantine=quarantine,
            operators=self.settings.operator_users,
        )
        return worker.run

    async def _gateway(self, stop: asyncio.Event, started: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            gateway = group.create_task(self.gateway.run(stop))
            listening = group.create_task(self.gateway.started.wait())
            await asyncio.wait([gateway, listening], return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            started.set()

    def deadlines(self) -> DeadlinesWorker:
        """What looks at due rows; the worker of that name also sets stray messages aside."""
        return DeadlinesWorker(
            self.store,
            self.broker,
            self.services,
            self.clock,
            self.dice,
            batch=self.settings.batch,
        )

    def strays(self) -> tuple[Run, Run]:
        """What takes unknown requests, and what takes dead letters."""
        believed = {self.broker.user, *self.settings.operator_users}
        dead = DeadLetterHandler(self.parking, self.clock, believed=believed)
        return (
            self._batches(UnroutableHandler(self.parking)),
            self._batches(dead, quarantine=False),
        )

    def _deadlines(self) -> Run:
        parts = (self.deadlines().run, *self.strays())

        async def run(stop: asyncio.Event, started: asyncio.Event) -> None:
            signals = [asyncio.Event() for _ in parts]
            async with asyncio.TaskGroup() as group:
                for part, signal in zip(parts, signals, strict=True):
                    group.create_task(part(stop, signal))
                for signal in signals:
                    await signal.wait()
                started.set()

        return run

    def _provider(self, kind: str) -> Run:
        async def run(stop: asyncio.Event, started: asyncio.Event) -> None:
            channel = await self.plugins.plugins[kind].connect(self.plugins.settings[kind])
            if channel is None:
                raise ConfigurationError(f"channel {kind!r} has no provider to connect to")
            receipts = Receipts(kind, channel, self.store, self.broker, self.clock)
            batches = self._batches(ProviderHandler(kind, channel, self.store, self.clock))
            try:
                async with asyncio.TaskGroup() as group:
                    listening = group.create_task(receipts.run())
                    await batches(stop, started)
                    listening.cancel()
            finally:
                await channel.close()

        return run


@asynccontextmanager
async def open_installation(
    settings: Settings,
    *,
    alone: bool = False,
    clock: Clock | None = None,
    dice: Dice | None = None,
    plugins: Mapping[str, ChannelPlugin] | None = None,
    keys: ServerKeys | None = None,
) -> AsyncIterator[Installation]:
    """Open the adapters; close them at the end.

    ``alone``: this process is the whole installation, so it may bring the schema up to date, make
    the key file, and take the gateway's word whatever the broker user is. Raises
    ConfigurationError, BrokerUnavailable, StoreUnavailable.
    """
    if settings.in_process and not alone:
        raise ConfigurationError(
            "AOI_BROKER is memory://, which lives in one process: run `aoi up`, or set AOI_BROKER "
            "to amqp://user:password@host/vhost"
        )
    configured = configure(installed_plugins() if plugins is None else plugins, settings.channels)
    async with AsyncExitStack() as stack:
        patient = _Starting(settings.start_within)
        store = await patient.until(lambda: _open_store(settings, upgrade=alone))
        stack.push_async_callback(store.close)
        url = settings.broker.get_secret_value()
        broker = await patient.until(lambda: _open_broker(url, "aoi workers"))
        stack.push_async_callback(broker.close)
        gateway_url = _as_gateway(url) if settings.in_process else url
        gateway_broker = await patient.until(lambda: _open_broker(gateway_url, "aoi gateway"))
        stack.push_async_callback(gateway_broker.close)
        if settings.declare:
            await broker.declare(topology(configured.connectionless))
        gateways = frozenset(settings.gateway_users)
        if alone:
            gateways |= {gateway_broker.user}
        in_use = await patient.until(lambda: _token_keys_in_use(store))
        server_keys = keys or _keys(settings, in_use, alone=alone)
        check_keys(server_keys, in_use)
        yield Installation(
            settings,
            store=store,
            broker=broker,
            gateway_broker=gateway_broker,
            keys=server_keys,
            plugins=configured,
            gateways=gateways,
            clock=clock or SystemClock(),
            dice=dice or SystemDice(),
        )


async def declare(settings: Settings) -> tuple[str, ...]:
    """Make every exchange and queue of an installation with these settings; returns their names.

    For an operator's broker user, where those of the workers may configure nothing. Safe to
    repeat. Raises ConfigurationError where something is missing and this user may not make it,
    BrokerUnavailable.
    """
    configured = configure(installed_plugins(), settings.channels)
    everything = topology(configured.connectionless)
    url = settings.broker.get_secret_value()
    broker = await _Starting(settings.start_within).until(
        lambda: _open_broker(url, "aoi broker declare")
    )
    try:
        await broker.declare(everything)
    finally:
        await broker.close()
    exchanges = (exchange.name for exchange in everything.exchanges)
    return (*exchanges, *(queue.name for queue in everything.queues))


async def _open_broker(url: str, name: str) -> Broker:
    return await open_broker(url, name=name, patience=Patience(attempts=1))


async def _open_store(settings: Settings, *, upgrade: bool) -> Store:
    store = await open_store(
        settings.store.get_secret_value(), pool=settings.store_pool, upgrade=upgrade
    )
    try:
        await store.check()
    except BaseException:
        await store.close()
        raise
    return store


class _Starting:
    """Broker and store may still be starting, as when everything was started at once.

    ``within``: seconds for all of them together.
    """

    def __init__(self, within: float) -> None:
        self._within = within
        self._until = asyncio.get_running_loop().time() + within

    async def until(self, opened: Callable[[], Awaitable[T]]) -> T:
        """What ``opened`` returns as soon as it can. Raises its last InfrastructureError."""
        failures: list[BaseException] = []

        def failed(attempt: Attempt) -> None:
            failures[:] = [attempt.error]
            log.warning("not_there_yet", error=str(attempt.error), attempt=attempt.number)

        try:
            async with asyncio.timeout_at(self._until) as limit:
                return await patiently(opened, patience=_AT_START, failed=failed)
        except TimeoutError:
            if not limit.expired():
                raise
        if failures:
            raise failures[0]
        raise InfrastructureError(f"no answer from broker or store within {self._within:g} s")


def _keys(settings: Settings, in_use: Mapping[str, int], *, alone: bool) -> ServerKeys:
    if alone and not settings.names_keys and not settings.key_file.exists():
        if ":memory:" in settings.store.get_secret_value():
            return ephemeral_keys()
        if in_use:
            raise ConfigurationError(
                f"there is no key file {settings.key_file}, but {sum(in_use.values())} tokens in "
                "the store were made with keys; put it back, from a copy if need be"
            )
        create_key_file(settings.key_file)
        log.info("key_file_created", file=str(settings.key_file))
    return load_keys(settings)


async def _token_keys_in_use(store: Store) -> Mapping[str, int]:
    async with store.transaction(read_only=True) as tx:
        return await tx.token_keys_in_use()


def _as_gateway(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{GATEWAY_USER}@{parts.hostname or ''}"))


def _give_up() -> None:
    """End the process at once: a message holds it, and what is unsettled goes to others."""
    log.error("gave_up", hint="a quarantined message took too long")
    os._exit(EXIT_GAVE_UP)
