"""The network address of a peer."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.platform.sockets import peer_network


@pytest.mark.parametrize(
    "peer, network",
    [
        (("192.0.2.7", 1234), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1234, 0, 0), "2001:db8:1:2::/64"),
        (None, ""),
        ("/run/gateway.sock", ""),
    ],
)
def test_the_network_of_a_peer(peer: object, network: str) -> None:
    """It is that of the peer's address, and empty for a peer without one."""
    assert peer_network(asyncio.BaseTransport({"peername": peer})) == network
    assert peer_network(None) == ""
