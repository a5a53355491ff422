"""Watches the network through rtnetlink(7), for the port NetworkEvents of the library.

A change is only a reason to query the kernel again: over which interface, and from which address,
would it reach the AOI Server?
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import rtnl
from pyroute2.netlink.exceptions import NetlinkError

from aoi_events.client import Circumstances, Network
from aoi_events.daemon.network.bearer import NetworkInterface, circumstances_of
from aoi_events.errors import ConfigurationError
from aoi_events.platform.logs import get_logger

log = get_logger(__name__)

_NONE: Final = Network(Circumstances(bearer="none"))
_ANYWHERE: Final = ("192.0.2.1", "2001:db8::1")
"""Addresses for any host on the internet (RFC 5737, RFC 3849); nothing is sent to them."""
_GROUPS: Final = (
    rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV6_IFADDR
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV6_ROUTE
)
_LONGEST_BURST: Final = 8
"""A burst of changes delays the query by this many times ``settle`` at most."""
_CHUNK: Final = 65_536
_GLOBAL: Final = 0


@asynccontextmanager
async def watched_network(
    url: str, *, metered: Sequence[str], settle: float
) -> AsyncIterator[NetlinkNetwork]:
    """The network over which the device reaches ``url``, while its changes are watched.

    ``metered`` are patterns of interface names; ``settle``: seconds without a change before the
    kernel is queried. Raises ConfigurationError if the network cannot be watched.
    """
    async with AsyncExitStack() as stack:
        try:
            # Messages are not parsed: each one, and an overflow, only means that something changed.
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            changes = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
            stack.enter_context(changes).bind((0, _GROUPS))
            kernel = await stack.enter_async_context(AsyncIPRoute())
        except OSError as error:
            raise ConfigurationError(
                f"the network cannot be watched ({error.strerror}); "
                "set AOI_CLIENT__NETWORK=unwatched to run without it"
            ) from None
        network = NetlinkNetwork(kernel, _destinations(url), metered, settle)
        loop = asyncio.get_running_loop()
        loop.add_reader(changes, network.discard_messages, changes)
        stack.callback(loop.remove_reader, changes)
        network.current = await network.query()
        yield network


class NetlinkNetwork:
    """The network over which the device reaches ``destinations``, ``current`` and later ones.

    If they stand for any host, the route to the internet counts, or, if there is none, an interface
    with a carrier and an address.
    """

    def __init__(
        self,
        kernel: AsyncIPRoute,
        destinations: tuple[str, ...],
        metered: Sequence[str],
        settle: float,
    ) -> None:
        self.current = _NONE
        self._kernel = kernel
        self._destinations = destinations
        self._metered = metered
        self._settle = settle
        self._changed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Network]:
        """Every later network that differs from the one before."""
        while True:
            await self._until_settled()
            found = await self.query()
            if found != self.current:
                self.current = found
                log.info(
                    "network_changed",
                    bearer=found.circumstances.bearer,
                    metered=found.circumstances.metered,
                )
                yield found

    def discard_messages(self, changes: socket.socket) -> None:
        """Read everything that the kernel reported: something changed."""
        try:
            while changes.recv(_CHUNK):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            # ENOBUFS: there were more messages than fit into the buffer of the socket.
            log.debug("netlink_overflow", reason=error.strerror)
        self._changed.set()

    async def _until_settled(self) -> None:
        """Return after a change, when no further change came for ``settle`` seconds."""
        await self._changed.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settle * _LONGEST_BURST):
                while self._changed.is_set():
                    self._changed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._settle):
                            await self._changed.wait()
        self._changed.clear()

    async def query(self) -> Network:
        """Ask the kernel for the network now."""
        for destination in self._destinations:
            found = await self._route(destination)
            if found is not None:
                return found
        return (await self._any_interface() if self._destinations == _ANYWHERE else None) or _NONE

    async def _route(self, destination: str) -> Network | None:
        """The network over which the kernel would send to this address, if any."""
        try:
            (route,) = await self._kernel.route("get", dst=destination)
        except (NetlinkError, ValueError):
            return None
        return await self._over(
            route.get_attr("RTA_OIF"),
            f"{route.get_attr('RTA_PREFSRC')} by {route.get_attr('RTA_GATEWAY')}",
        )

    async def _any_interface(self) -> Network | None:
        """A network without a route to the internet, but perhaps with one to the server."""
        addresses = [each async for each in await self._kernel.addr("dump")]
        for each in addresses:
            if each["scope"] == _GLOBAL and not _is_loopback(each.get_attr("IFA_ADDRESS")):
                found = await self._over(each["index"], each.get_attr("IFA_ADDRESS"))
                if found is not None:
                    return found
        return None

    async def _over(self, index: int, address: str) -> Network | None:
        try:
            (each,) = await self._kernel.link("get", index=index)
        except (NetlinkError, ValueError):
            return None
        interface = NetworkInterface(each.get_attr("IFLA_IFNAME"), each["ifi_type"], each["flags"])
        if interface.loopback:
            return Network(Circumstances(), "loopback")
        if not interface.carries:
            return None
        return Network(circumstances_of(interface, self._metered), f"{interface.name} {address}")


def _destinations(url: str) -> tuple[str, ...]:
    """The address in the URL, or addresses that stand for any host."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return ("127.0.0.1",)
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        return _ANYWHERE


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
