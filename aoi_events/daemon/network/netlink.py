"""Watches the network through rtnetlink(7): the library's port for network events.

A change is only a hint to look again: what is true is asked of the kernel, which knows best over
which interface, and from which address, it would reach the AOI Server.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import rtnl
from pyroute2.netlink.exceptions import NetlinkError

from aoi_events.client import Circumstances, Network
from aoi_events.daemon.network.bearer import Link, circumstances_of
from aoi_events.errors import ConfigurationError
from aoi_events.platform.logs import get_logger

__all__ = ["NetlinkNetwork"]

log = get_logger(__name__)

_NONE: Final = Network(Circumstances(bearer="none"))
_ANYWHERE: Final = ("192.0.2.1", "2001:db8::1")
"""Addresses that stand for any on the internet (RFC 5737, RFC 3849); nothing is sent to them."""
_GROUPS: Final = (
    rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV6_IFADDR
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV6_ROUTE
)
_LONGEST_BURST: Final = 8
"""How many times ``settle`` a burst of changes may put off the look."""
_CHUNK: Final = 65_536
_GLOBAL: Final = 0


class NetlinkNetwork:
    """The network over which the device reaches ``url``; use it as an async context manager.

    ``metered`` are patterns of interfaces; ``settle``: seconds without a change before a look.
    Where the URL names a host, the way to the internet is what counts, and where there is none, an
    interface that has a carrier and an address.
    """

    def __init__(self, url: str, *, metered: Sequence[str] = (), settle: float = 0.5) -> None:
        self._destinations = _destinations(url)
        self._named = self._destinations == _ANYWHERE
        self._metered = tuple(metered)
        self._settle = settle
        self._current = _NONE
        self._changed = asyncio.Event()
        self._hints: socket.socket | None = None
        self._kernel: AsyncIPRoute | None = None

    async def __aenter__(self) -> Self:
        """Begin to watch. Raises ConfigurationError where that is not possible."""
        try:
            # Only a hint is wanted: a burst that overflows the socket is one more hint, and costs
            # no parsing.
            self._hints = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                socket.NETLINK_ROUTE,
            )
            self._hints.bind((0, _GROUPS))
            self._kernel = await AsyncIPRoute().__aenter__()
        except OSError as error:
            await self.__aexit__(None, None, None)
            raise ConfigurationError(
                f"the network cannot be watched ({error.strerror}); "
                "set AOI_CLIENT__NETWORK=unwatched to do without"
            ) from None
        asyncio.get_running_loop().add_reader(self._hints, self._hint)
        self._current = await self._look()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._hints is not None:
            asyncio.get_running_loop().remove_reader(self._hints)
            self._hints.close()
        if self._kernel is not None:
            await self._kernel.__aexit__(kind, error, traceback)

    @property
    def current(self) -> Network:
        """The network now."""
        return self._current

    async def __aiter__(self) -> AsyncIterator[Network]:
        """Every later network that is another one."""
        while True:
            await self._settled()
            found = await self._look()
            if found != self._current:
                self._current = found
                log.info(
                    "network_changed",
                    bearer=found.circumstances.bearer,
                    metered=found.circumstances.metered,
                )
                yield found

    def _hint(self) -> None:
        if self._hints is None:
            return
        try:
            while self._hints.recv(_CHUNK):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            # ENOBUFS: there were more than the socket could hold. That is a hint, too.
            log.debug("netlink_overflow", reason=error.strerror)
        self._changed.set()

    async def _settled(self) -> None:
        """Return when something has changed, and no more does for the moment."""
        await self._changed.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settle * _LONGEST_BURST):
                while self._changed.is_set():
                    self._changed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._settle):
                            await self._changed.wait()
        self._changed.clear()

    async def _look(self) -> Network:
        for destination in self._destinations:
            found = await self._route(destination)
            if found is not None:
                return found
        return (await self._any_interface() if self._named else None) or _NONE

    async def _route(self, destination: str) -> Network | None:
        """How the kernel would send to this address, if at all."""
        try:
            (route,) = await self._asked().route("get", dst=destination)
        except (NetlinkError, ValueError):
            return None
        return await self._over(
            route.get_attr("RTA_OIF"),
            f"{route.get_attr('RTA_PREFSRC')} by {route.get_attr('RTA_GATEWAY')}",
        )

    async def _any_interface(self) -> Network | None:
        """A network that leads to no internet, but perhaps to the server."""
        addresses = [each async for each in await self._asked().addr("dump")]
        for each in addresses:
            if each["scope"] == _GLOBAL and not _is_loopback(each.get_attr("IFA_ADDRESS")):
                found = await self._over(each["index"], each.get_attr("IFA_ADDRESS"))
                if found is not None:
                    return found
        return None

    async def _over(self, index: int, address: str) -> Network | None:
        try:
            (each,) = await self._asked().link("get", index=index)
        except (NetlinkError, ValueError):
            return None
        link = Link(each.get_attr("IFLA_IFNAME"), each["ifi_type"], each["flags"])
        if link.loopback:
            return Network(Circumstances(), "loopback")
        if not link.carries:
            return None
        return Network(circumstances_of(link, self._metered), f"{link.name} {address}")

    def _asked(self) -> Any:
        if self._kernel is None:
            raise RuntimeError("the network is not watched: use `async with`")
        return self._kernel


def _destinations(url: str) -> tuple[str, ...]:
    """The address in the URL, or those that stand for any."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return ("127.0.0.1",)
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        return _ANYWHERE


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
