"""Opens a connection to the broker at a URL: ``amqp://``, ``amqps://`` and ``memory://``."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from aoi_events.broker.memory import NOT_DURABLE, MemoryBroker, MemoryServer
from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.broker.rabbitmq.broker import FIRST_CONNECTION
from aoi_events.errors import ConfigurationError
from aoi_events.platform.broker_url import broker_urls
from aoi_events.platform.logs import get_logger
from aoi_events.platform.no_metrics import NO_METRICS
from aoi_events.platform.retry import RetryPolicy
from aoi_events.platform.tls import check_readable, client_context
from aoi_events.ports.broker import Broker
from aoi_events.ports.metrics import BrokerMetrics

log = get_logger(__name__)

_FILE: Final = (".+", "a file")
_OPTIONS: Final = {
    "cafile": _FILE,
    "certfile": _FILE,
    "keyfile": _FILE,
    "capath": (".+", "a folder"),
    "cadata": (".+", "base64 of certificates"),
    "no_verify_ssl": ("[01]", "0 or 1"),
    "auth": ("plain|external", "plain or external"),
    "timeout": ("[0-9]{1,5}", "whole seconds"),
    "heartbeat": ("[0-9]{1,5}", "whole seconds"),
    "name": (".+", "text"),
}
"""The options that aiormq reads in a URL: the form of their values, and its words."""

_servers: dict[asyncio.AbstractEventLoop, dict[str, MemoryServer]] = {}


def _check_options(query: str) -> None:
    """Raises ConfigurationError for options that cannot be used, before anything is connected."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS:
            raise ConfigurationError(
                f"the broker's URL (AOI_BROKER) has the option {name[:64]!r}; there are "
                + ", ".join(_OPTIONS)
            )
        form, words = _OPTIONS[name]
        if not re.fullmatch(form, value, re.IGNORECASE):
            raise ConfigurationError(
                f"the broker's URL (AOI_BROKER) has {name} that is not {words}"
            )
    for name in ("certfile", "keyfile", "cafile"):
        if name in options:
            named = f"{name} of the broker's URL (AOI_BROKER)"
            check_readable(Path(options[name]), named)
    if "cafile" in options:
        client_context(Path(options["cafile"]), named)


async def open_broker(
    url: str,
    *,
    name: str = "aoi",
    retry_policy: RetryPolicy = FIRST_CONNECTION,
    metrics: BrokerMetrics = NO_METRICS,
) -> Broker:
    """Connect to the broker at ``url``; the caller closes it.

    ``amqp://USER:PASSWORD@HOST:PORT/VHOST`` (or ``amqps://``) is RabbitMQ, whose management shows
    the connection as ``name``; ``retry_policy`` is for the first connection to it. For a cluster,
    ``HOST:PORT,HOST:PORT`` lists its nodes, or ``HOST`` is a name with several addresses.
    ``memory://USER@SERVER`` is :func:`memory_server` of that name, as that user (default ``aoi``).
    Raises ConfigurationError for any other URL and where the broker does not let the user in,
    BrokerUnavailable when it cannot be reached.
    """
    try:
        parts = broker_urls(url)[0]
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if parts.scheme == "memory":
        server = memory_server(parts.hostname or "")
        return MemoryBroker(server, user=unquote(parts.username or "aoi"), metrics=metrics)
    _check_options(parts.query)
    return await RabbitBroker.connect(url, name=name, retry_policy=retry_policy, metrics=metrics)


def memory_server(name: str = "") -> MemoryServer:
    """The in-process broker of that name, which lives as long as the running event loop."""
    for loop in [loop for loop in _servers if loop.is_closed()]:
        del _servers[loop]
    servers = _servers.setdefault(asyncio.get_running_loop(), {})
    if name not in servers:
        log.warning(NOT_DURABLE)
        servers[name] = MemoryServer()
    return servers[name]
