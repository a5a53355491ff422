"""Limits per network address: counted for each, bounded for all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets import addresses
from aoi_events.gateway.sockets.addresses import Addresses, address_of


class Wire(asyncio.BaseTransport):
    """A transport that knows who is at the other end."""

    def __init__(self, peer: object) -> None:
        super().__init__({"peername": peer})


@pytest.mark.parametrize(
    "peer,address",
    [
        (("192.0.2.7", 1234), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1234, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1234, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1234, 0, 2), "fe80::/64"),
        (None, ""),
        ("/run/gateway.sock", ""),
        (("nonsense", 1), ""),
    ],
)
def test_whose_address_it_is(peer: object, address: str) -> None:
    """IPv4 as it is, IPv6 by the /64 network that one host has to itself."""
    assert address_of(Wire(peer)) == address
    assert address_of(None) == ""


def limits(**settings: Any) -> Addresses:
    """Limits of one's own."""
    return Addresses(GatewaySettings(**settings))


def test_connections_are_counted_for_each() -> None:
    """One address at its limit does not touch another; who leaves makes room."""
    some = limits(connections_per_address=2)
    assert [some.connect("a") for _ in range(3)] == [True, True, False]
    assert some.connect("b")
    for _ in range(2):
        some.leave("a")
    assert some.connect("a")
    for _ in range(2):
        some.leave("a")
    some.leave("b")
    assert not some._connections, "what is gone is forgotten"


def test_entries_are_limited_for_each_and_come_back_with_time() -> None:
    """A burst, then the rate; who keeps trying is let in as soon as the rate allows."""
    some = limits(entries_burst=3, entries_per_second=2)
    assert [some.enter("a", 0.0) for _ in range(20)] == [True] * 3 + [False] * 17
    assert some.enter("b", 0.0)
    assert [some.enter("a", 1.0) for _ in range(5)] == [True, True, False, False, False]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more addresses than fit, the one not heard of for longest is forgotten."""
    monkeypatch.setattr(addresses, "_REMEMBERED", 3)
    some = limits(entries_burst=1, entries_per_second=0.001)
    for name in ("a", "b", "c"):
        assert some.enter(name, 0.0)
    assert not some.enter("a", 0.0)
    assert some.enter("d", 0.0)
    assert len(some._entries) == 3
    assert not some.enter("a", 0.0)
    assert some.enter("b", 0.0), "it was the one not heard of for longest"
