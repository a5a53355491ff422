"""Listening on addresses, and the network address of a peer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from aoi_events.errors import ConfigurationError
from aoi_events.platform.limiters import is_within, parsed_network
from aoi_events.platform.sockets import Listener, abort, peer_host, peer_network


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


@dataclass
class _Port:
    host: str
    port: int = 0
    certificate: Path | None = None
    private_key: Path | None = None


class _Peers(asyncio.Protocol):
    """Notes the address and the network of each peer."""

    def __init__(self, peers: asyncio.Queue[tuple[str, str]]) -> None:
        self._peers = peers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._peers.put_nowait((peer_host(transport), peer_network(transport)))
        transport.close()


@pytest.mark.parametrize("host", ["::", "0::0"])
async def test_all_addresses_are_those_of_ipv4_too(host: str) -> None:
    """On ``::`` a port serves both, and a peer over IPv4 is counted and trusted as one."""
    peers: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    listener = _listener(_Port(host), peers)
    port = await listener.bind()
    await listener.accept()
    for address, network in (("127.0.0.1", "127.0.0.1"), ("::1", "::/64")):
        _, writer = await asyncio.open_connection(address, port)
        peer, counted = await peers.get()
        assert counted == network
        assert is_within(peer, [parsed_network(address)])
        writer.close()
        await writer.wait_closed()
    listener.refuse()


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
async def test_two_roles_on_one_port(host: str) -> None:
    """Both may bind it, since neither accepts yet; the second to accept names its setting."""
    first = _listener(_Port(host))
    second = _listener(_Port(host, await first.bind()))
    await second.bind()
    await first.accept()
    with pytest.raises(ConfigurationError, match=r"Address already in use; set AOI_TEST__HOST to"):
        await second.accept()
    first.refuse()
    second.refuse()


@pytest.mark.parametrize(
    "host, reason",
    [
        ("no-such.invalid", "Name or service not known|Temporary failure in name resolution"),
        ("192.0.2.1", "Cannot assign requested address"),
    ],
)
async def test_an_address_of_another_machine(host: str, reason: str) -> None:
    """It is refused in the system's words, with the setting."""
    with pytest.raises(ConfigurationError, match=rf"^cannot listen on {host} port 0: ({reason}); "):
        await _listener(_Port(host)).bind()


def _listener(port: _Port, peers: asyncio.Queue[tuple[str, str]] | None = None) -> Listener:
    noted: asyncio.Queue[tuple[str, str]] = asyncio.Queue() if peers is None else peers
    return Listener(lambda: _Peers(noted), port, handshake_within=1.0, prefix="AOI_TEST")
