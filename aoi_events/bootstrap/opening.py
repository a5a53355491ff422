"""Opens the adapters that the workers of one process need, and no others.

Gateway and endpoint face the internet, so they get neither the store nor the server's keys. The
workers of channels do not verify tokens, so they get no keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

from aoi_events.bootstrap.keys import (
    ServerKeys,
    check_keys,
    create_key_file,
    ephemeral_keys,
    is_missing,
    load_key_file,
    load_keys,
)
from aoi_events.bootstrap.members import members_of, warn_of_few_members
from aoi_events.bootstrap.plugins import Plugins, configure, installed_plugins
from aoi_events.bootstrap.settings import Settings
from aoi_events.broker.open import open_broker
from aoi_events.domain.clients.applications import Application
from aoi_events.errors import DOCUMENTATION, ConfigurationError, InfrastructureError, naming
from aoi_events.platform.followed_files import follow
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.ports.broker import Broker
from aoi_events.ports.metrics import BrokerMetrics, Metrics, StoreMetrics
from aoi_events.ports.store import Store
from aoi_events.topology import topology

if TYPE_CHECKING:
    from aoi_events.broker.rabbitmq.members import Members

log = get_logger(__name__)

AT_THE_EDGE: Final = ("gateway", "endpoint")
"""Workers that need only the broker."""
WITH_KEYS: Final = ("registration", "activation", "notification", "outcome", "deadlines")
"""Workers that issue or verify tokens, or make challenges."""
WORKERS: Final = (*WITH_KEYS, *AT_THE_EDGE)
"""The workers of every installation; each connectionless channel adds one of its name."""

GATEWAY_USER: Final = "aoi-gateway"
"""The gateway's user on ``memory://``."""
ENDPOINT_USER: Final = "aoi-endpoint"
"""The endpoint's."""

_KEY_FILE: Final = "AOI_KEY_FILE"
_AT_START: Final = RetryPolicy(first=0.25, most=3.0)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened:
    """The open adapters; None: no worker of this process needs it."""

    store: Store | None
    keys: ServerKeys | None
    broker: Broker | None
    gateway_broker: Broker | None
    """A connection of its own, because the gateway's queue is exclusive to its connection."""
    endpoint_broker: Broker | None
    """A connection of its own, so that a flood of requests does not block the workers."""


async def open_parts(
    settings: Settings,
    names: Collection[str],
    stack: AsyncExitStack,
    *,
    plugins: Plugins,
    alone: bool,
    keys: ServerKeys | None,
    metrics: Metrics,
) -> Opened:
    """Open the adapters that these workers need; ``stack`` closes them.

    ``alone`` as for the installation. ``keys`` replace those of the settings and are not checked.
    Raises ConfigurationError, BrokerUnavailable, StoreUnavailable.
    """
    patient = _Starting(settings.start_within)

    async def connect(name: str, *, user: str | None = None) -> Broker:
        url = _broker_url(settings, user)
        opened = await patient.until(lambda: _open_broker(url, name, metrics))
        stack.push_async_callback(opened.close)
        return opened

    store = broker = gateway_broker = endpoint_broker = None
    if set(names) - set(AT_THE_EDGE):
        store = await patient.until(lambda: _open_store(settings, upgrade=alone, metrics=metrics))
        stack.push_async_callback(store.close)
        broker = await connect("aoi workers")
    if "gateway" in names:
        gateway_broker = await connect("aoi gateway", user=GATEWAY_USER)
    if "endpoint" in names:
        endpoint_broker = await connect("aoi endpoint", user=ENDPOINT_USER)
    declaring = broker or gateway_broker or endpoint_broker
    if settings.declare and declaring is not None:
        await declaring.declare(topology(plugins.connectionless))
    await warn_of_few_members(settings, topology(plugins.connectionless))
    if store is None or not set(names) & set(WITH_KEYS):
        return Opened(store, None, broker, gateway_broker, endpoint_broker)
    opened = store
    if keys is None:
        in_use, samples = await patient.until(lambda: _token_keys_in_use(opened))
        keys = _keys(settings, in_use, alone=alone)
        with naming("AOI_TOKEN_KEYS" if settings.names_keys else _KEY_FILE):
            check_keys(keys, in_use, samples)
        if not settings.names_keys:
            file = settings.key_file
            follow(
                [file],
                partial(_take_key_file, file, keys, opened),
                taken="key_file_taken",
                refused="key_file_refused",
            )
    return Opened(store, keys, broker, gateway_broker, endpoint_broker)


