"""Rate limits and connection limits, per network address or per sender; pure.

Time is an argument, in seconds on any clock. An address is an IPv4 address, or the /64 network of
an IPv6 address, which belongs to one host. Behind a proxy all peers share the proxy's address.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

_REMEMBERED: Final = 65_536
"""Buckets of a rate limiter at once; the least recently used one is dropped."""
_HOST_BITS: Final = 64
"""Bits of an IPv6 address that one host assigns itself (RFC 4291, section 2.5.1)."""


def parsed_network(value: object) -> Network:
    """The network that a setting names. Raises ValueError, with words for the operator."""
    try:
        network = ip_network(str(value))
    except ValueError:
        raise ValueError("must be an address or a network, for example 10.0.0.0/8") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError("must be in the form of IPv4, without ::ffff:")  # as peers are compared
    return network


class TokenBucket:
    """Allows ``burst`` events at once, and ``rate`` more per second."""

    __slots__ = ("_balance", "_burst", "_rate", "_updated_at")

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._balance = float(burst)
        self._updated_at = 0.0

    def take(self, at: float) -> float:
        """Take a token if there is one; return the seconds to wait for one (0: it was taken).

        A refused event is not counted, so it succeeds when it is repeated after that time.
        """
        self._refill(at)
        if self._balance < 1.0:
            return (1.0 - self._balance) / self._rate
        self._balance -= 1.0
        return 0.0

    def overdraw(self, at: float) -> float:
        """Take a token even if there is none; return the balance, negative when in debt."""
        self._refill(at)
        self._balance -= 1.0
        return self._balance

    def _refill(self, at: float) -> None:
        passed = max(0.0, at - self._updated_at)
        self._balance = min(float(self._burst), self._balance + self._rate * passed)
        self._updated_at = max(at, self._updated_at)


class RateLimiter:
    """One token bucket per key, for the ``remembered`` most recently used keys.

    A dropped key starts again with a full bucket.
    """

    def __init__(self, *, rate: float, burst: int, remembered: int = _REMEMBERED) -> None:
        self._rate = rate
        self._burst = burst
        self._remembered = remembered
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, key: str, at: float) -> float:
        """Count one event of ``key``; see :meth:`TokenBucket.take`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(rate=self._rate, burst=self._burst)
            if len(self._buckets) > self._remembered:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(at)

    def __len__(self) -> int:
        return len(self._buckets)


class ConnectionLimiter:
    """Allows ``most`` connections at once per network address."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._connections: Counter[str] = Counter()

    def enter(self, network: str) -> bool:
        """Count a new connection; False above the limit. Call :meth:`leave` in both cases."""
        self._connections[network] += 1
        return self._connections[network] <= self._most

    def leave(self, network: str) -> None:
        """Count a connection that ended."""
        self._connections[network] -= 1
        if not self._connections[network]:
            del self._connections[network]

    def __len__(self) -> int:
        """How many networks have connections."""
        return len(self._connections)


def network_of(host: str | None) -> str:
    """The network address that ``host`` is counted under; text that is no address stays as it is.

    An empty text stands for a peer without an address, such as a Unix socket.
    """
    address = _address(host)
    if address is None:
        return host or ""
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> _HOST_BITS << _HOST_BITS)}/{_HOST_BITS}"


def is_within(host: str | None, networks: Iterable[Network]) -> bool:
    """Whether ``host`` is an address of one of ``networks``."""
    address = _address(host)
    return address is not None and any(address in network for network in networks)


def _address(host: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host or "")
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
