"""A TCP port that the world reaches: taken before it is served, with TLS or without."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aoi_events.errors import ConfigurationError

__all__ = ["listen"]

_BACKLOG: Final = 1_024
"""Connections that the kernel holds until we accept them."""


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
    """Take ``port`` (0: any free one), and return what will serve it, and which port it is.

    ``protocol`` makes one for each connection, from :meth:`asyncio.Server.start_serving` on.
    ``certificate`` and ``private_key`` are PEM files; without the first there is no TLS, whose
    handshake may take ``handshake_within`` seconds. ``settings``, "AOI_GATEWAY", say, is where
    those begin that errors name: ConfigurationError, when the address or the files cannot be used.
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
