"""The network address of a peer."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.platform.sockets import abort, peer_network


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


class _ClosedTwice(asyncio.WriteTransport):
    """A TLS transport of Python 3.11.2 that was closed twice: its protocol is gone."""

    _ssl_protocol = None

    def abort(self) -> None:
        self._ssl_protocol._abort()  # type: ignore[attr-defined]


def test_a_connection_that_has_ended_stays_so() -> None:
    """Aborting it again does nothing, where the transport itself would raise."""
    with pytest.raises(AttributeError):
        _ClosedTwice().abort()
    abort(_ClosedTwice())
