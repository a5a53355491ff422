"""TCP servers: bind a port, with or without TLS, and the network address of a peer."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address
from typing import Any, Final

from aoi_events.errors import ConfigurationError
from aoi_events.platform.address import Address
from aoi_events.platform.followed_files import follow
from aoi_events.platform.limiters import network_of
from aoi_events.platform.tls import server_context

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


def unsent(transport: asyncio.WriteTransport) -> int:
    """Octets that wait to be sent; 0 for a connection that has ended."""
    # The TLS transport raises it when it was closed twice before.
    with suppress(AttributeError):
        return transport.get_write_buffer_size()
    return 0


def is_every_address(host: str) -> bool:
    """Whether ``host`` stands for all addresses of this machine, IPv6 and IPv4."""
    try:
        return IPv6Address(host).is_unspecified
    except ValueError:
        return False


def dual_stack(port: int) -> socket.socket:
    """A TCP socket bound to this port (0: any free one) of all IPv6 and IPv4 addresses.

    The address of a peer over IPv4 looks like ``::ffff:192.0.2.1``. Raises OSError.
    """
    bound = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(("::", port))
    except OSError:
        bound.close()
        raise
    return bound


def cannot_listen(error: OSError, host: str, port: int, prefix: str) -> ConfigurationError:
    """The error for an address that cannot be bound; ``prefix`` is that of its settings."""
    # The event loop puts sentences of its own around the system's.
    named = isinstance(error, socket.gaierror) or not error.errno
    reason = error.strerror if named else os.strerror(error.errno or 0)
    return ConfigurationError(
        f"cannot listen on {host} port {port}: {reason}; set {prefix}__HOST to an address of this "
        f"machine, and {prefix}__PORT to a free port, or to 0 for any"
    )


class Listener:
    """A TCP server that binds its port first and accepts connections later.

    ``protocol`` makes the protocol of each connection. A TLS handshake may take
    ``handshake_within`` seconds; the certificate is that of the file then. ``prefix``, such as
    "AOI_GATEWAY", is that of the settings that error messages name.
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
        self._tls: ssl.SSLContext | None = None

    async def bind(self) -> int:
        """Bind the port (0: any free one), and return its number.

        Raises ConfigurationError when the address or the TLS files cannot be used.
        """
        address, prefix = self._address, self._prefix
        tls = None
        if address.certificate is not None:
            files = [address.certificate, address.private_key]
            follow(
                files,
                self._take_certificate,
                taken="certificate_taken",
                refused="certificate_refused",
            )
            self._tls = tls = server_context(address.certificate, address.private_key, prefix)
            tls.sni_callback = self._with_present_certificate
        where: dict[str, Any] = {"host": address.host, "port": address.port}
        try:
            if is_every_address(address.host):
                where = {"sock": dual_stack(address.port)}
            self._server = await asyncio.get_running_loop().create_server(
                self._protocol,
                **where,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else self._handshake_within,
                backlog=_BACKLOG,
                start_serving=False,
            )
        except OSError as error:
            raise cannot_listen(error, address.host, address.port, prefix) from error
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _take_certificate(self) -> None:
        address = self._address
        if address.certificate is not None:
            self._tls = server_context(address.certificate, address.private_key, self._prefix)

    def _with_present_certificate(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _tls: ssl.SSLContext
    ) -> None:
        """Called in each handshake, with or without a server name."""
        if self._tls is not None:
            connection.context = self._tls

    async def accept(self) -> None:
        """Start to accept connections. Raises ConfigurationError when the port is taken by now."""
        if self._server is not None:
            try:
                await self._server.start_serving()
            except OSError as error:
                address = self._address
                raise cannot_listen(error, address.host, address.port, self._prefix) from error

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None and self._server.is_serving()

    def refuse(self) -> None:
        """Stop accepting connections."""
        if self._server is not None:
            self._server.close()
