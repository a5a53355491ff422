"""TCP servers: bind a port, with or without TLS, and the network address of a peer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aoi_events.errors import ConfigurationError
from aoi_events.platform.limiters import network_of

__all__ = ["listen", "peer_network"]

_BACKLOG: Final = 1_024
"""Connections that wait in the kernel to be accepted."""


def peer_network(transport: asyncio.BaseTransport | None) -> str:
    """The network address at the other end; empty when there is none, or none any more."""
    peer = None if transport is None else transport.get_extra_info("peername")
    return network_of(peer[0]) if isinstance(peer, tuple) else ""


async def listen(
    protocol: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    *,
    certificate: Path | None,
    private_key: Path | None,
    handshake_within: float,
    settings: str,
) -> tuple[asyncio.Server, int]:
    """Bind ``port`` (0: any free one), and return the server and the number of its port.

    The server accepts connections, each with a new ``protocol``, once
    :meth:`asyncio.Server.start_serving` was called.
    ``certificate`` and ``private_key`` are PEM files; without the first there is no TLS.
    A TLS handshake may take ``handshake_within`` seconds. ``settings`` is the prefix of the
    settings that error messages name, such as "AOI_GATEWAY". Raises ConfigurationError when the
    address or the files cannot be used.
    """
    tls = None if certificate is None else _tls(certificate, private_key, settings)
    try:
        server = await asyncio.get_running_loop().create_server(
            protocol,
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else handshake_within,
            backlog=_BACKLOG,
            start_serving=False,
        )
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error}; "
            f"set {settings}__HOST and __PORT to an address of this machine and a free port"
        ) from error
    taken: int = server.sockets[0].getsockname()[1]
    return server, taken


def _tls(certificate: Path, private_key: Path | None, settings: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, private_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"cannot use certificate {certificate} with its key: {error}; "
            f"set {settings}__CERTIFICATE and __PRIVATE_KEY to matching, readable PEM files"
        ) from error
    return context
