"""TCP servers: bind a port, with or without TLS, and the network address of a peer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from aoi_events.errors import ConfigurationError
from aoi_events.platform.address import Address
from aoi_events.platform.limiters import network_of

_BACKLOG: Final = 1_024
"""Connections that wait in the kernel to be accepted."""


def peer_host(transport: asyncio.BaseTransport | None) -> str:
    """The address at the other end; empty when there is none, or none any more."""
    peer = None if transport is None else transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def peer_network(transport: asyncio.BaseTransport | None) -> str:
    """The network address at the other end; empty when there is none, or none any more."""
    return network_of(peer_host(transport))


def abort(transport: asyncio.WriteTransport) -> None:
    """End a connection at once, without sending what is buffered; one that has ended stays so."""
    # The TLS transport of Python 3.11.2 raises it when it was closed twice before.
    with suppress(AttributeError):
        transport.abort()


class Listener:
    """A TCP server that binds its port first and accepts connections later.

    ``protocol`` makes the protocol of each connection. A TLS handshake may take
    ``handshake_within`` seconds. ``prefix``, such as "AOI_GATEWAY", is that of the settings that
    error messages name.
    """

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        address: Address,
        *,
        handshake_within: float,
        prefix: str,
    ) -> None:
        self._protocol = protocol
        self._address = address
        self._handshake_within = handshake_within
        self._prefix = prefix
        self._server: asyncio.Server | None = None

    async def bind(self) -> int:
        """Bind the port (0: any free one), and return its number.

        Raises ConfigurationError when the address or the TLS files cannot be used.
        """
        address, prefix = self._address, self._prefix
        tls = None
        if address.certificate is not None:
            tls = _tls(address.certificate, address.private_key, prefix)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._protocol,
                address.host,
                address.port,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else self._handshake_within,
                backlog=_BACKLOG,
                start_serving=False,
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {address.host} port {address.port}: {error}; "
                f"set {prefix}__HOST and __PORT to an address of this machine and a free port"
            ) from error
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def accept(self) -> None:
        """Start to accept connections."""
        if self._server is not None:
            await self._server.start_serving()

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None and self._server.is_serving()

    def refuse(self) -> None:
        """Stop accepting connections."""
        if self._server is not None:
            self._server.close()


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
