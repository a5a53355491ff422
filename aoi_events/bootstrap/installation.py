"""Builds the workers of one process from its settings."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aoi_events.bootstrap.clocks import Clocks
from aoi_events.bootstrap.identities import identity_check
from aoi_events.bootstrap.keys import ServerKeys
from aoi_events.bootstrap.opening import WORKERS, Opened, open_parts
from aoi_events.bootstrap.plugins import Plugins, configure, installed_plugins
from aoi_events.bootstrap.policy_file import PolicyFile, open_policy
from aoi_events.bootstrap.settings import Settings
from aoi_events.domain.planning.policy import Policy
from aoi_events.errors import AoiError, ConfigurationError
from aoi_events.platform.clock import SystemClock, SystemDice
from aoi_events.platform.exit_codes import ExitCode
from aoi_events.platform.logs import get_logger
from aoi_events.platform.tasks import first_completed
from aoi_events.ports.broker import Broker
from aoi_events.ports.channel import ChannelPlugin
from aoi_events.ports.clock import Clock, Dice
from aoi_events.ports.store import Store
from aoi_events.services.activation.handler import ActivationHandler
from aoi_events.services.channel.worker import ChannelWorker
from aoi_events.services.deadlines.dead_letters.handler import DeadLetterHandler, UnroutableHandler
from aoi_events.services.deadlines.worker import DeadlinesWorker
from aoi_events.services.notification.handler import NotificationHandler
from aoi_events.services.outcome.handler import OutcomeHandler
from aoi_events.services.registration.handler import RegistrationHandler
from aoi_events.services.runtime.batch_worker import BatchWorker
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.parking import Parking
from aoi_events.services.runtime.settings import IdentityCheck, ServiceSettings
from aoi_events.telemetry.prometheus import PrometheusMetrics
from aoi_events.topology import topology

if TYPE_CHECKING:
    from aoi_events.endpoint.endpoint import Endpoint
    from aoi_events.gateway.gateway import Gateway

log = get_logger(__name__)


T = TypeVar("T")

_LOG_WITHIN: Final = 1.0
"""Seconds for the last line of a process that gives up."""
Run = Callable[[asyncio.Event, asyncio.Event], Coroutine[Any, Any, None]]
"""Runs a worker: ``run(stop, started)``."""
Check = Callable[[], Awaitable[bool]]


@dataclass(eq=False, repr=False)
class Installation:
    """The workers of one process, on the adapters that were opened for them.

    ``names`` are its workers. A part that none of them needs was not opened: its property raises
    RuntimeError.
    """

    settings: Settings
    names: tuple[str, ...]
    opened: Opened
    plugins: Plugins
    alone: bool
    clock: Clock
    dice: Dice
    metrics: PrometheusMetrics
    policy: PolicyFile | None
    """The policy file, where there is one for these workers."""
    identities: IdentityCheck | None
    clocks: Clocks | None
    """Compares this machine's clock with the store's, where workers need both."""

    # -- the parts ------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The store."""
        return self._need(self.opened.store, "store")

    @property
    def broker(self) -> Broker:
        """The broker connection of all workers but gateway and endpoint."""
        return self._need(self.opened.broker, "broker connection for workers")

    @cached_property
    def gateway(self) -> Gateway:
        """The gateway."""
        # Only processes that run a server load its libraries.
        from aoi_events.gateway.gateway import Gateway

        return Gateway(
            self._need(self.opened.gateway_broker, "gateway"),
            clock=self.clock,
            dice=self.dice,
            settings=self.settings.gateway,
            senders_url=self._senders_url,
            metrics=self.metrics,
        )

    @cached_property
    def endpoint(self) -> Endpoint:
        """The endpoint."""
        from aoi_events.endpoint.endpoint import Endpoint

        return Endpoint(
            self._need(self.opened.endpoint_broker, "endpoint"),
            clock=self.clock,
            dice=self.dice,
            settings=self.settings.endpoint,
            metrics=self.metrics,
        )

    def _senders_url(self) -> str:
        """The URL at which senders reach the endpoint, in this process or another one."""
        if self.opened.endpoint_broker is not None:
            return self.endpoint.origin
        endpoint = self.settings.endpoint
        return endpoint.public_url or f"http://localhost:{endpoint.port}"

    @cached_property
    def services(self) -> ServiceSettings:
        """The settings of the services."""
        keys = self._need(self.opened.keys, "server keys")
        return ServiceSettings(
            token_keys=keys.token_keys,
            challenge_key=keys.challenge_key,
            plugins=self.plugins.plugins,
            traits=self.plugins.traits,
            gateways=self._trusted(self.settings.gateway_users, self.opened.gateway_broker),
            endpoints=self._trusted(self.settings.endpoint_users, self.opened.endpoint_broker),
            policies=self.settings.policy.policies(),
            rules=(self.policy or Policy()).rules_for,
            identities=self.identities,
            channels=self.plugins.settings,
        )

    def _trusted(self, users: Sequence[str], own: Broker | None) -> frozenset[str]:
        """``users``; where this process is the whole installation, also that of its connection."""
        return frozenset((*users, own.user) if self.alone and own is not None else users)

    def _activating(self) -> ServiceSettings:
        confirming = {
            kind: values
            for kind, plugin in self.plugins.plugins.items()
            if (values := plugin.confirming(self.plugins.settings[kind])) is not None
        }
        return replace(self.services, confirming=confirming)

    def _need(self, part: T | None, what: str) -> T:
        if part is None:
            raise RuntimeError(f"no {what} was opened for {', '.join(self.names)}")
        return part

    @property
    def checks(self) -> Mapping[str, Check]:
        """The health checks: whether broker and store, where a worker needs them, answer now, and
        whether a gateway's queue takes messages.
        """
        checks: dict[str, Check] = {}
        opened = self.opened
        broker = opened.broker or opened.gateway_broker or opened.endpoint_broker
        if broker is not None:
            checks["broker"] = broker.healthy
        if self.opened.gateway_broker is not None:
            checks["gateway_queue"] = self.gateway.queue_proved
        if self.opened.store is not None:
            checks["store"] = self._store_answers
        return checks

    async def _store_answers(self) -> bool:
        try:
            await self.store.check(rights=True)
            if self.clocks is not None:
                await self.clocks.compare()
        except AoiError:
            return False
        return True

    # -- the workers ----------------------------------------------------------------------------

    def worker(self, name: str) -> Run:
        """The worker of that name. Raises ConfigurationError where its channel has no provider."""
        clock, dice, metrics = self.clock, self.dice, self.metrics
        match name:
            case "registration":
                return self._batches(RegistrationHandler(self.store, self.services, clock))
            case "activation":
                return self._batches(ActivationHandler(self.store, self._activating(), clock))
            case "notification":
                return self._batches(
                    NotificationHandler(self.store, self.services, clock, dice, metrics)
                )
            case "outcome":
                return self._batches(
                    OutcomeHandler(self.store, self.services, clock, dice, metrics)
                )
            case "gateway":
                return _serving(self.gateway)
            case "endpoint":
                return _serving(self.endpoint)
            case "deadlines":
                return self._deadlines()
            case _:
                return self._provider(name)

    def _batches(self, handler: Handler[Any], *, quarantine: bool = True) -> Run:
        worker = BatchWorker(
            handler,
            broker=self.broker,
            parking=self._parking(),
            clock=self.clock,
            batch=self.settings.batch,
            hard_limit=self.settings.quarantine_limit,
            give_up=_give_up,
            quarantine=quarantine,
            operators=self.settings.operator_users,
            metrics=self.metrics,
        )
        return worker.run

    def _parking(self) -> Parking:
        return Parking(
            self.store,
            self.clock,
            quota=self.settings.policy.parked_per_sender,
            metrics=self.metrics,
        )

    def deadlines(self) -> DeadlinesWorker:
        """The part of the deadlines worker that processes due rows of the store."""
        return DeadlinesWorker(
            self.store,
            self.broker,
            self.services,
            self.clock,
            self.dice,
            batch=self.settings.batch,
            metrics=self.metrics,
        )

    def strays(self) -> tuple[Run, Run]:
        """The parts of the deadlines worker that park unknown requests and dead letters."""
        trusted = {self.broker.user, *self.settings.operator_users}
        dead = DeadLetterHandler(self._parking(), self.clock, believed=trusted)
        return (
            self._batches(UnroutableHandler()),
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
            worker = ChannelWorker(
                kind,
                channel,
                store=self.store,
                broker=self.broker,
                clock=self.clock,
                dice=self.dice,
                metrics=self.metrics,
                drive=self._batches,
            )
            await worker.run(stop, started)

        return run


def _serving(server: Gateway | Endpoint) -> Run:
    async def run(stop: asyncio.Event, started: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.run(stop))
            await first_completed(serving, server.started.wait())
            started.set()

    return run


@asynccontextmanager
async def open_installation(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    alone: bool = False,
    clock: Clock | None = None,
    dice: Dice | None = None,
    plugins: Mapping[str, ChannelPlugin] | None = None,
    keys: ServerKeys | None = None,
) -> AsyncIterator[Installation]:
    """Open what these workers (all, where none is named) need; close it at the end.

    ``alone``: this process is the whole installation, so it may upgrade the schema, make the key
    file, and trust its own gateway and endpoint under any broker user. Raises
    ConfigurationError, BrokerUnavailable, StoreUnavailable.
    """
    installed = installed_plugins() if plugins is None else plugins
    configured = configure(installed, settings.channels)
    every = (*WORKERS, *configured.connectionless)
    for name in names:
        if name not in every:
            hint = (
                f"set its settings, AOI_CHANNELS__{name.upper()}__…"
                if name in installed
                else "there are " + ", ".join(every)
            )
            raise ConfigurationError(f"no worker {name!r} here: {hint}")
    if settings.in_process and not alone:
        raise ConfigurationError(
            "AOI_BROKER is memory://, which lives in one process: run `aoi up`, or set AOI_BROKER "
            "to amqp://USER:PASSWORD@HOST/VHOST"
        )
    chosen = tuple(names) or every
    metrics = PrometheusMetrics(
        channels=configured.traits,
        queues=[queue.name for queue in topology(configured.connectionless).queues],
    )
    async with AsyncExitStack() as stack:
        opened = await open_parts(
            settings, chosen, stack, plugins=configured, alone=alone, keys=keys, metrics=metrics
        )
        clocks: Clocks | None = None
        if clock is None and opened.store is not None:
            # A caller that gives a clock sets its time.
            clocks = Clocks(opened.store, SystemClock(), apart=settings.clock_apart)
            await clocks.compare()
        yield Installation(
            settings=settings,
            names=chosen,
            opened=opened,
            plugins=configured,
            alone=alone,
            clock=clock or (SystemClock() if clocks is None else clocks.steady),
            dice=dice or SystemDice(),
            metrics=metrics,
            policy=open_policy(settings.policy_file, chosen, installed, metrics=metrics),
            identities=identity_check(settings.policy) if "registration" in chosen else None,
            clocks=clocks,
        )


def _give_up() -> None:
    """End the process at once; the broker gives its unsettled messages to other workers."""
    hint = "a batch or a quarantined message took too long"
    # What hangs may be a write to the log, which another thread cannot write to then.
    logging = threading.Thread(target=log.error, args=("gave_up",), kwargs={"hint": hint})
    logging.daemon = True
    logging.start()
    logging.join(_LOG_WITHIN)
    os._exit(ExitCode.QUARANTINE_TIMEOUT)
