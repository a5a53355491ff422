"""Which IP addresses a request may go to. Pure.

A device names the address, so without this our workers could be made to ask things of hosts that
only they can reach: the broker, a cloud's metadata service, a router (server-side request forgery).
The list is spelled out from IANA's registries of special-purpose addresses (RFC 6890), because what
`ipaddress` calls global has changed between Python's releases; what it does not call global is
refused as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

_NOT_PUBLIC: Final[tuple[_Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, with the clouds' metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, with broadcast
        "2001::/23",  # protocol assignments, with Teredo: IPv4 inside
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: IPv4 inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_UNICAST: Final = IPv6Network("2000::/3")
"""The IPv6 addresses for global use (RFC 4291, section 2.4 and IANA's registry)."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


def permitted(text: str, allowed: Sequence[_Network]) -> bool:
    """Whether a request may go to the IP address ``text``: a public one, or one in ``allowed``.

    IPv4 addresses that are mapped into IPv6, or translated by NAT64, count as IPv4 addresses. A
    text that is no address, or that names a network interface, is not permitted.
    """
    try:
        address: _Address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        address = _embedded_ipv4(address)
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def _embedded_ipv4(address: IPv6Address) -> _Address:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
