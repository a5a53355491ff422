"""Limits per caller: a token bucket for each of the most recent ones, and connections at once."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Container
from ipaddress import IPv6Address, ip_address
from typing import Final

__all__ = ["Crowds", "Rates", "network_of"]

_MOST: Final = 50_000
"""Callers that are remembered. Whoever is forgotten begins anew, with a full bucket."""


class Rates:
    """``burst`` calls at once, and ``rate`` more each second, for each caller."""

    def __init__(self, *, rate: float, burst: int, most: int = _MOST) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, at: float) -> float:
        """Count one call at ``at`` (seconds on any clock); the seconds to wait if it is too many.

        What is too many is not counted, so waiting that long is enough.
        """
        left, since = self._left.pop(caller, (self._burst, at))
        left = min(self._burst, left + self._rate * max(0.0, at - since))
        wait = 0.0 if left >= 1.0 else (1.0 - left) / self._rate
        self._left[caller] = (left - 1.0 if wait == 0.0 else left, at)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return wait

    def __len__(self) -> int:
        return len(self._left)


class Crowds:
    """How many connections each address has, at most ``most``; those of ``exempt`` hosts, which
    speak for many, are not counted.
    """

    def __init__(self, *, most: int, exempt: Container[str] = ()) -> None:
        self._most = most
        self._exempt = exempt
        self._connections: Counter[str] = Counter()

    def enter(self, host: str | None) -> bool:
        """Count a connection in; False when it is one too many. Either way :meth:`leave` later."""
        if host is None or host in self._exempt:
            return True
        address = network_of(host)
        self._connections[address] += 1
        return self._connections[address] <= self._most

    def leave(self, host: str | None) -> None:
        """Count it out."""
        if host is None or host in self._exempt:
            return
        address = network_of(host)
        self._connections[address] -= 1
        if not self._connections[address]:
            del self._connections[address]


def network_of(host: str | None) -> str:
    """Who counts as one address: an IPv4 address, or the 64-bit network of an IPv6 one."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return host or ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return address.packed[:8].hex(":", 2) + "::/64"
    return str(address)