async def declare(settings: Settings) -> tuple[str, ...]:
    """Declare every exchange and queue of an installation; returns their names.

    For an operator's broker user, where the workers' users may not configure. Safe to repeat.
    Raises ConfigurationError where the user may not declare something missing, BrokerUnavailable.
    """
    configured = configure(installed_plugins(), settings.channels)
    everything = topology(configured.connectionless)
    url = settings.broker.get_secret_value()
    broker = await _Starting(settings.start_within).until(
        lambda: _open_broker(url, "aoi broker declare", NO_METRICS)
    )
    try:
        await broker.declare(everything)
    finally:
        await broker.close()
    exchanges = (exchange.name for exchange in everything.exchanges)
    return (*exchanges, *(queue.name for queue in everything.queues))


async def check_members(settings: Settings) -> tuple[Members, list[str]]:
    """The members of the queues, and the names of queues that are missing.

    Raises ConfigurationError and InfrastructureError.
    """
    everything = topology(configure(installed_plugins(), settings.channels).connectionless)
    members = await members_of(settings, everything)
    return members, sorted({each.name for each in everything.queues} - members.queues.keys())


async def _open_broker(url: str, name: str, metrics: BrokerMetrics) -> Broker:
    return await open_broker(url, name=name, retry_policy=RetryPolicy(attempts=1), metrics=metrics)


async def _open_store(settings: Settings, *, upgrade: bool, metrics: StoreMetrics) -> Store:
    from aoi_events.store.store import open_store  # the edge and `aoi broker declare` need none

    store = await open_store(
        settings.store.get_secret_value(),
        pool=settings.store_pool,
        upgrade=upgrade,
        metrics=metrics,
    )
    try:
        await store.check(rights=True)
    except BaseException:
        await store.close()
        raise
    return store


class _Starting:
    """Retries to open broker and store, which may still be starting themselves.

    ``within``: seconds for all attempts together.
    """

    def __init__(self, within: float) -> None:
        self._within = within
        self._until = asyncio.get_running_loop().time() + within

    async def until(self, opened: Callable[[], Awaitable[T]]) -> T:
        """Retry ``opened``; returns its result. Raises its last InfrastructureError."""
        failures: list[BaseException] = []

        def failed(attempt: FailedAttempt) -> None:
            failures[:] = [attempt.error]
            log.warning("not_there_yet", error=str(attempt.error), attempt=attempt.number)

        try:
            async with asyncio.timeout_at(self._until) as limit:
                return await retry(opened, policy=_AT_START, failed=failed)
        except TimeoutError:
            if not limit.expired():
                raise
        if failures:
            raise failures[0]
        raise InfrastructureError(f"no answer from broker or store within {self._within:g} s")


def _keys(settings: Settings, in_use: Mapping[str, int], *, alone: bool) -> ServerKeys:
    if alone and not settings.names_keys and is_missing(settings.key_file):
        if ":memory:" in settings.store.get_secret_value():
            return ephemeral_keys()
        with naming(_KEY_FILE):
            if in_use:
                raise ConfigurationError(
                    f"there is no key file {settings.key_file}, but {sum(in_use.values())} tokens "
                    "in the store were made with keys; put it back, from a copy if need be "
                    f"({DOCUMENTATION}/operations/troubleshooting.md#no_key_file)"
                )
            if create_key_file(settings.key_file):
                log.info("key_file_created", file=str(settings.key_file))
    return load_keys(settings)


async def _take_key_file(file: Path, keys: ServerKeys, store: Store) -> None:
    with naming(_KEY_FILE):
        fresh = load_key_file(file)
        if fresh.challenge_key != keys.challenge_key:
            raise ConfigurationError(
                f"{file} has another challenge key, which needs a restart of every worker"
            )
        check_keys(fresh, *await _token_keys_in_use(store))
    keys.token_keys.replace(fresh.token_keys)


async def _token_keys_in_use(
    store: Store,
) -> tuple[Mapping[str, int], Sequence[Application]]:
    async with store.transaction(read_only=True) as tx:
        return await tx.token_keys_in_use(), await tx.token_samples()


def _broker_url(settings: Settings, user: str | None) -> str:
    """The broker's URL; on ``memory://`` with this user, since there is no other to connect as."""
    url = settings.broker.get_secret_value()
    if user is None or not settings.in_process:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.hostname or ''}"))
