"""Limits per network address, so that one host cannot take all that a gateway has.

An address is an IPv4 address, or the /64 network of an IPv6 address, which one host has to itself.
Behind a proxy all devices have the proxy's address, so there the proxy must set the limits and ours
must be as high as the gateway's.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Final

from aoi_events.gateway.protocol.token_bucket import Allowance, Charge
from aoi_events.gateway.settings import GatewaySettings

__all__ = ["Addresses", "address_of"]

_REMEMBERED: Final = 65_536
"""Addresses whose entries are counted at once; the one not heard of for longest is forgotten."""
_NETWORK: Final = 64


def address_of(transport: asyncio.BaseTransport | None) -> str:
    """The address at the other end; empty when there is none any more."""
    peer = None if transport is None else transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    try:
        address = ip_address(peer[0].partition("%")[0])
    except ValueError:
        return ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> _NETWORK << _NETWORK)}/{_NETWORK}"


class Addresses:
    """How many connections each address has, and how often it came in."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._connections: Counter[str] = Counter()
        self._entries: OrderedDict[str, Allowance] = OrderedDict()

    def connect(self, address: str) -> bool:
        """Count a connection in; False when it is one too many. Either way :meth:`leave` later."""
        self._connections[address] += 1
        return self._connections[address] <= self._settings.connections_per_address

    def leave(self, address: str) -> None:
        """Count it out."""
        self._connections[address] -= 1
        if not self._connections[address]:
            del self._connections[address]

    def enter(self, address: str, elapsed: float) -> bool:
        """Count a hello or a registration; False when there are too many of them."""
        entries = self._entries.pop(address, None) or Allowance(self._settings.entries_burst)
        charge = entries.charge(
            elapsed, rate=self._settings.entries_per_second, burst=self._settings.entries_burst
        )
        if charge is not Charge.FINE:
            # What was refused does not count: else who keeps trying never comes in again.
            entries.give_back()
        self._entries[address] = entries
        if len(self._entries) > _REMEMBERED:
            self._entries.popitem(last=False)
        return charge is Charge.FINE
